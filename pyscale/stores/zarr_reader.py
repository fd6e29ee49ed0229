"""Zarr of format 3: stores that this package wrote, and plain groups of arrays."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyscale.stores.chunk_codec import decode, memory_of
from pyscale.stores.errors import DamagedStoreError
from pyscale.stores.keys import check_key, layer_key
from pyscale.stores.places import Place, Stamp
from pyscale.stores.sample_ids import NAMES, as_ids, check_ids_array, choose_ids, decode_ids, hash_ids
from pyscale.stores.store import SampleId, Store, StoredLayer
from pyscale.stores.zarr_metadata import METADATA, MOST_METADATA, ArrayMetadata, parse_array, parse_node

FORMAT = "pyscale activations"
VERSION = 1
LAYERS, SAMPLE_IDS = "layers", "sample_ids"
HIDDEN = "."  # begins the name of what is no part of the data: lock and journal
TYPES = {name: getattr(torch, name) for name in ("float64", "float32", "float16", "bfloat16")}
_MOST_EXPANSION = 2**15  # of a byte of the compressors that are read: a Zstandard block of 128 KiB takes 4 bytes
KEPT_BYTES = 2**20  # of a chunk that is kept between reads, one a layer
_AHEAD = 32 * 2**20  # bytes of chunks that the system is asked for before they are read
_SLACK = 2**16  # by which what can't be compressed may grow


class _Scratch(threading.local):
    """Memory for one encoded chunk, of each thread: new memory for each would be cleared, page by page."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def of(self, size: int) -> memoryview:
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        return memoryview(self._buffer)[:size]


_scratch = _Scratch()


class ZarrArray:
    """One array, chunk by chunk.

    Args:
        place: The store.
        key: The array's.
        metadata: Checked.
        stamps: Of all files, against which the metadata's claims are held.
        subject: What errors call it.
    """

    def __init__(
        self, place: Place, key: str, metadata: ArrayMetadata, stamps: Mapping[str, Stamp], subject: str
    ) -> None:
        self.metadata = metadata
        self._place, self._prefix, self._subject = place, f"{key}/" if key else "", subject
        self._kept: tuple[tuple[int, ...], np.ndarray[Any, Any]] | None = None  # a small chunk of which more is to come
        self._check_claims(stamps)

    def read(self, start: int, stop: int, out: np.ndarray[Any, Any]) -> None:
        """Fill ``out``, bytes or numbers of the array's type of shape (stop - start, ...)."""
        height, ahead = self.metadata.chunks[0], max(1, _AHEAD // self.metadata.chunk_bytes)
        rows = range(start // height, -(-stop // height))
        places = list(product(rows, *(range(count) for count in self.metadata.grid[1:])))
        for place in places[:ahead]:
            self._announce(place)
        for i, place in enumerate(places):
            for later in places[i + ahead : i + ahead + 1]:
                self._announce(later)
            self._read_chunk(place, start, stop, out)

    def _announce(self, place: tuple[int, ...]) -> None:
        self._place.announce(self._prefix + self.metadata.chunk_key(place))

    def _read_chunk(self, place: tuple[int, ...], start: int, stop: int, out: np.ndarray[Any, Any]) -> None:
        """Put what of one chunk lies in the rows asked for where it belongs."""
        chunks, shape = self.metadata.chunks, self.metadata.shape
        low = [i * size for i, size in zip(place, chunks, strict=True)]
        first, last = max(low[0], start), min(low[0] + chunks[0], stop, shape[0])
        whole = (first, last) == (low[0], low[0] + chunks[0]) and chunks[1:] == shape[1:]
        target = out[first - start : last - start]
        if whole:
            self._decode(place, low[0], target)
            return
        chunk = self._chunk(place, low[0], out.dtype)
        highs = [min(size, total - at) for size, total, at in zip(chunks[1:], shape[1:], low[1:], strict=True)]
        inside = slice(first - low[0], last - low[0]), *(slice(0, high) for high in highs)
        there = slice(None), *(slice(at, at + high) for at, high in zip(low[1:], highs, strict=True))
        target[there] = chunk[inside]

    def _chunk(self, place: tuple[int, ...], row: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Return a chunk, which is kept if it is small: the next rows that are asked for lie in it too."""
        kept = self._kept
        if kept is not None and kept[0] == place and kept[1].dtype == dtype:
            return kept[1]
        chunk = np.empty(self.metadata.chunks, dtype=dtype)
        self._decode(place, row, chunk)
        self._kept = (place, chunk) if chunk.nbytes <= KEPT_BYTES else None
        return chunk

    def _decode(self, place: tuple[int, ...], row: int, chunk: np.ndarray[Any, Any]) -> None:
        try:
            encoded = self._place.read_into(self._prefix + self.metadata.chunk_key(place), self._allocate)
            decode(encoded, memory_of(chunk), self.metadata.codecs)
        except (ValueError, RuntimeError, EOFError, FileNotFoundError) as error:
            last = min(row + self.metadata.chunks[0], self.metadata.shape[0]) - 1
            raise DamagedStoreError(
                f"{self._place.address}: chunk {self.metadata.chunk_key(place)} of {self._subject} (samples {row} to "
                f"{last}) is damaged: {error}; copy the store again from where it is whole, or extract it anew"
            ) from error

    def _allocate(self, size: int) -> memoryview:
        most = self.metadata.chunk_bytes + self.metadata.chunk_bytes // 64 + _SLACK
        if size > most:
            raise ValueError(f"it has {size} bytes; a chunk of that shape has at most {most}")
        return _scratch.of(size)

    def _check_claims(self, stamps: Mapping[str, Stamp]) -> None:
        """Hold the array's shape against the chunks that are there."""
        metadata, where = self.metadata, f"{self._place.address}: {self._subject}"
        count = math.prod(metadata.grid)
        if count > len(stamps):
            raise DamagedStoreError(
                f"{where} has {count} chunks by its metadata, and there are {len(stamps)} files in all: "
                f"chunks are missing"
            )
        keys = [self._prefix + metadata.chunk_key(place) for place in product(*map(range, metadata.grid))]
        missing = next((key for key in keys if key not in stamps), None)
        if missing is not None:
            raise DamagedStoreError(f"{where} lacks chunk {missing}; copy the store again, or extract it anew")
        stored = sum(stamps[key].size for key in keys)
        if count * metadata.chunk_bytes > stored * _MOST_EXPANSION:
            raise DamagedStoreError(
                f"{where} claims {count * metadata.chunk_bytes} bytes, and {stored} compressed ones can't hold as many"
            )


class ZarrLayer(StoredLayer):
    """A layer in a Zarr array."""

    def __init__(self, name: str, array: ZarrArray, dtype: torch.dtype) -> None:
        super().__init__(name, array.metadata.shape, dtype)
        self._array = array

    @property
    def rows_at_once(self) -> int:
        """Rows of a chunk."""
        return self._array.metadata.chunks[0]

    def _read(self, start: int, stop: int, out: Tensor) -> None:
        numbers = out.view(torch.int16) if out.dtype == torch.bfloat16 else out
        self._array.read(start, stop, numbers.numpy())


def open_zarr(place: Place) -> Store:
    """Open a Zarr group or array.

    Raises:
        DamagedStoreError: Something in it can't be true.
        ValueError: It is unfinished, or holds nothing that could be compared.
    """
    stamps = visible_stamps(place)
    root = read_node(place, METADATA)
    ours = root.get("attributes", {}).get("pyscale")
    if isinstance(ours, dict):
        return _open_ours(place, stamps, ours)
    layers: dict[str, StoredLayer] = {}
    arrays: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, key, node in _nodes(place, stamps, root):
        if node.get("node_type") != "array":
            continue
        kind = str(node.get("data_type"))  # of text and times it is an object
        if key:  # the folder's own name is that of no array in it
            arrays[name] = key, node
        if kind in TYPES and node.get("shape") and not (key and name in NAMES):
            array = ZarrArray(place, key, parse_array(node, f"{place.address}: {name}"), stamps, f"layer {name!r}")
            layers[name] = ZarrLayer(name, array, TYPES[kind])

    def ids() -> tuple[SampleId, ...] | None:
        found = choose_ids(arrays, place.address)
        if found is None:
            return None
        key, node = found
        samples, kind, shape = next(iter(layers.values())).samples, str(node.get("data_type")), node.get("shape")
        check_ids_array(shape if isinstance(shape, list) else (), kind, samples, place.address, known="int" in kind)
        metadata = parse_array(node, f"{place.address}: {key}")
        numbers = _whole(ZarrArray(place, key, metadata, stamps, key), np.dtype(kind).type)
        return as_ids(numbers, f"sample ids of {place.address}")

    return Store(place.address, layers, ids=ids, stamps=lambda: visible_stamps(place))


def visible_stamps(place: Place) -> dict[str, Stamp]:
    """Return the stamps of what belongs to the data."""
    return {key: stamp for key, stamp in place.stamps().items() if not key.startswith(HIDDEN)}


def read_node(place: Place, key: str) -> dict[str, Any]:
    """Return one ``zarr.json``; FileNotFoundError where there is none."""
    return parse_node(place.read(key, MOST_METADATA), f"{place.address}: {key}")


def read_array(place: Place, key: str, subject: str) -> ArrayMetadata:
    """Return the metadata of an array that the store's own attributes promise."""
    try:
        node = read_node(place, f"{key}/{METADATA}")
    except FileNotFoundError as error:
        raise DamagedStoreError(
            f"{place.address}: {subject} lacks {key}/{METADATA}; copy the store again, or extract it anew"
        ) from error
    return parse_array(node, f"{place.address}: {subject}")


def _open_ours(place: Place, stamps: Mapping[str, Stamp], ours: dict[str, Any]) -> Store:
    if ours.get("format") != FORMAT or ours.get("version") != VERSION:
        raise ValueError(
            f"{place.address} has format {ours.get('format')!r}, version {ours.get('version')!r}; this pyscale reads "
            f"{FORMAT!r}, version {VERSION}"
        )
    if ours.get("complete") is not True:
        raise ValueError(
            f"{place.address} is unfinished: its extraction was interrupted. Call pyscale.extract with the same model, "
            f"loader and settings again, which goes on where it stopped"
        )
    names = ours.get("layers")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise DamagedStoreError(f"{place.address} lists no layers")
    layers = {name: _our_layer(place, stamps, name) for name in names}
    identified = isinstance(ours.get("ids"), str)

    def ids() -> tuple[SampleId, ...] | None:
        if not identified:
            return None
        metadata = read_array(place, SAMPLE_IDS, SAMPLE_IDS)
        kind = np.int64 if metadata.data_type == "int64" else np.uint8
        found = decode_ids(
            _whole(ZarrArray(place, SAMPLE_IDS, metadata, stamps, "the sample ids"), kind), place.address
        )
        if hash_ids(found) != ours["ids"]:
            raise DamagedStoreError(f"{place.address} has other sample ids than were stored")
        return found

    return Store(place.address, layers, ids=ids, stamps=lambda: visible_stamps(place), attributes=ours)


def _our_layer(place: Place, stamps: Mapping[str, Stamp], name: str) -> ZarrLayer:
    key = f"{LAYERS}/{layer_key(name)}"
    subject = f"layer {name!r}"
    metadata = read_array(place, key, subject)
    kind = metadata.attributes.get("dtype")
    if kind not in TYPES or metadata.data_type != ("uint16" if kind == "bfloat16" else kind):
        raise DamagedStoreError(f"{place.address}: {subject} has the type {kind!r} in {metadata.data_type}")
    return ZarrLayer(name, ZarrArray(place, key, metadata, stamps, subject), TYPES[kind])


def _nodes(
    place: Place, stamps: Mapping[str, Stamp], root: dict[str, Any]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield name, key and metadata of every node; the root is named as its folder is."""
    yield PurePosixPath(place.address).stem, "", root
    for path in stamps:
        key, slash, file = path.rpartition("/")
        if slash and file == METADATA:
            yield key, check_key(key), read_node(place, path)


def _whole(array: ZarrArray, kind: type[np.generic]) -> np.ndarray[Any, Any]:
    out = np.empty(array.metadata.shape, dtype=kind)
    array.read(0, len(out), out)
    return out
