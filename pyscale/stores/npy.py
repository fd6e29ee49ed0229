"""NumPy's ``.npy`` files: the header is read and held against the file's size, the numbers when they are asked for."""

from __future__ import annotations

import ast
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from pyscale.stores.errors import DamagedStoreError
from pyscale.stores.places import opened, read_at
from pyscale.stores.raw_arrays import RawLayer, check_claim, stamps_of
from pyscale.stores.store import Store

_MAGIC = b"\x93NUMPY"
_MOST_HEADER = 10_000  # characters: what NumPy itself takes from strangers
PREFIX = len(_MAGIC) + 2 + 4 + _MOST_HEADER  # bytes that hold any header
TYPES = {"f2": torch.float16, "f4": torch.float32, "f8": torch.float64}


class Header(NamedTuple):
    """What an ``.npy`` file says of itself."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    by_columns: bool
    length: int  # bytes before the numbers

    @property
    def floating(self) -> torch.dtype | None:
        """The type of activations in it, or None where it holds something else."""
        return TYPES.get(self.dtype.str[1:]) if self.dtype.kind == "f" and len(self.shape) else None


def parse_header(data: bytes, where: str) -> Header:
    """Return the header at the beginning of an ``.npy`` file.

    Args:
        data: The file's first bytes, ``PREFIX`` of them or all.
        where: What errors call it.

    Raises:
        DamagedStoreError: There is none, or it makes no sense.
        ValueError: It holds pickled objects, which are never read, or big-endian numbers.
    """
    width = {1: 2, 2: 4, 3: 4}.get(data[6] if len(data) > 8 else 0)
    if not data.startswith(_MAGIC) or width is None or len(data) < 8 + width:
        raise DamagedStoreError(f"{where} is no .npy file")
    (length,) = struct.unpack("<H" if width == 2 else "<I", data[8 : 8 + width])
    text = data[8 + width : 8 + width + length]
    if length > _MOST_HEADER or len(text) < length:
        raise DamagedStoreError(f"{where} has a header of {length} bytes, and {len(text)} are there")
    try:
        found = ast.literal_eval(text.decode("utf-8" if data[6] == 3 else "latin1").strip())
        described, shape, by_columns = (found[key] for key in ("descr", "shape", "fortran_order"))
        dtype = np.dtype(described)
        whole = type(shape) is tuple and all(type(size) is int and size >= 0 for size in shape)
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError, IndexError) as error:
        raise DamagedStoreError(f"{where} has a damaged header: {error}") from error
    if not whole or type(by_columns) is not bool:
        raise DamagedStoreError(f"{where} has a damaged header: shape {shape!r}, fortran_order {by_columns!r}")
    if dtype.hasobject:
        raise ValueError(f"{where} holds pickled objects, which are never read; save plain numbers")
    if dtype.byteorder == ">":
        raise ValueError(f"{where} holds big-endian numbers, which aren't read; save them as little-endian")
    return Header(dtype, shape, by_columns, 8 + width + length)


def read_header(path: Path) -> Header:
    """Return the header of a file whose numbers are all there."""
    with opened(path) as (file, size):
        data = bytearray(min(size, PREFIX))
        read_at(file, 0, memoryview(data))
    header = parse_header(bytes(data), str(path))
    check_claim(header.shape, header.dtype.itemsize, size - header.length, str(path))
    return header


def npy_layer(name: str, path: Path) -> RawLayer | None:
    """Return a layer of an ``.npy`` file, or None where it holds no floating-point numbers by samples."""
    header = read_header(path)
    if header.floating is None:
        return None
    return RawLayer(name, path, header.length, header.shape, header.floating, by_columns=header.by_columns)


def read_small(path: Path) -> np.ndarray[Any, Any]:
    """Return a whole file's array, which has been held against the file's size."""
    header = read_header(path)
    count = int(np.prod(header.shape, dtype=object))
    out = np.empty(count, dtype=header.dtype)
    if out.nbytes:
        with opened(path) as (file, _):
            read_at(file, header.length, out.view(np.uint8).data)
    return out.reshape(header.shape, order="F" if header.by_columns else "C")


def open_npy(path: Path, address: str) -> Store:
    """Open one ``.npy`` file as a store of one layer, named as the file is."""
    layer = npy_layer(path.stem, path)
    return Store(address, {} if layer is None else {path.stem: layer}, stamps=lambda: stamps_of(path))
