"""The ``zarr.json`` of arrays and groups: written as Zarr's own library would, read without believing it.

Only what can be checked before anything is decoded is taken: regular chunks, and codecs whose output has a size that
the chunk's bytes themselves tell.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from pyscale.stores.errors import DamagedStoreError

METADATA = "zarr.json"
MOST_METADATA = 64 * 2**20  # bytes of one zarr.json: attributes with a hundred thousand layers
MOST_CHUNK = 2**31 - 2**16  # bytes of one chunk once decoded: what Blosc takes
_MOST_DIMENSIONS = 32
_CODECS = ("bytes", "blosc", "zstd", "crc32c")

ITEM_BYTES = {
    "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2, "int32": 4, "uint32": 4,
    "float32": 4, "int64": 8, "uint64": 8, "float64": 8,
}  # fmt: skip


@dataclass(frozen=True)
class ArrayMetadata:
    """What a Zarr array is.

    Attributes:
        shape: Of the array.
        chunks: Of every chunk; those at the edges are whole too, filled up.
        data_type: Zarr's name of the type.
        codecs: After the bytes of the numbers, in the order in which they encode.
        separator: Between a chunk's coordinates in its key.
        prefix: Whether the key begins with "c".
        attributes: Of the user.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    data_type: str
    codecs: tuple[dict[str, Any], ...] = ({"name": "crc32c"},)
    separator: str = "."
    prefix: bool = True
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a chunk once it is decoded."""
        return math.prod(self.chunks) * ITEM_BYTES[self.data_type]

    @property
    def grid(self) -> tuple[int, ...]:
        """Chunks along every dimension."""
        return tuple(-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True))

    def chunk_key(self, place: Sequence[int]) -> str:
        """Return the key of a chunk inside the array."""
        return self.separator.join(["c"] * self.prefix + [str(i) for i in place]) or "0"

    def to_json(self) -> bytes:
        """Return the file."""
        name = "default" if self.prefix else "v2"
        whole = {
            "shape": list(self.shape),
            "data_type": self.data_type,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunks)}},
            "chunk_key_encoding": {"name": name, "configuration": {"separator": self.separator}},
            "fill_value": 0.0 if "float" in self.data_type else 0,
            "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, *self.codecs],
            "attributes": self.attributes,
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }
        return _dumped(whole)


def group_json(attributes: dict[str, Any]) -> bytes:
    """Return the ``zarr.json`` of a group."""
    return _dumped({"attributes": attributes, "zarr_format": 3, "node_type": "group"})


def parse_node(data: bytes, where: str) -> dict[str, Any]:
    """Return a ``zarr.json`` as an object that says it is of format 3.

    Raises:
        DamagedStoreError: It is no JSON, no object, or of another format.
    """
    try:
        node = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedStoreError(f"{where} has metadata that is no JSON: {error}") from error
    if not isinstance(node, dict) or node.get("zarr_format") != 3 or not isinstance(node.get("attributes", {}), dict):
        raise DamagedStoreError(f"{where} is no Zarr of format 3")
    return node


def parse_array(node: dict[str, Any], where: str) -> ArrayMetadata:
    """Return an array's metadata, each number of which can be true.

    Raises:
        DamagedStoreError: Something is missing, contradictory or too large.
        ValueError: It is of a kind that isn't read here.
    """

    def refuse(reason: str) -> NoReturn:
        raise DamagedStoreError(f"{where}: {reason}")

    shape, data_type = node.get("shape"), node.get("data_type")
    chunks = _configuration(node.get("chunk_grid"), "regular").get("chunk_shape")
    if shape is None or chunks is None or not _are_sizes(shape, 0) or not _are_sizes(chunks, 1):
        refuse("its shape or chunk shape is no list of whole numbers")
    if len(shape) != len(chunks):
        refuse("shape and chunk shape are no matching lists of whole numbers")
    if data_type not in ITEM_BYTES:
        raise ValueError(f"{where} has the type {data_type!r}, which isn't read here")
    keys = node.get("chunk_key_encoding")
    prefix = isinstance(keys, dict) and keys.get("name") == "default"
    separator = _configuration(keys, "default" if prefix else "v2").get("separator", "/" if prefix else ".")
    if separator not in ("/", "."):
        refuse("chunks have no keys that are known")
    metadata = ArrayMetadata(
        tuple(shape), tuple(chunks), data_type, _codecs(node.get("codecs"), where), separator, prefix,
        node.get("attributes", {}),
    )  # fmt: skip
    if metadata.chunk_bytes > MOST_CHUNK:
        refuse(f"a chunk would take {metadata.chunk_bytes} bytes; at most {MOST_CHUNK} are read")
    if math.prod(metadata.shape) * ITEM_BYTES[data_type] >= 2**62:
        refuse(f"shape {metadata.shape} can't be true")
    return metadata


def _codecs(codecs: Any, where: str) -> tuple[dict[str, Any], ...]:
    """Return the codecs behind the first, which must give little-endian bytes."""
    if not isinstance(codecs, list) or not codecs or not all(isinstance(codec, dict) for codec in codecs):
        raise DamagedStoreError(f"{where}: its codecs are no list of objects")
    names = [codec.get("name") for codec in codecs]
    unknown = [name for name in names if name not in _CODECS]
    if unknown or names[0] != "bytes" or "bytes" in names[1:]:
        raise ValueError(
            f"{where} is encoded by {', '.join(map(str, names))}; only bytes, then {', '.join(_CODECS[1:])} are read, "
            f"whose output has a size known before: copy it with one of them"
        )
    if _configuration(codecs[0], "bytes").get("endian", "little") != "little":
        raise ValueError(f"{where} holds big-endian numbers, which aren't read; copy it as little-endian")
    return tuple(codecs[1:])


def _configuration(value: Any, name: str) -> dict[str, Any]:
    found = value.get("configuration", {}) if isinstance(value, dict) and value.get("name") == name else {}
    return found if isinstance(found, dict) else {}


def _are_sizes(value: Any, least: int) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= _MOST_DIMENSIONS
        and all(type(size) is int and least <= size < 2**62 for size in value)
    )


def _dumped(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False).encode()
