"""``.safetensors`` files: a header of JSON, then the numbers; the header is held against the file's size."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyscale.stores.errors import DamagedStoreError
from pyscale.stores.places import opened, read_at
from pyscale.stores.raw_arrays import RawLayer, stamps_of
from pyscale.stores.sample_ids import NAMES, as_ids, check_ids_array, choose_ids
from pyscale.stores.store import SampleId, Store, StoredLayer

_PREFIX = struct.Struct("<Q")
_MOST_HEADER = 100_000_000  # bytes: the format's own limit
_ID_TYPES = {
    "I8": "<i1",
    "U8": "<u1",
    "I16": "<i2",
    "U16": "<u2",
    "I32": "<i4",
    "U32": "<u4",
    "I64": "<i8",
    "U64": "<u8",
}
_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def open_safetensors(path: Path, address: str) -> Store:
    """Open a ``.safetensors`` file: a layer a tensor of floating-point numbers."""
    header, start, size = _read_header(path)
    layers: dict[str, StoredLayer] = {}
    places: dict[str, tuple[int, str, tuple[int, ...]]] = {}
    for name, entry in header.items():
        kind, shape, begin, end = _checked(entry, f"{path}: {name!r}", size - start)
        places[name] = start + begin, kind, shape
        if name not in NAMES and kind in _TYPES and shape:
            if end - begin != math.prod(shape) * _TYPES[kind].itemsize:
                raise DamagedStoreError(f"{path}: {name!r} has shape {shape} and {end - begin} bytes")
            layers[name] = RawLayer(name, path, start + begin, shape, _TYPES[kind])

    def ids() -> tuple[SampleId, ...] | None:
        found = choose_ids(places, address)
        if found is None:
            return None
        at, kind, shape = found
        samples = next(iter(layers.values())).samples
        check_ids_array(shape, kind, samples, address, known=kind in _ID_TYPES)
        out = np.empty(samples, dtype=_ID_TYPES[kind])
        with opened(path) as (file, _):
            if len(out):
                read_at(file, at, out.view(np.uint8).data)
        return as_ids(out, f"sample ids of {address}")

    return Store(address, layers, ids=ids, stamps=lambda: stamps_of(path))


def _read_header(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the header's tensors, where the numbers begin, and the file's size."""
    with opened(path) as (file, size):
        prefix = bytearray(_PREFIX.size)
        if size < len(prefix):
            raise DamagedStoreError(f"{path} is no .safetensors file: it has {size} bytes")
        read_at(file, 0, memoryview(prefix))
        (length,) = _PREFIX.unpack(prefix)
        if length > min(_MOST_HEADER, size - len(prefix)):
            raise DamagedStoreError(f"{path} is damaged: it claims a header of {length} bytes, and has {size} in all")
        data = bytearray(length)
        read_at(file, len(prefix), memoryview(data))
    try:
        header = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedStoreError(f"{path} has a damaged header: {error}") from error
    if not isinstance(header, dict):
        raise DamagedStoreError(f"{path} has a header that is no object")
    header.pop("__metadata__", None)
    return header, len(prefix) + length, size


def _checked(entry: Any, where: str, there: int) -> tuple[str, tuple[int, ...], int, int]:
    """Return type, shape and place of a tensor, which lies inside the file."""

    def are_sizes(value: Any) -> bool:
        return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)

    if not isinstance(entry, dict) or not are_sizes(entry.get("shape")) or not are_sizes(entry.get("data_offsets")):
        raise DamagedStoreError(f"{where} has a damaged entry in the header")
    offsets, kind = entry["data_offsets"], entry.get("dtype")
    if len(offsets) != 2 or not offsets[0] <= offsets[1] <= there or not isinstance(kind, str):
        raise DamagedStoreError(f"{where} should lie at {offsets} of {there} bytes: the file was cut short")
    shape = tuple(entry["shape"])
    item = _TYPES[kind].itemsize if kind in _TYPES else int(_ID_TYPES.get(kind, "<i0")[2:])
    if item * math.prod(shape) > offsets[1] - offsets[0]:
        raise DamagedStoreError(f"{where} has shape {shape} and {offsets[1] - offsets[0]} bytes")
    return kind, shape, offsets[0], offsets[1]
