"""Comparisons of many models on disk: one ``.npz`` of plain arrays and a JSON header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from pyscale.comparison import files
from pyscale.comparison.result import Comparison
from pyscale.comparison.scores import Matrix

_FORMAT = "pyscale comparisons"
_VERSION = 1

Key = tuple[str, str]


def save_many(path: str | PathLike[str], names: Sequence[str], held: Mapping[Key, Comparison]) -> None:
    """Write comparisons by the names of their models; arrays are called ``0/values`` and so on."""
    pairs, arrays = [], {}
    for number, ((x, y), found) in enumerate(held.items()):
        own = found.arrays()
        pairs.append({"x": x, "y": y, "arrays": list(own), **_header(found)})
        arrays.update({f"{number}/{name}": array for name, array in own.items()})
    files.write(path, _FORMAT, _VERSION, arrays, {"names": list(names), "pairs": pairs})


def load_many(path: str | PathLike[str]) -> tuple[list[str], dict[Key, Comparison]]:
    """Read what :func:`save_many` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or something else, or of another version.
    """
    arrays, header = files.read(path, _FORMAT, _VERSION)
    try:
        names, pairs = _checked(header)
        return names, {(pair["x"], pair["y"]): _comparison(number, pair, arrays) for number, pair in enumerate(pairs)}
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _header(found: Comparison) -> dict[str, Any]:
    return {"rows": found.rows, "columns": found.columns, "meta": found.meta}


def _checked(header: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    names, pairs = header.get("names"), header.get("pairs")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("names are no list of names")
    if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in pairs):
        raise ValueError("pairs are no list of objects")
    if not all(isinstance(pair.get(side), str) for pair in pairs for side in "xy"):
        raise ValueError("a pair lacks the name of a model")
    return names, pairs


def _comparison(number: int, header: Mapping[str, Any], arrays: Mapping[str, Matrix]) -> Comparison:
    own = {name: arrays[key] for name in files.ARRAYS if (key := f"{number}/{name}") in arrays}
    files.check_comparison(own, header)
    return Comparison(
        rows=header["rows"],
        columns=header["columns"],
        meta=header["meta"],
        pvalues=own.get("pvalues"),
        **{name: own[name] for name in files.REQUIRED},
    )
