"""Arrays that lie in a file as they lie in memory, and several of them end to end.

They are read by position, not mapped: a file that shrinks under a mapping kills the process, and a mapping's whole size
counts where address space is limited.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from pyscale.stores.errors import DamagedStoreError
from pyscale.stores.places import Stamp, opened, read_at
from pyscale.stores.store import StoredLayer


class RawLayer(StoredLayer):
    """A layer whose numbers lie one after another in a file.

    Args:
        name: Of the layer.
        path: The file.
        offset: Where the first number lies.
        shape: Samples first.
        dtype: Of the numbers.
        by_columns: Whether they lie in Fortran's order, all samples of a feature together.
    """

    def __init__(
        self, name: str, path: Path, offset: int, shape: Sequence[int], dtype: torch.dtype, *, by_columns: bool = False
    ) -> None:
        super().__init__(name, shape, dtype)
        self._path, self._offset, self._by_columns = path, offset, by_columns
        with opened(path) as (_, size):
            check_claim(self.shape, dtype.itemsize, size - offset, f"{path}: layer {name!r}")

    def _read(self, start: int, stop: int, out: Tensor) -> None:
        try:
            with opened(self._path) as (file, _):
                if self._by_columns:
                    self._read_columns(file, start, stop, out)
                else:
                    read_at(file, self._offset + start * self.row_bytes, bytes_of(out))
        except EOFError as error:
            raise DamagedStoreError(f"{self._path} was cut short while it was read: {error}") from error

    def _read_columns(self, file: int, start: int, stop: int, out: Tensor) -> None:
        """Read samples of every feature, which lie ``samples`` numbers apart."""
        item, width = self.dtype.itemsize, stop - start
        turned = torch.empty((self.features, width), dtype=self.dtype)
        for j in range(self.features):
            read_at(file, self._offset + (j * self.samples + start) * item, bytes_of(turned[j]))
        # the first index of the activation's own shape runs fastest in Fortran's order
        own = turned.reshape(*reversed(self.shape[1:]), width)
        out.copy_(own.permute(*reversed(range(own.ndim))))


class JoinedLayer(StoredLayer):
    """A layer in several files, one group of samples in each."""

    def __init__(self, name: str, parts: Sequence[StoredLayer]) -> None:
        first = parts[0]
        for part in parts[1:]:
            if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
                raise DamagedStoreError(f"layer {name!r} consists of {first!r} and {part!r}, which don't fit together")
        super().__init__(name, (sum(part.samples for part in parts), *first.shape[1:]), first.dtype)
        self._parts = list(parts)

    def _read(self, start: int, stop: int, out: Tensor) -> None:
        done = 0
        for part in self._parts:
            low, high = max(start - done, 0), min(stop - done, part.samples)
            if low < high:
                part.rows(low, high, out=out[done + low - start : done + high - start])
            done += part.samples


def check_claim(shape: Sequence[int], item_bytes: int, there: int, subject: str) -> None:
    """Raise DamagedStoreError where an array would take more bytes than are there."""
    claimed = math.prod(shape) * item_bytes
    if any(size < 0 for size in shape) or claimed > there:
        raise DamagedStoreError(
            f"{subject} has shape {tuple(shape)}, {claimed} bytes, and the file has "
            f"{max(there, 0)} for it: it was cut short"
        )


def bytes_of(tensor: Tensor) -> memoryview:
    """Return a contiguous tensor's memory."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def stamps_of(*paths: Path) -> dict[str, Stamp]:
    """Return what tells versions of files apart."""
    found = {}
    for path in paths:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        found[os.fspath(path)] = Stamp(status.st_size, (status.st_mtime_ns, status.st_ino))
    return found


def pieces_follow(spans: Sequence[tuple[int, int]]) -> bool:
    """Return whether spans of samples begin at 0 and leave no gap.

    Example:
        >>> pieces_follow([(0, 64), (64, 90)]), pieces_follow([(0, 64), (65, 90)])
        (True, False)
    """
    return spans[0][0] == 0 and all(before[1] == after[0] for before, after in pairwise(spans))
