"""Writing a store: whole chunks one by one, each under a temporary name first, and a journal of what is there.

While it is written, arrays say that they have no samples and the group that it is not complete. Whatever kills the
writer leaves whole chunks; the journal tells up to which sample all of them are there. Nothing of it depends on when it
was written, so an interrupted store that was finished later is equal byte by byte to one that was not interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec

import numpy as np
import torch
from torch import Tensor

from pyscale.stores.chunk_codec import CRC, blosc, decode, encode, memory_of
from pyscale.stores.errors import DamagedStoreError
from pyscale.stores.keys import layer_key
from pyscale.stores.places import PARTIAL, Place, Stamp
from pyscale.stores.sample_ids import encode_ids, hash_ids
from pyscale.stores.store import SampleId
from pyscale.stores.zarr_metadata import METADATA, ArrayMetadata, group_json, parse_array
from pyscale.stores.zarr_reader import FORMAT, LAYERS, SAMPLE_IDS, VERSION, read_node

Parameters = ParamSpec("Parameters")
JOURNAL = ".journal.json"
_LARGE = 4 * 2**20  # bytes of a chunk that a batch is divided into
_SMALL = 2**20  # bytes of a chunk that takes several batches, which are held until it is whole
_MOST_ROWS = 1024  # of a chunk of several batches: what is not in whole chunks is computed again
_WORTH = 0.95  # what compression must leave at most


@dataclass(frozen=True)
class Progress:
    """How far a store has been written: all whole chunks of the first samples are there.

    Attributes:
        batches: That went in.
        samples: Of these batches.
        inputs: A digest of all these batches.
        first: A digest of the first batch.
    """

    batches: int
    samples: int
    inputs: str
    first: str


_NONE = Progress(0, 0, "", "")


class ArrayWriter:
    """One layer's array, to which samples are appended; whole chunks are written, the rest is held.

    Args:
        place: The store.
        name: The layer's.
        metadata: Of the array, with no samples.
        written: Samples in whole chunks that are there already.
    """

    def __init__(self, place: Place, name: str, metadata: ArrayMetadata, written: int) -> None:
        self.metadata = metadata
        self.written = written
        self._place, self._key = place, f"{LAYERS}/{layer_key(name)}"
        self._held: list[np.ndarray[Any, Any]] = []
        self._waiting = 0  # samples held

    def append(self, rows: np.ndarray[Any, Any]) -> None:
        """Add samples, which are nobody else's."""
        height = self.metadata.chunks[0]
        self._held.append(rows)
        self._waiting += len(rows)
        if self._waiting < height:
            return
        whole = self._held[0] if len(self._held) == 1 else np.concatenate(self._held)
        self._held = []
        for start in range(0, len(whole) - height + 1, height):
            self._write(whole[start : start + height])
        rest = whole[len(whole) - len(whole) % height :]
        self._held, self._waiting = ([rest.copy()] if len(rest) else []), len(rest)

    def finish(self) -> None:
        """Write what is held as the last chunk, filled up with zeros, and say how many samples there are."""
        samples = self.written + self._waiting
        if self._waiting:
            last = np.zeros(self.metadata.chunks, dtype=self._held[0].dtype)
            last[: self._waiting] = np.concatenate(self._held)
            self._write(last)
            self._held, self._waiting = [], 0
        self.written = samples
        metadata = replace(self.metadata, shape=(samples, *self.metadata.shape[1:]))
        self._place.write(f"{self._key}/{METADATA}", metadata.to_json())

    def _write(self, chunk: np.ndarray[Any, Any]) -> None:
        place = (self.written // self.metadata.chunks[0], *(0,) * (len(self.metadata.chunks) - 1))
        data = encode(memory_of(chunk), self.metadata.codecs)
        self._place.write(f"{self._key}/{self.metadata.chunk_key(place)}", data)
        self.written += len(chunk)


def _explaining(
    method: Callable[Concatenate[StoreWriter, Parameters], None],
) -> Callable[Concatenate[StoreWriter, Parameters], None]:
    """Say of what the system refuses a writer how much is written already, and what to do."""

    @wraps(method)
    def explained(self: StoreWriter, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except OSError as error:
            if error.errno is None:
                raise
            samples = 0 if self.progress is None else self.progress.samples
            raise OSError(
                error.errno,
                f"{error.strerror}, writing {self.address}; {samples} samples of it are whole and stay. Remove the "
                f"cause and extract again with the same arguments, which goes on from there",
            ) from error

    return explained


class StoreWriter:
    """A store that is being written.

    Args:
        place: Where; its lock must be held.
        settings: What tells stores apart, JSON types; it stands in the group's attributes.
        unfinished: The attributes of an unfinished store that is to be taken up; None begins anew.

    Attributes:
        address: What the user calls the place.
        progress: How far it has come; None at the beginning.
    """

    def __init__(self, place: Place, settings: Mapping[str, Any], unfinished: Mapping[str, Any] | None = None) -> None:
        self._place, self.address = place, place.address
        self._settings = dict(settings)
        self._arrays: dict[str, ArrayWriter] = {}
        self.progress = None if unfinished is None else self._read_journal()
        if unfinished is None or self.progress is None:
            self._clear()
            place.write(METADATA, self._group(complete=False))
            return
        self._settings |= {key: unfinished[key] for key in ("layers", "skipped") if key in unfinished}
        remove_partial(place)
        stamps = place.stamps()
        for name in self.layers:
            self._arrays[name] = self._taken_up(name, stamps)

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in forward order, once they are set."""
        return list(self._settings.get("layers", ()))

    @property
    def resumable(self) -> int:
        """First samples that need not be computed again: all layers have them."""
        return min((array.written for array in self._arrays.values()), default=0)

    @_explaining
    def set_layers(self, names: Sequence[str], skipped: Mapping[str, str]) -> None:
        """Write down which layers there are, and why others aren't there."""
        self._settings |= {"layers": list(names), "skipped": dict(skipped)}
        self._place.write(METADATA, self._group(complete=False))

    @_explaining
    def append(self, name: str, rows: Tensor) -> None:
        """Add contiguous samples of a layer, on the CPU; the first decide on its shape, type, chunks and codecs."""
        numbers = rows.view(torch.int16).numpy().view(np.uint16) if rows.dtype == torch.bfloat16 else rows.numpy()
        if name not in self._arrays:
            metadata = _first_metadata(name, rows, numbers)
            self._place.write(f"{LAYERS}/{layer_key(name)}/{METADATA}", metadata.to_json())
            self._arrays[name] = ArrayWriter(self._place, name, metadata, 0)
        array = self._arrays[name]
        expected = array.metadata.shape[1:], array.metadata.attributes["dtype"]
        given = numbers.shape[1:], str(rows.dtype).removeprefix("torch.")
        if given != expected:
            raise ValueError(
                f"layer {name!r} gives activations of shape {given[0]} and type {given[1]}, and gave {expected[0]} of "
                f"{expected[1]} before; a store takes one shape a layer: pool, or make all inputs of one size"
            )
        array.append(numbers)

    @_explaining
    def record(self, progress: Progress) -> None:
        """Write down that all of these batches have been appended."""
        self.progress = progress
        self._place.write(JOURNAL, json.dumps(vars(progress)).encode())

    def written(self, name: str) -> int:
        """Samples of a layer in whole chunks."""
        return self._arrays[name].written if name in self._arrays else 0

    @_explaining
    def finish(self, ids: Sequence[SampleId] | None) -> None:
        """Write what is held, the ids, and at last that the store is complete."""
        progress = self.progress
        if progress is None:
            raise ValueError("no batch has been written")
        for name, array in self._arrays.items():
            array.finish()
            if array.written != progress.samples:
                raise DamagedStoreError(f"layer {name!r} has {array.written} samples; expected {progress.samples}")
        self._place.write(f"{LAYERS}/{METADATA}", group_json({}))
        if ids is not None:
            self._write_ids(ids)
        self._settings |= {"samples": progress.samples, "ids": None if ids is None else hash_ids(ids)}
        self._settings["inputs"] = {
            "batches": progress.batches,
            "first_batch": progress.first,
            "all": progress.inputs,
        }
        self._place.write(METADATA, self._group(complete=True))
        self._place.remove(JOURNAL)

    def _write_ids(self, ids: Sequence[SampleId]) -> None:
        numbers = encode_ids(ids)
        metadata = ArrayMetadata(numbers.shape, (max(len(numbers), 1),), str(numbers.dtype))
        padded = numbers if len(numbers) else np.zeros(1, dtype=numbers.dtype)
        data = encode(memory_of(padded), metadata.codecs)
        self._place.write(f"{SAMPLE_IDS}/{metadata.chunk_key((0,))}", data)
        self._place.write(f"{SAMPLE_IDS}/{METADATA}", metadata.to_json())

    def _group(self, *, complete: bool) -> bytes:
        head = {"format": FORMAT, "version": VERSION, "complete": complete}
        return group_json({"pyscale": {**head, **self._settings}})

    def _read_journal(self) -> Progress | None:
        try:
            return Progress(**json.loads(self._place.read(JOURNAL, 4096)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise DamagedStoreError(
                f"{self._place.address} has a damaged {JOURNAL}: {error}; remove the store"
            ) from error

    def _taken_up(self, name: str, stamps: Mapping[str, Stamp]) -> ArrayWriter:
        """Return a layer's writer behind the whole chunks that the journal knows and that are really there."""
        key = f"{LAYERS}/{layer_key(name)}"
        metadata = parse_array(read_node(self._place, f"{key}/{METADATA}"), f"{self._place.address}: {name}")
        metadata = replace(metadata, shape=(0, *metadata.shape[1:]))
        height, rest = metadata.chunks[0], (0,) * (len(metadata.chunks) - 1)
        keys = [f"{key}/{metadata.chunk_key((i, *rest))}" for i in range((self.progress or _NONE).samples // height)]
        whole = next((i for i, chunk in enumerate(keys) if chunk not in stamps), len(keys))
        while whole and not self._is_whole(keys[whole - 1], metadata):
            whole -= 1
        return ArrayWriter(self._place, name, metadata, whole * height)

    def _clear(self) -> None:
        """Remove what an earlier run left, and nothing that is no part of a store.

        The journal goes first, so that nothing is taken up that is half gone. The group's metadata stays until it is
        written anew: what a writer leaves that is killed here is still known as an unfinished store.
        """
        self._place.remove(JOURNAL)
        for key in self._place.stamps():
            if _is_part(key) and key != METADATA:
                self._place.remove(key)

    def _is_whole(self, key: str, metadata: ArrayMetadata) -> bool:
        """Return whether a chunk decodes: one that the system lost power over may not."""
        out = bytearray(metadata.chunk_bytes)
        try:
            decode(memoryview(self._place.read(key)), memoryview(out), metadata.codecs)
        except (ValueError, RuntimeError, EOFError):
            return False
        return True


def remove_partial(place: Place) -> None:
    """Remove the files of which a writer that was killed had written a part."""
    for key in place.stamps():
        if key.endswith(PARTIAL) and _is_part(key):
            place.remove(key)


def _is_part(key: str) -> bool:
    """Return whether a key is one that stores have.

    Example:
        >>> _is_part("layers/conv1/c.0.0"), _is_part(".journal.json.part"), _is_part(".ssh/id")
        (True, True, False)
    """
    return key.partition("/")[0].removesuffix(PARTIAL) in (LAYERS, SAMPLE_IDS, METADATA, JOURNAL)


def tidy(place: Place) -> None:
    """Remove what a writer left that was killed when all was done but this."""
    remove_partial(place)
    place.remove(JOURNAL)


def _first_metadata(name: str, rows: Tensor, numbers: np.ndarray[Any, Any]) -> ArrayMetadata:
    """Return the metadata of a layer whose first batch this is; it has no samples yet."""
    height = _chunk_rows(len(numbers), numbers[:1].nbytes)
    codecs = _codecs(numbers[:height])
    kind = str(rows.dtype).removeprefix("torch.")
    return ArrayMetadata(
        (0, *numbers.shape[1:]),
        (height, *numbers.shape[1:]),
        str(numbers.dtype),
        codecs,
        attributes={"layer": name, "dtype": kind},
    )


def _chunk_rows(batch: int, row_bytes: int) -> int:
    """Return how many samples a chunk has: a part of a batch, so that none is held, or several small batches.

    Example:
        >>> _chunk_rows(256, 3 * 2**20), _chunk_rows(256, 2**16), _chunk_rows(32, 2048)
        (1, 64, 512)
    """
    if batch * row_bytes >= _LARGE:
        return max(d for d in range(1, batch + 1) if batch % d == 0 and (d == 1 or d * row_bytes <= _LARGE))
    return batch * max(1, min(_SMALL // (batch * max(row_bytes, 1)), _MOST_ROWS // batch))


def _codecs(numbers: np.ndarray[Any, Any]) -> tuple[dict[str, Any], ...]:
    """Return how chunks are encoded: by whichever shuffle leaves least of the first rows, if one is worth it."""
    data = memory_of(numbers)
    choices = [blosc(numbers.itemsize, shuffle) for shuffle in ("shuffle", "bitshuffle")]
    sizes = [len(encode(data, [choice])) for choice in choices]
    least = min(sizes)
    return (choices[sizes.index(least)], CRC) if least <= _WORTH * len(data) else (CRC,)
