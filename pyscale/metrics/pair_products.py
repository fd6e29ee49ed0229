"""Matrices of many pairs of layers, those of one shape together: raw co-moments, or whitened cross products."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

Pair: TypeAlias = tuple[int, int]

BATCH = 1 << 21  # numbers of a batch, 16 MiB, but at least one pair; who takes it makes a few more of its size
WAITING = 8 * BATCH  # numbers of all shapes that wait for more of their shape


class Block(NamedTuple):
    """The co-moments of a column with several rows, side by side."""

    rows: Sequence[int]
    column: int
    S: Tensor  # (P, q)


class _Part(NamedTuple):
    pairs: list[Pair]
    C: Tensor  # (B, r, s)


def pair_batches(
    blocks: Iterable[Block],
    sizes: Mapping[int, int],
    left: Mapping[int, Tensor] | None = None,
    right: Mapping[int, Tensor] | None = None,
) -> Iterator[tuple[list[Pair], Tensor]]:
    """Yield the pairs of all blocks and, of each, A_iᵀ S_ij B_j, in batches (B, r, s) of one shape.

    Args:
        blocks: The co-moments.
        sizes: Features of each row.
        left: A (p_i, r_i) of each row; None for the identity.
        right: B (q_j, s_j) of each column; None for the identity.
    """
    waiting: defaultdict[tuple[int, ...], list[_Part]] = defaultdict(list)
    numbers: defaultdict[tuple[int, ...], int] = defaultdict(int)  # of each shape that waits
    for block in blocks:
        for part in _of_column(block, sizes, left, right):
            shape = tuple(part.C.shape[1:])
            waiting[shape].append(part)
            numbers[shape] += part.C.numel()
            most = max(numbers, key=lambda shape: numbers[shape])
            if numbers[most] >= BATCH or sum(numbers.values()) >= WAITING:
                del numbers[most]
                yield from _batches(waiting.pop(most))
    for parts in waiting.values():
        yield from _batches(parts)


def _of_column(
    block: Block, sizes: Mapping[int, int], left: Mapping[int, Tensor] | None, right: Mapping[int, Tensor] | None
) -> Iterator[_Part]:
    """Yield a column's pairs, those of one shape together."""
    SB = block.S if right is None else block.S @ right[block.column]  # (P, s)
    parts = dict(zip(block.rows, SB.split([sizes[i] for i in block.rows]), strict=True))
    alike: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for i in block.rows:
        alike[(sizes[i],) if left is None else tuple(left[i].shape)].append(i)
    for rows in alike.values():
        C = torch.stack([parts[i] for i in rows])  # (B, p, s)
        if left is not None:
            C = torch.stack([left[i] for i in rows]).mT @ C
        yield _Part([(i, block.column) for i in rows], C)


def _batches(parts: Sequence[_Part]) -> Iterator[tuple[list[Pair], Tensor]]:
    pairs = [pair for part in parts for pair in part.pairs]
    C = torch.cat([part.C for part in parts])
    step = max(1, BATCH // max(C[0].numel(), 1))
    for k in range(0, len(pairs), step):
        yield pairs[k : k + step], C[k : k + step]
