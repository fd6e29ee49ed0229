"""The bytes of one chunk: compressed, with a checksum, and never decoded before their size has been looked at.

Blosc and Zstandard frames say how much they hold. What they say is held against the chunk's shape first, so that a few
bytes can't claim all memory.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyscale.stores.dependencies import import_store_dependency

CRC = {"name": "crc32c"}
_CRC_BYTES = 4
_BLOSC_HEADER = struct.Struct("<4B3I")  # version, its format's version, flags, type size; bytes, of a block, compressed
_ZSTD_MAGIC = 0xFD2FB528


def blosc(item_bytes: int, shuffle: str) -> dict[str, Any]:
    """Return Zarr's description of LZ4 behind Blosc's shuffle ("shuffle": of bytes, "bitshuffle": of bits)."""
    configuration = {"typesize": item_bytes, "cname": "lz4", "clevel": 5, "shuffle": shuffle, "blocksize": 0}
    return {"name": "blosc", "configuration": configuration}


def memory_of(numbers: np.ndarray[Any, Any]) -> memoryview:
    """Return a contiguous array's bytes."""
    return numbers.reshape(-1).view(np.uint8).data


def encode(data: memoryview, codecs: Sequence[dict[str, Any]]) -> bytes:
    """Return a chunk's bytes behind all codecs.

    Args:
        data: The numbers, contiguous.
        codecs: What :class:`~pyscale.stores.zarr_metadata.ArrayMetadata` lists.
    """
    encoded = bytes(data)
    for codec in codecs:
        if codec["name"] == "crc32c":
            encoded += struct.pack("<I", _checksum(encoded))
        elif codec["name"] == "blosc":
            with _one_thread:
                encoded = bytes(_blosc(codec).encode(encoded))
        else:
            raise ValueError(f"chunks aren't written by codec {codec['name']!r}")
    return encoded


def decode(encoded: memoryview, out: memoryview, codecs: Sequence[dict[str, Any]]) -> None:
    """Decode a chunk into ``out``, whose size it must have.

    Raises:
        ValueError: It is cut short, changed, or says another size.
    """
    checked_first = bool(codecs) and codecs[0]["name"] == "crc32c"  # a checksum of the numbers, compressed with them
    expected = len(out) + _CRC_BYTES * checked_first
    for codec in reversed(codecs[checked_first:]):
        if codec["name"] == "crc32c":
            encoded = _checked(encoded)
            continue
        check, library = _COMPRESSORS[codec["name"]]
        check(encoded, expected)
        if codec is codecs[0]:
            import_store_dependency(library).decompress(encoded, out)
            return
        encoded = memoryview(import_store_dependency(library).decompress(encoded, bytearray(expected)))
    if checked_first:
        encoded = _checked(encoded)
    if len(encoded) != len(out):
        raise ValueError(f"it has {len(encoded)} bytes; expected {len(out)}")
    out[:] = encoded


def _checked(encoded: memoryview) -> memoryview:
    """Return what a checksum is of."""
    if len(encoded) < _CRC_BYTES:
        raise ValueError(f"it has {len(encoded)} bytes, less than its checksum")
    body = encoded[:-_CRC_BYTES]
    if struct.unpack("<I", encoded[-_CRC_BYTES:])[0] != _checksum(body):
        raise ValueError("its checksum is wrong")
    return body


def _checksum(data: bytes | memoryview) -> int:
    # the library takes arrays of NumPy, and no view of memory that may be written to
    return int(import_store_dependency("google_crc32c").value(np.frombuffer(data, dtype=np.uint8)))


def _blosc(codec: dict[str, Any]) -> Any:
    options = codec["configuration"]
    module = import_store_dependency("numcodecs.blosc")
    shuffle = {"shuffle": module.SHUFFLE, "bitshuffle": module.BITSHUFFLE}[options["shuffle"]]
    return module.Blosc(
        options["cname"], options["clevel"], shuffle, options["blocksize"], typesize=options["typesize"]
    )


class _OneThread:
    """Has Blosc compress on one thread: of several, each appends its block as it ends, in another order each time.

    That is a flag of the library, for all threads of the process; the last of those that are inside puts it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: bool | None = None

    def __enter__(self) -> None:
        module = import_store_dependency("numcodecs.blosc")
        with self._lock:
            if self._inside == 0:
                self._before, module.use_threads = module.use_threads, False
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        module = import_store_dependency("numcodecs.blosc")
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                module.use_threads = self._before


_one_thread = _OneThread()


def _check_blosc(encoded: memoryview, expected: int) -> None:
    if len(encoded) < _BLOSC_HEADER.size:
        raise ValueError(f"it has {len(encoded)} bytes, less than a Blosc header")
    *_, size, block, compressed = _BLOSC_HEADER.unpack(encoded[: _BLOSC_HEADER.size])
    if size != expected or compressed != len(encoded) or block > max(size, 1):
        raise ValueError(f"its Blosc header says {size} bytes in {compressed}; expected {expected} in {len(encoded)}")


def _check_zstd(encoded: memoryview, expected: int) -> None:
    if len(encoded) < 6 or struct.unpack("<I", encoded[:4])[0] != _ZSTD_MAGIC:
        raise ValueError("it is no Zstandard frame")
    descriptor = encoded[4]
    single, kind = descriptor >> 5 & 1, descriptor >> 6
    start = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    width = (1 if single else 0, 2, 4, 8)[kind]
    if width == 0 or len(encoded) < start + width:
        raise ValueError("its Zstandard frame doesn't say how much it holds")
    size = int.from_bytes(encoded[start : start + width], "little") + (256 if width == 2 else 0)
    if size != expected:
        raise ValueError(f"its Zstandard frame says {size} bytes; expected {expected}")


_COMPRESSORS = {"blosc": (_check_blosc, "numcodecs.blosc"), "zstd": (_check_zstd, "numcodecs.zstd")}
