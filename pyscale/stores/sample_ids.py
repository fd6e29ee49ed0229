"""Which sample a row is: ids as whole numbers or strings, their hash, and finding the rows of one store in another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from pyscale.stores.errors import DamagedStoreError
from pyscale.stores.store import SampleId, Store

NAMES = ("sample_ids", "sample_id", "ids", "id")  # of arrays that are ids in files of others, whatever they hold
_LEAST, _MOST = -(2**63), 2**63
Found = TypeVar("Found")


def as_ids(values: Iterable[Any], argument: str) -> tuple[SampleId, ...]:
    """Return ids as plain numbers or strings.

    Args:
        values: Whole numbers or strings, of Python, NumPy or torch; not both.
        argument: What errors call them.

    Raises:
        TypeError: One is neither, or there are both.
        ValueError: One is there twice, or beyond 64 bits.

    Example:
        >>> as_ids(np.array([3, 1]), "sample_ids")
        (3, 1)
    """
    plain = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(plain, str) or not isinstance(plain, Iterable):
        raise TypeError(f"{argument} is {values!r}; expected a whole number or a string for every sample")
    ids = tuple(plain)
    for i, item in enumerate(ids):
        if isinstance(item, bool) or not isinstance(item, int | str):
            raise TypeError(f"{argument}[{i}] is {item!r}; expected a whole number or a string")
        if type(item) is not type(ids[0]):
            raise TypeError(f"{argument}[0] is {ids[0]!r} and {argument}[{i}] is {item!r}; expected one kind of id")
        if isinstance(item, int) and not _LEAST <= item < _MOST:
            raise ValueError(f"{argument}[{i}] is {item}; expected a number of 64 bits")
    check_unique(ids, argument)
    return ids


def check_unique(ids: Sequence[SampleId], subject: str) -> None:
    """Raise ValueError naming the first id that is there twice."""
    first: dict[SampleId, int] = {}
    for i, item in enumerate(ids):
        if first.setdefault(item, i) != i:
            raise ValueError(
                f"{subject} has the id {item!r} twice, at {first[item]} and {i}; every sample needs its own"
            )


def hash_ids(ids: Sequence[SampleId]) -> str:
    """Return a digest of ids and their order."""
    return hashlib.blake2b(json.dumps(list(ids)).encode(), digest_size=16).hexdigest()


def encode_ids(ids: Sequence[SampleId]) -> np.ndarray[Any, Any]:
    """Return ids as an array: int64, or the UTF-8 bytes of a JSON list of strings."""
    if ids and isinstance(ids[0], int):
        return np.array(ids, dtype=np.int64)
    return np.frombuffer(json.dumps(list(ids)).encode(), dtype=np.uint8)


def decode_ids(array: np.ndarray[Any, Any], address: str) -> tuple[SampleId, ...]:
    """Return what :func:`encode_ids` was given."""
    try:
        if array.dtype == np.int64:
            return as_ids(array, "sample_ids")
        return as_ids(json.loads(array.tobytes().decode()), "sample_ids")
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedStoreError(f"{address} has damaged sample ids: {error}") from error


def choose_ids(found: Mapping[str, Found], address: str) -> Found | None:
    """Return the one array that is called as ids are, or None; ValueError where there are several.

    Args:
        found: Arrays by name, those called otherwise among them.
        address: What errors call the store.

    Example:
        >>> choose_ids({"conv1": "a layer", "ids": "numbers"}, "x.npz")
        'numbers'
    """
    names = [name for name in found if name in NAMES]
    if len(names) > 1:
        raise ValueError(
            f"{address} holds {' and '.join(map(repr, names))}, each of which is called as sample ids are; keep one"
        )
    return found[names[0]] if names else None


def ids_of_array(array: np.ndarray[Any, Any], samples: int, address: str) -> tuple[SampleId, ...]:
    """Return the ids in an array of somebody else's file.

    Raises:
        ValueError: It holds something else: samples would silently go by their places.
    """
    check_ids_array(array.shape, str(array.dtype), samples, address, known=array.dtype.kind in "iuUS")
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    return as_ids(array, f"sample ids of {address}")


def check_ids_array(shape: Sequence[int], kind: str, samples: int, address: str, *, known: bool = True) -> None:
    """Raise ValueError unless an array that is called as ids are can hold one for each sample.

    Args:
        shape: Of the array.
        kind: What its type is called.
        samples: How many there are.
        address: What errors call the store.
        known: Whether the type is one of ids.
    """
    if not known or tuple(shape) != (samples,):
        raise ValueError(
            f"sample ids of {address} have shape {tuple(shape)} and type {kind}; expected a whole number or a string "
            f"for each of {samples} samples (arrays called {', '.join(NAMES)} are taken for ids)"
        )


def places_of(ids: Sequence[SampleId], of: Store) -> list[int] | None:
    """Return where each sample of ``ids`` is in a store, or None where they are in the same order.

    Raises:
        ValueError: A sample is in one of them only, or twice.
    """
    theirs = of.ids
    if theirs is None or tuple(ids) == theirs:
        return None
    check_unique(theirs, of.address)
    places = {item: i for i, item in enumerate(theirs)}
    for item in ids:
        if item not in places:
            raise ValueError(
                f"sample {item!r} is not in {of.address}, which has {len(theirs)} others; stores must hold the same "
                f"samples"
            )
    if len(theirs) > len(ids):
        known = set(ids)
        extra = next(item for item in theirs if item not in known)
        raise ValueError(f"sample {extra!r} is in {of.address} only; stores must hold the same samples")
    return [places[item] for item in ids]
