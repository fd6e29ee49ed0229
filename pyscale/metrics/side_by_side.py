"""Decompositions of many matrices side by side: LAPACK is slow to gain from threads, matrices are independent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

_WORTHWHILE = 1 << 16  # numbers, from which on a thread is started: decomposing them takes about a millisecond

S = TypeVar("S")
T = TypeVar("T")


def shared(function: Callable[[Tensor], T], M: Tensor) -> list[T]:
    """Return what ``function`` gives for shares of a batch of matrices (B, r, s), in order, a thread each.

    What becomes of a matrix does not depend on the number of threads.
    """
    parts = M.tensor_split(min(torch.get_num_threads(), len(M))) if _worthwhile([M]) else [M]
    return each(function, parts, [M])


def each(function: Callable[[S], T], parts: Sequence[S], matrices: Sequence[Tensor]) -> list[T]:
    """Return what ``function`` gives for every part, in order, by threads that have one of torch's each.

    Args:
        function: What to call.
        parts: What to call it with.
        matrices: What is decomposed in all: on a GPU, or where it is little, that is done by the caller's thread.
    """
    before = torch.get_num_threads()
    threads = min(before, len(parts))
    if threads <= 1 or not _worthwhile(matrices):
        return [function(part) for part in parts]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(function, parts))
    finally:
        torch.set_num_threads(before)  # the number is a thread's own, but also what threads to come begin with


def _worthwhile(matrices: Sequence[Tensor]) -> bool:
    return matrices[0].device.type == "cpu" and sum(M.numel() for M in matrices) >= _WORTHWHILE
