"""NumPy's ``.npz`` files: members that are stored are read in place, compressed ones from their beginning on.

Deflate makes at most 1032 bytes of one, so what a member's header claims is held against the bytes that are there.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from pyscale.stores.errors import DamagedStoreError
from pyscale.stores.npy import PREFIX, Header, parse_header
from pyscale.stores.places import opened, read_at
from pyscale.stores.raw_arrays import RawLayer, bytes_of, check_claim, stamps_of
from pyscale.stores.sample_ids import NAMES, choose_ids, ids_of_array
from pyscale.stores.store import SampleId, Store, StoredLayer

_MOST_EXPANSION = 1032
_LOCAL = struct.Struct("<4s5H3I2H")  # a member's own header, before its name
_SKIP = 2**20  # bytes read at once to get to a later row
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, struct.error)


class DeflatedLayer(StoredLayer):
    """A layer in a compressed member. Growing rows are read in one go; an earlier row starts from the first."""

    def __init__(self, name: str, path: Path, member: zipfile.ZipInfo, header: Header, dtype: torch.dtype) -> None:
        super().__init__(name, header.shape, dtype)
        if header.by_columns:
            raise ValueError(
                f"{path}: {name!r} lies in Fortran's order in a compressed member, of which no rows can be read; "
                f"save it by np.savez"
            )
        self._path, self._member, self._start = path, member, header.length
        self._stream: IO[bytes] | None = None
        self._archive: zipfile.ZipFile | None = None
        self._at = 0

    def _read(self, start: int, stop: int, out: Tensor) -> None:
        position = self._start + start * self.row_bytes
        try:
            self._go_to(position)
            self._fill(bytes_of(out))
        except _DAMAGE as error:
            self.close()
            raise DamagedStoreError(
                f"{self._path}: {self.name!r} is damaged: {error}; save or copy it again"
            ) from error

    def close(self) -> None:
        """Close the file."""
        for file in (self._stream, self._archive):
            if file is not None:
                file.close()
        self._stream = self._archive = None

    def _go_to(self, position: int) -> None:
        if self._stream is None or self._at > position:
            self.close()
            self._archive = zipfile.ZipFile(self._path)
            self._stream, self._at = self._archive.open(self._member), 0
        while self._at < position:
            skipped = len(self._stream.read(min(_SKIP, position - self._at)))
            if skipped == 0:
                raise EOFError("it ends early")
            self._at += skipped

    def _fill(self, out: memoryview) -> None:
        done = 0
        while done < len(out) and self._stream is not None:
            count = self._stream.readinto(out[done : done + _SKIP])  # type: ignore[attr-defined]
            if not count:
                raise EOFError("it ends early")
            done += count
        self._at += done


def open_npz(path: Path, address: str) -> Store:
    """Open an ``.npz`` file: a layer an array of floating-point numbers."""
    layers: dict[str, StoredLayer] = {}
    members: dict[str, zipfile.ZipInfo] = {}
    with opened(path) as (_, size):
        pass
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                members[name] = member
                layer = None if name in NAMES else _layer(name, path, archive, member, size)
                if layer is not None:
                    layers[name] = layer
    except _DAMAGE as error:
        raise DamagedStoreError(f"{path} is damaged, or no .npz file: {error}") from error

    def ids() -> tuple[SampleId, ...] | None:
        samples, found = next(iter(layers.values())).samples, choose_ids(members, address)
        return None if found is None else ids_of_array(_read_whole(path, found, size), samples, address)

    def close() -> None:
        for layer in layers.values():
            if isinstance(layer, DeflatedLayer):
                layer.close()

    return Store(address, layers, ids=ids, stamps=lambda: stamps_of(path), close=close)


def _layer(name: str, path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> StoredLayer | None:
    header = _header(path, archive, member, size)
    if header.floating is None:
        return None
    if member.compress_type == zipfile.ZIP_STORED:
        offset = _data_offset(path, member) + header.length
        return RawLayer(name, path, offset, header.shape, header.floating, by_columns=header.by_columns)
    return DeflatedLayer(name, path, member, header, header.floating)


def _header(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> Header:
    """Return a member's header, which claims no more than can be there."""
    where = f"{path}: {member.filename!r}"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{where} is compressed in a way that isn't read; save it by np.savez or np.savez_compressed")
    if member.compress_size > size:
        raise DamagedStoreError(f"{where} claims {member.compress_size} bytes of a file of {size}")
    with archive.open(member) as file:
        header = parse_header(file.read(PREFIX), where)
    ratio = 1 if member.compress_type == zipfile.ZIP_STORED else _MOST_EXPANSION
    there = min(member.file_size, ratio * member.compress_size) - header.length
    check_claim(header.shape, header.dtype.itemsize, there, where)
    return header


def _data_offset(path: Path, member: zipfile.ZipInfo) -> int:
    """Return where a member's bytes begin."""
    data = bytearray(_LOCAL.size)
    with opened(path) as (file, _):
        read_at(file, member.header_offset, memoryview(data))
    *_, name, extra = _LOCAL.unpack(data)
    return int(member.header_offset + _LOCAL.size + name + extra)


def _read_whole(path: Path, member: zipfile.ZipInfo, size: int) -> np.ndarray[Any, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            header = _header(path, archive, member, size)
            with archive.open(member) as file:
                file.read(header.length)
                count = int(np.prod(header.shape, dtype=object))
                data = file.read(count * header.dtype.itemsize)
        return np.frombuffer(data, dtype=header.dtype, count=count).reshape(header.shape)
    except (*_DAMAGE, ValueError) as error:
        raise DamagedStoreError(f"{path}: {member.filename!r} is damaged: {error}") from error
