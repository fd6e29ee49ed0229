r"""The bytes of a ``.psz`` file: a prefix, a header of JSON, and the sections of every tensor end to end.

===========  =====  ==========================================================================
bytes        type   what
===========  =====  ==========================================================================
0 to 7              ``\x93PSZ\r\n\x1a\n``: damage by text-mode transfers shows
8 to 11      u32    version of the format
12 to 15     u32    bytes of the header as it is stored, raw deflate
16 to 19     u32    bytes of the header as JSON
20 to 27     u64    bytes of the sections
28 to 31     u32    CRC-32 of everything before and after these four bytes
===========  =====  ==========================================================================

Numbers are little-endian. The header is ``{"config": ..., "tensors": [...]}``; a tensor lists its name, type, shape,
form, entries, widths (of gaps and codes) and, in the order of its form's roles, the coding and size of each section.
Nothing in a file is executed. Whatever the header says, no more is allocated than the bytes that are there can fill:
a bit of a stream is at most one symbol, a gap passes at most 256 elements, and a byte of deflate data becomes at most
1032. So a file makes at most 1024 elements a byte, beside the 255 at most of a tensor without any entry.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any, cast

from pyscale.compress.encoding import CODINGS, ROLES, Encoded, Form, Section
from pyscale.compress.errors import CorruptFileError
from pyscale.compress.symbols import deflate, inflate
from pyscale.compress.words import DTYPES, elements

VERSION = 1

_MAGIC = b"\x93PSZ\r\n\x1a\n"
_PREFIX = struct.Struct("<8sIIIQ")
_CHECKSUM = struct.Struct("<I")
_START = _PREFIX.size + _CHECKSUM.size
_LARGEST_HEADER = 2**24  # bytes of JSON: a hundred thousand tensors
_MOST_BITS = 8


def to_bytes(tensors: list[Encoded], config: Any) -> bytes:
    """A file of encoded tensors and a configuration of plain JSON values.

    Raises:
        TypeError: If ``config`` is not plain JSON.
        ValueError: If it holds NaN or infinity, or header and configuration are too large.
    """
    try:
        header = json.dumps(
            {"config": config, "tensors": [_described(tensor) for tensor in tensors]},
            allow_nan=False,
            separators=(",", ":"),
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise type(error)(f"config must be plain JSON values: {error}") from error
    if len(header) > _LARGEST_HEADER:
        raise ValueError(f"config and the tensors' names take {len(header)} bytes, at most {_LARGEST_HEADER} can be")
    short = deflate(header)
    sections = b"".join(section.data for tensor in tensors for section in tensor.sections.values())
    prefix = _PREFIX.pack(_MAGIC, VERSION, len(short), len(header), len(sections))
    return prefix + _CHECKSUM.pack(_checksum(prefix, short + sections)) + short + sections


def from_bytes(data: bytes) -> tuple[list[Encoded], Any]:
    """Undo :func:`to_bytes`.

    Raises:
        CorruptFileError: If the bytes are none of such a file, or cut off, damaged or inconsistent.
    """
    header, sections = _parts(data)
    try:
        content = json.loads(header, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"the header is not JSON: {error}") from error
    if not isinstance(content, dict) or set(content) != {"config", "tensors"}:
        raise CorruptFileError("the header must have config and tensors, and nothing else")
    if not isinstance(content["tensors"], list):
        raise CorruptFileError("the header's tensors must be a list")
    tensors = list(_tensors(content["tensors"], sections))
    return tensors, content["config"]


def _parts(data: bytes) -> tuple[bytes, memoryview]:
    """The JSON of the header and the bytes of the sections, their sizes and checksum right."""
    if data[:8] != _MAGIC:
        raise CorruptFileError("it does not begin as a .psz file does")
    if len(data) < _START:
        raise CorruptFileError(f"it is cut off after {len(data)} bytes")
    prefix = data[: _PREFIX.size]
    _, version, stored, plain, rest = _PREFIX.unpack(prefix)
    if version != VERSION:
        raise CorruptFileError(f"it is of version {version}; this pyscale reads version {VERSION}")
    if len(data) != _START + stored + rest:
        raise CorruptFileError(f"it has {len(data)} bytes and should have {_START + stored + rest}")
    if _CHECKSUM.unpack_from(data, _PREFIX.size)[0] != _checksum(prefix, data[_START:]):
        raise CorruptFileError("its checksum is wrong: bytes have changed since it was written")
    if plain > _LARGEST_HEADER:
        raise CorruptFileError(f"its header would have {plain} bytes, more than {_LARGEST_HEADER}")
    return inflate(data[_START : _START + stored], plain), memoryview(data)[_START + stored :]


def _checksum(prefix: bytes, rest: bytes) -> int:
    return zlib.crc32(rest, zlib.crc32(prefix))


def _described(tensor: Encoded) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "form": tensor.form,
        "entries": tensor.entries,
        "bits": [tensor.gap_bits, tensor.code_bits],
        "sections": [[section.coding, len(section.data)] for section in tensor.sections.values()],
    }


def _tensors(listed: list[Any], sections: memoryview) -> Iterator[Encoded]:
    at, names = 0, set[str]()
    for entry in listed:
        tensor, at = _tensor(entry, sections, at)
        if tensor.name in names:
            raise CorruptFileError(f"two tensors are called {tensor.name!r}")
        names.add(tensor.name)
        yield tensor
    if at != len(sections):
        raise CorruptFileError(f"{len(sections) - at} bytes belong to no tensor")


def _tensor(entry: Any, sections: memoryview, at: int) -> tuple[Encoded, int]:
    """One tensor of the header with its sections, which begin at ``at``, and where they end."""
    keys = {"name", "dtype", "shape", "form", "entries", "bits", "sections"}
    if not isinstance(entry, dict) or set(entry) != keys:
        raise CorruptFileError(f"a tensor must have {', '.join(sorted(keys))}, and nothing else")
    name, dtype, form = entry["name"], entry["dtype"], entry["form"]
    if not all(isinstance(value, str) for value in (name, dtype, form)) or dtype not in DTYPES or form not in ROLES:
        raise CorruptFileError(f"a tensor has a name, type or form that is none: {str([name, dtype, form])[:200]}")
    elements(entry["shape"])
    roles = ROLES[form]
    gap_bits, code_bits = _bits(entry["bits"], name, "gaps" in roles, "codes" in roles)
    found, listed = dict[str, Section](), entry["sections"]
    if not isinstance(listed, list) or len(listed) != len(roles):
        raise CorruptFileError(f"{name!r} must have the sections {', '.join(roles)}")
    for role, section in zip(roles, listed, strict=True):
        if not (isinstance(section, list) and len(section) == 2 and section[0] in CODINGS[role] and _count(section[1])):
            raise CorruptFileError(f"{name!r} has a section of {role} that is none: {str(section)[:80]}")
        if section[1] > len(sections) - at:
            raise CorruptFileError(f"{name!r} needs {section[1]} bytes of {role} where {len(sections) - at} are left")
        found[role] = Section(section[0], bytes(sections[at : at + section[1]]))
        at += section[1]
    if not _count(entry["entries"]):
        raise CorruptFileError(f"{name!r} has {str(entry['entries'])[:80]} entries")
    shape = tuple(entry["shape"])
    return Encoded(name, dtype, shape, cast("Form", form), entry["entries"], gap_bits, code_bits, found), at


def _bits(widths: Any, name: str, gaps: bool, codes: bool) -> tuple[int, int]:
    """The widths of gaps and codes: 1 to 8 where there are such, else 0."""
    if isinstance(widths, list) and len(widths) == 2 and all(map(_count, widths)):
        gap_bits, code_bits = widths
        if gaps == (gap_bits > 0) and codes == (code_bits > 0) and max(widths) <= _MOST_BITS:
            return gap_bits, code_bits
    raise CorruptFileError(f"{name!r} has widths that do not fit its form: {str(widths)[:80]}")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _count(number: Any) -> bool:
    return type(number) is int and number >= 0
