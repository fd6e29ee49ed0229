"""A reader and a writer of ``.psz`` files in plain Python, from the description of the format; for tests alone."""

from __future__ import annotations

import json
import struct
import zlib

MAGIC = b"\x93PSZ\r\n\x1a\n"
SIZES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1}
SIZES |= {"uint8": 1, "bool": 1}


def unpack_file(data):
    """The header as an object, and the bytes of the sections."""
    magic, version, stored, plain, rest = struct.unpack("<8sIIIQ", data[:28])
    assert (magic, version, len(data)) == (MAGIC, 1, 32 + stored + rest)
    assert struct.unpack("<I", data[28:32])[0] == zlib.crc32(data[:28] + data[32:])
    header = zlib.decompress(data[32 : 32 + stored], -15)
    assert len(header) == plain
    return json.loads(header), data[32 + stored :]


def pack_file(header, sections, *, version=1, plain=None, text=None):
    """A file whose sizes and checksum are right, whatever the header says."""
    text = json.dumps(header).encode() if text is None else text
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    stored = deflater.compress(text) + deflater.flush()
    prefix = struct.pack("<8sIIIQ", MAGIC, version, len(stored), len(text) if plain is None else plain, len(sections))
    return prefix + struct.pack("<I", zlib.crc32(prefix + stored + sections)) + stored + sections


def symbols(coding, data, count, bits):
    if coding == "huffman":
        found = list(zlib.decompress(data, -15))
    else:
        number = int.from_bytes(data, "little")
        found = [(number >> (bits * i)) & ((1 << bits) - 1) for i in range(count)]
    assert len(found) == count
    return found


def values(coding, data, size):
    data = zlib.decompress(data, -15) if coding == "deflated" else data
    return [data[i : i + size] for i in range(0, len(data), size)]


def raw_bytes(data):
    """The little-endian bytes of every tensor in a file, by name."""
    header, sections = unpack_file(data)
    found = {}
    for tensor in header["tensors"]:
        size, (gap_bits, code_bits), parts = SIZES[tensor["dtype"]], tensor["bits"], []
        for coding, length in tensor["sections"]:
            parts.append((coding, sections[:length]))
            sections = sections[length:]
        gaps = symbols(*parts.pop(0), tensor["entries"], gap_bits) if gap_bits else None
        if code_bits:
            book = values(*parts.pop(0), size)
            if gaps is not None:
                book.insert(0, bytes(size))
            entries = [book[code] for code in symbols(*parts.pop(0), tensor["entries"], code_bits)]
        else:
            entries = values(*parts.pop(0), size)
        if gaps is not None:
            count = 1
            for side in tensor["shape"]:
                count *= side
            whole, place = [bytes(size)] * count, -1
            for gap, entry in zip(gaps, entries, strict=True):
                place += gap + 1
                whole[place] = entry
            entries = whole
        assert not parts
        found[tensor["name"]] = b"".join(entries)
    assert not sections
    return found
