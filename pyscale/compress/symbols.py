"""Streams of small symbols as bytes: each in the same few bits, or Huffman-coded by zlib."""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np
import numpy.typing as npt

from pyscale.compress.errors import CorruptFileError

Symbols = npt.NDArray[np.uint8]
Coding = Literal["packed", "huffman"]

_RAW_DEFLATE = -15
_LONGEST_BLOCKS = 9  # of zlib's memory levels: fewest code tables


def encode_symbols(symbols: Symbols, bits: int, *, huffman: bool) -> tuple[Coding, bytes]:
    """Write symbols, each below ``2**bits``.

    Args:
        symbols: (n,) numbers.
        bits: 1 to 8.
        huffman: Whether Huffman codes may be used; they are where they are shorter.

    Returns:
        How they are written, and the bytes.
    """
    packed = _pack(symbols, bits)
    if huffman:
        coder = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE, _LONGEST_BLOCKS, zlib.Z_HUFFMAN_ONLY)
        coded = coder.compress(symbols.tobytes()) + coder.flush()
        if len(coded) < len(packed):
            return "huffman", coded
    return "packed", packed


def most_symbols(size: int) -> int:
    """The most symbols that ``size`` bytes can hold: a symbol takes a bit at least."""
    return 8 * size


def decode_symbols(data: bytes, coding: Coding, count: int, bits: int) -> Symbols:
    """Read ``count`` symbols back; never makes more of them.

    Raises:
        CorruptFileError: If the bytes are not what :func:`encode_symbols` writes for so many symbols below
            ``2**bits``.
    """
    if count > most_symbols(len(data)):
        raise CorruptFileError(f"{len(data)} bytes can't hold {count} symbols")
    symbols = _unpack(data, count, bits) if coding == "packed" else _inflate(data, count)
    if count and int(symbols.max()) >= 1 << bits:
        raise CorruptFileError(f"a symbol is {int(symbols.max())}, in a stream of {bits} bits each")
    return symbols


def inflate(data: bytes, size: int) -> bytes:
    """Undo raw deflate into exactly ``size`` bytes, without ever holding more.

    Raises:
        CorruptFileError: If the data are damaged or decode to another number of bytes.
    """
    decoder = zlib.decompressobj(_RAW_DEFLATE)
    try:
        plain = decoder.decompress(data, size) if size else b""
        rest = decoder.decompress(decoder.unconsumed_tail if size else data, 1)
    except zlib.error as error:
        raise CorruptFileError(f"damaged deflate data: {error}") from error
    if rest or len(plain) != size or not decoder.eof or decoder.unused_data:
        raise CorruptFileError(f"deflate data do not hold exactly {size} bytes")
    return plain


def deflate(data: bytes, level: int = 9) -> bytes:
    """Raw deflate, without header and checksum: the file has its own."""
    coder = zlib.compressobj(level, zlib.DEFLATED, _RAW_DEFLATE, _LONGEST_BLOCKS)
    return coder.compress(data) + coder.flush()


def _inflate(data: bytes, count: int) -> Symbols:
    return np.frombuffer(inflate(data, count), dtype=np.uint8)


def _pack(symbols: Symbols, bits: int) -> bytes:
    """Lowest bit first, without gaps between symbols."""
    digits = np.unpackbits(symbols[:, None], axis=1, count=bits, bitorder="little")
    return np.packbits(digits.ravel(), bitorder="little").tobytes()


def _unpack(data: bytes, count: int, bits: int) -> Symbols:
    if len(data) != -(-count * bits // 8):
        raise CorruptFileError(f"{count} symbols of {bits} bits take {-(-count * bits // 8)} bytes, not {len(data)}")
    digits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=count * bits, bitorder="little")
    return np.packbits(digits.reshape(count, bits), axis=1, bitorder="little").ravel()
