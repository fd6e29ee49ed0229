"""What every store is, however it lies on disk: named layers whose rows are samples."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyscale.stores.errors import DamagedStoreError

SampleId = int | str


class StoredLayer(ABC):
    """The activations of one layer, of which any rows can be read.

    Attributes:
        name: The layer's name.
        shape: Samples first, then the activation's own shape.
        dtype: Of the numbers, as they were stored.
    """

    def __init__(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> None:
        self.name = name
        self.shape = tuple(int(size) for size in shape)
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.shape}, {str(self.dtype).removeprefix('torch.')})"

    @property
    def samples(self) -> int:
        """Rows."""
        return self.shape[0]

    @property
    def features(self) -> int:
        """Numbers a row."""
        return math.prod(self.shape[1:])

    @property
    def row_bytes(self) -> int:
        """Bytes a row."""
        return self.features * self.dtype.itemsize

    @property
    def rows_at_once(self) -> int:
        """Rows that are stored together, so that reading one of them costs what reading all does."""
        return 1

    def rows(self, start: int, stop: int, *, out: Tensor | None = None) -> Tensor:
        """Read consecutive samples.

        Args:
            start: The first.
            stop: One past the last.
            out: Contiguous memory of the layer's type and of the result's shape; new memory by default.

        Returns:
            Their activations, of shape (stop - start, ...), on the CPU.

        Raises:
            IndexError: There are no such samples.
            DamagedStoreError: What is there is not what was stored.
        """
        if not 0 <= start <= stop <= self.samples:
            raise IndexError(f"layer {self.name!r} has {self.samples} samples; {start} to {stop} were asked for")
        out = self._checked(out, stop - start)
        if stop > start:
            self._read(start, stop, out)
        return out

    def take(self, places: Sequence[int], *, out: Tensor | None = None) -> Tensor:
        """Read samples at any places, in their order; arguments, result and errors as for :meth:`rows`."""
        if any(not 0 <= place < self.samples for place in places):
            raise IndexError(f"layer {self.name!r} has {self.samples} samples; {list(places)[:5]} ... were asked for")
        out = self._checked(out, len(places))
        if len(places):
            self._take(places, out)
        return out

    @abstractmethod
    def _read(self, start: int, stop: int, out: Tensor) -> None:
        """Fill ``out`` with at least one row."""

    def _take(self, places: Sequence[int], out: Tensor) -> None:
        """Fill ``out`` with rows at any places; every group of rows that are stored together is read once."""
        together = self.rows_at_once
        wanted: dict[int, list[int]] = {}
        for i, place in enumerate(places):
            wanted.setdefault(place // together, []).append(i)
        for _, members in sorted(wanted.items()):
            low = min(places[i] for i in members)
            high = max(places[i] for i in members) + 1
            read = torch.empty((high - low, *self.shape[1:]), dtype=self.dtype)
            self._read(low, high, read)
            out[members] = read[[places[i] - low for i in members]]

    def _checked(self, out: Tensor | None, samples: int) -> Tensor:
        shape = (samples, *self.shape[1:])
        if out is None:
            return torch.empty(shape, dtype=self.dtype)
        if tuple(out.shape) != shape or out.dtype != self.dtype or not out.is_contiguous() or out.device.type != "cpu":
            raise ValueError(f"out is {tuple(out.shape)} {out.dtype}; expected contiguous {shape} {self.dtype}")
        return out


class Store:
    """Layers of one model on the same samples.

    Attributes:
        address: Where it lies.
        layers: By name, in forward order where that was recorded.
        attributes: What is known of its origin, JSON types; empty for files that others wrote.
    """

    def __init__(
        self,
        address: str,
        layers: Mapping[str, StoredLayer],
        *,
        ids: Callable[[], tuple[SampleId, ...] | None] = lambda: None,
        stamps: Callable[[], Mapping[str, Any]] = dict,
        attributes: Mapping[str, Any] | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        if not layers:
            raise ValueError(f"{address} holds no layer: no array of floating-point numbers with samples as its rows")
        first, *others = layers.values()
        for other in others:
            if other.samples != first.samples:
                raise DamagedStoreError(
                    f"{address} holds layers of unequal numbers of samples: {first.name!r} has {first.samples} and "
                    f"{other.name!r} has {other.samples}"
                )
        self.address = address
        self.layers = dict(layers)
        self.attributes = dict(attributes or {})
        self._read_ids = ids
        self._ids: tuple[SampleId, ...] | None = None
        self._stamps, self._at_opening = stamps, dict(stamps())
        self._close = close

    def __repr__(self) -> str:
        return f"Store({self.address!r}, {len(self.layers)} layers, {self.samples} samples)"

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def samples(self) -> int:
        """Samples, the same for all layers."""
        return next(iter(self.layers.values())).samples

    @property
    def bytes(self) -> int:
        """Bytes of all layers once they are read."""
        return sum(layer.samples * layer.row_bytes for layer in self.layers.values())

    @property
    def ids(self) -> tuple[SampleId, ...] | None:
        """The samples' ids, whole numbers or strings, or None where none were stored."""
        if self._ids is None:
            ids = self._read_ids()
            if ids is not None and len(ids) != self.samples:
                raise DamagedStoreError(f"{self.address} has {self.samples} samples and {len(ids)} sample ids")
            self._ids = ids
        return self._ids

    @property
    def stamp(self) -> str:
        """A digest of what tells versions of the store's files apart."""
        described = repr(sorted((key, tuple(stamp)) for key, stamp in self._at_opening.items()))
        return hashlib.blake2b(described.encode(), digest_size=16).hexdigest()

    def check_unchanged(self) -> None:
        """Raise DamagedStoreError where a file of the store has changed since it was opened."""
        now = dict(self._stamps())
        for key in [*self._at_opening, *now]:
            if now.get(key) != self._at_opening.get(key):
                what = "is gone" if key not in now else "is new" if key not in self._at_opening else "has changed"
                raise DamagedStoreError(
                    f"{self.address} was changed while it was read: {key} {what}; let its writer finish and start again"
                )

    def close(self) -> None:
        """Close the files that are open."""
        self._close()
