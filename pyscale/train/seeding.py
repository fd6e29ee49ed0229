"""Randomness that depends on (seed, epoch) alone, and global state left as it was found.

Every draw of a training run (data order, augmentation, dropout) comes from a stream derived from the run's seed, the
epoch and the stream's name. An epoch therefore draws the same numbers whether or not the run was interrupted before it.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(seed: int, epoch: int, stream: str) -> int:
    """A 63-bit seed for one stream of one epoch; different triples give unrelated seeds.

    Args:
        seed: The run's seed, at least 0.
        epoch: The epoch, from 0.
        stream: What the numbers are for, such as ``"order"``.

    Example:
        >>> derive_seed(0, 3, "order") == derive_seed(0, 3, "order")
        True
        >>> derive_seed(0, 3, "order") == derive_seed(0, 4, "order")
        False
    """
    sequence = np.random.SeedSequence((seed, epoch, zlib.crc32(stream.encode())))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, epoch: int, stream: str) -> torch.Generator:
    """A CPU generator for one stream of one epoch."""
    return torch.Generator().manual_seed(derive_seed(seed, epoch, stream))


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch, which dropout and user datasets draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - user datasets draw from the legacy global generator
    torch.manual_seed(seed)


def check_seed(seed: int, name: str = "seed") -> int:
    """Return ``seed`` as an int, refusing what cannot seed a run."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {type(seed).__name__}")
    if seed < 0:
        raise ValueError(f"{name} must be at least 0, got {seed}")
    return int(seed)


@contextmanager
def preserved_global_state() -> Iterator[None]:
    """Leave the global generators, cuDNN switches, matmul precision, grad mode and thread count as they were found."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()  # noqa: NPY002
    cudnn = torch.backends.cudnn
    switches = (cudnn.benchmark, cudnn.deterministic)
    precision = torch.get_float32_matmul_precision()
    grad_enabled = torch.is_grad_enabled()
    threads = torch.get_num_threads()
    # asking an idle GPU for its generator's state would wake it
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=gpus):
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
            cudnn.benchmark, cudnn.deterministic = switches
            torch.set_float32_matmul_precision(precision)
            torch.set_grad_enabled(grad_enabled)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
