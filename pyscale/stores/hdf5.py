"""HDF5 files: a layer a dataset of floating-point numbers, named by its path.

What would lead out of the file (external links, external and virtual data) is refused, and so is a dataset whose chunks
aren't there, which would read as a fill value. HDF5's own library parses the rest of the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyscale.stores.dependencies import import_store_dependency
from pyscale.stores.errors import DamagedStoreError
from pyscale.stores.places import opened
from pyscale.stores.raw_arrays import stamps_of
from pyscale.stores.sample_ids import NAMES, check_ids_array, choose_ids, ids_of_array
from pyscale.stores.store import SampleId, Store, StoredLayer
from pyscale.stores.zarr_metadata import MOST_CHUNK

_TYPES = {"f2": torch.float16, "f4": torch.float32, "f8": torch.float64}
_MOST_EXPANSION = 1032  # of a byte by deflate, the strongest of the filters that are taken
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
_MOST_OBJECTS = 100_000
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError)


class Hdf5Layer(StoredLayer):
    """A layer in a dataset."""

    def __init__(self, name: str, dataset: Any, dtype: torch.dtype, where: str) -> None:
        super().__init__(name, dataset.shape, dtype)
        self._dataset, self._where = dataset, where

    @property
    def rows_at_once(self) -> int:
        """Rows of a chunk."""
        return int(self._dataset.chunks[0]) if self._dataset.chunks else 1

    def _read(self, start: int, stop: int, out: Tensor) -> None:
        try:
            self._dataset.read_direct(out.numpy(), np.s_[start:stop])
        except _DAMAGE as error:
            raise DamagedStoreError(
                f"{self._where}: samples {start} to {stop - 1} of layer {self.name!r} can't be read: {error}"
            ) from error


def open_hdf5(path: Path, address: str) -> Store:
    """Open an HDF5 file."""
    h5py = import_store_dependency("h5py")
    with opened(path) as (_, size):
        pass
    with _damage_named(path):
        file = h5py.File(path, "r", locking=False)
    try:
        with _damage_named(path):
            datasets = _datasets(h5py, file, str(path))
            layers = _layers(datasets, path, size)

        def ids() -> tuple[SampleId, ...] | None:
            samples = next(iter(layers.values())).samples
            found = choose_ids(datasets, address)
            if found is None:
                return None
            strings = h5py.check_string_dtype(found.dtype) is not None
            known = strings or found.dtype.kind in "iuS"
            check_ids_array(found.shape, str(found.dtype), samples, address, known=known)
            with _damage_named(path):
                _check(found, f"{path}: sample ids", size)
                array = found.asstr()[:] if strings else found[:]
            return ids_of_array(np.asarray(array.tolist()), samples, address)

        return Store(address, layers, ids=ids, stamps=lambda: stamps_of(path), close=file.close)
    except BaseException:
        file.close()
        raise


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Raise what HDF5's library finds wrong as damage of the file; what was found wrong here stays as it is."""
    try:
        yield
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise DamagedStoreError(f"{path} is damaged, or no HDF5 file: {error}") from error
    except (OSError, RuntimeError, KeyError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
        raise DamagedStoreError(f"{path} is damaged, or no HDF5 file: {error}") from error


def _layers(datasets: dict[str, Any], path: Path, size: int) -> dict[str, StoredLayer]:
    layers: dict[str, StoredLayer] = {}
    for name, dataset in datasets.items():
        if not dataset.ndim or name in NAMES:
            continue
        if dataset.dtype.byteorder == ">" and dataset.dtype.kind == "f":
            raise ValueError(
                f"{path}: {name!r} holds big-endian numbers, which aren't read; save them as little-endian"
            )
        kind = _TYPES.get(dataset.dtype.str[1:])
        if kind is not None:
            _check(dataset, f"{path}: {name!r}", size)
            layers[name] = Hdf5Layer(name, dataset, kind, str(path))
    return layers


def _datasets(h5py: Any, file: Any, where: str) -> dict[str, Any]:
    """Return all datasets by path, in the order of creation where the file knows it; hard links alone are followed."""
    found: dict[str, Any] = {}
    seen: set[Any] = set()
    waiting = [("", file)]
    while waiting:
        prefix, group = waiting.pop(0)
        names = list(group)
        if len(found) + len(waiting) + len(names) > _MOST_OBJECTS:
            raise DamagedStoreError(f"{where} holds more than {_MOST_OBJECTS} objects")
        for name in names:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{where}: {prefix}{name} is a link, which stores don't follow")
            item = group[name]
            if isinstance(item, h5py.Dataset):
                found[prefix + name] = item
            elif isinstance(item, h5py.Group) and item.id not in seen:
                seen.add(item.id)
                waiting.append((f"{prefix}{name}/", item))
    return found


def _check(dataset: Any, where: str, size: int) -> None:
    """Refuse a dataset whose numbers lie elsewhere, aren't there, or can't be as many as it says."""
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{where} keeps its numbers in other files, which aren't read; copy it into one")
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    unknown = [number for number in filters if number not in _FILTERS]
    if unknown:
        raise ValueError(f"{where} is encoded by filter {unknown[0]}; those read are {', '.join(_FILTERS.values())}")
    item = int(dataset.dtype.itemsize)
    claimed, stored = math.prod(dataset.shape) * item, int(dataset.id.get_storage_size())
    most = _MOST_EXPANSION * min(stored, size) if filters else min(stored, size)
    if dataset.chunks:
        expected = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
        if math.prod(dataset.chunks) * item > MOST_CHUNK:
            raise DamagedStoreError(
                f"{where} has chunks of {math.prod(dataset.chunks) * item} bytes; at most {MOST_CHUNK}"
            )
        if claimed and (expected > size or dataset.id.get_num_chunks() != expected):
            raise DamagedStoreError(f"{where} has {expected} chunks by its shape, and they aren't all there")
    if claimed > most:
        raise DamagedStoreError(f"{where} claims {claimed} bytes, and {stored} are there for it")
