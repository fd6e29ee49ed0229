"""One tensor to a few sections of bytes and back, bit for bit, in whichever of four ways is shortest.

====================  ==============================================  =============================
``form``              sections                                        for
====================  ==============================================  =============================
``"plain"``           the values, perhaps deflated                    biases, norms, dense weights
``"sparse"``          gaps, the values at their ends                  pruned weights
``"shared"``          codebook, codes                                 shared weights
``"sparse shared"``   gaps, codebook, codes (0 is a filler)           pruned and shared weights
====================  ==============================================  =============================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from pyscale.compress.errors import CorruptFileError
from pyscale.compress.relative_index import MOST_GAP_BITS, Places, gaps_between, places_of, split_gaps
from pyscale.compress.symbols import Symbols, decode_symbols, deflate, encode_symbols, inflate
from pyscale.compress.words import DTYPES, Words, elements, tensor_of, type_name, word_type, words_of

Form = Literal["plain", "sparse", "shared", "sparse shared"]

ROLES: dict[str, tuple[str, ...]] = {
    "plain": ("values",),
    "sparse": ("gaps", "values"),
    "shared": ("codebook", "codes"),
    "sparse shared": ("gaps", "codebook", "codes"),
}
CODINGS: dict[str, tuple[str, ...]] = {
    "values": ("plain", "deflated"),
    "codebook": ("plain",),
    "gaps": ("packed", "huffman"),
    "codes": ("packed", "huffman"),
}
_MOST_DEFLATED = 1032  # bytes that a byte of deflate data can become
_MOST_CODES = 256
_LOOKED_AT = 4096  # values that tell whether a tensor shares few


@dataclass(frozen=True)
class Section:
    """Bytes with one role and how they are written: see ``CODINGS``."""

    coding: str
    data: bytes


@dataclass(frozen=True)
class Encoded:
    """A tensor as it is stored.

    Attributes:
        name: Its key in the state dict.
        dtype: Of ``DTYPES``.
        shape: Its shape.
        form: Which sections there are.
        entries: Values stored in order: all elements, or the non-zero ones and the fillers.
        gap_bits: Width of a gap, 0 where all elements are stored.
        code_bits: Width of a code, 0 where values are stored.
        sections: By role.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    form: Form
    entries: int
    gap_bits: int
    code_bits: int
    sections: dict[str, Section]

    @property
    def size(self) -> int:
        """Bytes of all sections."""
        return sum(len(section.data) for section in self.sections.values())


def encode(name: str, tensor: Tensor, *, huffman: bool) -> Encoded:
    """Store a tensor in the shortest of the forms that its values allow.

    Args:
        name: Its key in the state dict.
        tensor: Dense, of a type in ``DTYPES``.
        huffman: Whether Huffman codes and deflate may be used; without, every symbol takes the same bits.

    Returns:
        The sections.

    Raises:
        TypeError: If it is no such tensor.
    """
    words = words_of(name, tensor)
    shape, dtype = tuple(tensor.shape), type_name(tensor)
    candidates = list(_candidates(words, huffman))
    form, entries, gap_bits, code_bits, sections = min(
        candidates, key=lambda c: sum(len(s.data) for s in c[4].values())
    )
    return Encoded(name, dtype, shape, form, entries, gap_bits, code_bits, sections)


def decode(stored: Encoded) -> Tensor:
    """Undo :func:`encode`.

    Raises:
        CorruptFileError: If the parts do not fit together; nothing is allocated that the bytes there can't fill.
    """
    numel = elements(list(stored.shape))
    dtype = DTYPES[stored.dtype]
    kind = word_type(dtype)
    sections = stored.sections
    reach = (stored.entries + 1) << stored.gap_bits if stored.gap_bits else stored.entries
    if numel > reach or (not stored.gap_bits and numel != stored.entries):
        raise CorruptFileError(f"{stored.entries} entries can't make {numel} elements")
    if "codes" in sections:
        codes = _read_symbols(sections["codes"], stored.entries, stored.code_bits)
        codebook = _codebook(sections["codebook"], kind, with_filler=bool(stored.gap_bits))
        if len(codes) and int(codes.max()) >= len(codebook):
            raise CorruptFileError(f"code {int(codes.max())} in a codebook of {len(codebook)}")
        values = codebook[codes]
    else:
        values = np.frombuffer(_read(sections["values"], stored.entries * kind.itemsize), dtype=kind)
    if stored.gap_bits:
        places = places_of(_read_symbols(sections["gaps"], stored.entries, stored.gap_bits), stored.gap_bits, numel)
        whole = np.zeros(numel, dtype=kind)
        whole[places] = values
        values = whole
    return tensor_of(values, dtype, stored.shape)


Candidate = tuple[Form, int, int, int, dict[str, Section]]


def _candidates(words: Words, huffman: bool) -> Iterator[Candidate]:
    places = np.flatnonzero(words)
    codebook = _few_values(words[places])
    zeros = len(places) < len(words)
    if codebook is not None and len(words) and len(codebook) + zeros <= _MOST_CODES:
        yield _shared(words, codebook, zeros, huffman)
    if zeros:
        yield _sparse(words, places, None, huffman)
        if codebook is not None and len(codebook) < _MOST_CODES:
            yield _sparse(words, places, codebook, huffman)
    if codebook is None or len(words) <= _LOOKED_AT:
        yield "plain", len(words), 0, 0, {"values": _values(words, huffman)}


def _few_values(values: Words) -> Words | None:
    """The distinct values in order, None where there are more than codes."""
    if len(np.unique(values[:_LOOKED_AT])) > _MOST_CODES:
        return None
    distinct: Words = np.unique(values)
    return distinct if len(distinct) <= _MOST_CODES else None


def _shared(words: Words, codebook: Words, zeros: bool, huffman: bool) -> Candidate:
    book = np.concatenate((np.zeros(int(zeros), dtype=words.dtype), codebook))
    bits = _bits_for(len(book))
    codes = np.searchsorted(book, words).astype(np.uint8)
    sections = {"codebook": Section("plain", book.tobytes()), "codes": _symbols(codes, bits, huffman)}
    return "shared", len(words), 0, bits, sections


def _sparse(words: Words, places: Places, codebook: Words | None, huffman: bool) -> Candidate:
    gaps = gaps_between(places, len(words))
    code_bits = 0 if codebook is None else _bits_for(len(codebook) + 1)
    value_bits = code_bits or 8 * words.dtype.itemsize
    bits = min(range(1, MOST_GAP_BITS + 1), key=lambda bits: _cost(gaps, bits, value_bits, huffman))
    entries, fillers = split_gaps(gaps, bits)
    sections = {"gaps": _symbols(entries, bits, huffman)}
    if codebook is None:
        values = np.zeros(len(entries), dtype=words.dtype)
        values[~fillers] = words[places]
        sections["values"] = _values(values, huffman)
        return "sparse", len(entries), bits, 0, sections
    codes = np.zeros(len(entries), dtype=np.uint8)
    codes[~fillers] = 1 + np.searchsorted(codebook, words[places])
    sections |= {
        "codebook": Section("plain", codebook.tobytes()),
        "codes": _symbols(codes, code_bits, huffman),
    }
    return "sparse shared", len(entries), bits, code_bits, sections


def _cost(gaps: Places, bits: int, value_bits: int, huffman: bool) -> float:
    """About how many bits gaps of this width take, with the values of their fillers; to choose a width by."""
    last = (1 << bits) - 1
    counts = np.bincount(gaps[:-1] & last, minlength=last + 1)
    fillers = int((gaps >> bits).sum())
    counts[last] += fillers
    entries = int(counts.sum())
    if not huffman:
        return entries * bits + fillers * value_bits
    shares = counts[counts > 0] / max(entries, 1)
    return entries * max(1.0, float(-(shares * np.log2(shares)).sum())) + fillers * value_bits


def _bits_for(symbols: int) -> int:
    return max(1, (symbols - 1).bit_length())


def _values(words: Words, huffman: bool) -> Section:
    data = words.tobytes()
    if huffman:
        shorter = deflate(data)
        if len(shorter) < len(data):
            return Section("deflated", shorter)
    return Section("plain", data)


def _symbols(symbols: Symbols, bits: int, huffman: bool) -> Section:
    return Section(*encode_symbols(symbols, bits, huffman=huffman))


def _read(section: Section, size: int) -> bytes:
    if section.coding == "plain" and len(section.data) != size:
        raise CorruptFileError(f"{size} bytes of values are {len(section.data)}")
    if section.coding == "plain":
        return section.data
    if size > _MOST_DEFLATED * len(section.data):
        raise CorruptFileError(f"{len(section.data)} bytes can't become {size}")
    return inflate(section.data, size)


def _read_symbols(section: Section, count: int, bits: int) -> Symbols:
    return decode_symbols(section.data, section.coding, count, bits)  # type: ignore[arg-type]  # checked when read


def _codebook(section: Section, kind: np.dtype[Any], *, with_filler: bool) -> Words:
    """The values that codes stand for; code 0 is zero where there are fillers."""
    if len(section.data) % kind.itemsize or len(section.data) > _MOST_CODES * kind.itemsize:
        raise CorruptFileError(f"{len(section.data)} bytes are no codebook of {kind.itemsize} bytes a value")
    book: Words = np.frombuffer(section.data, dtype=kind)
    return np.concatenate((np.zeros(1, dtype=kind), book)) if with_filler else book
