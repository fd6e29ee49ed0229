"""The networks of a finished study of one's own, as a table that laws can be fitted to."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyscale.studies.laws.estimates import DIMENSIONS
from pyscale.studies.laws.tables import NetworkTable

if TYPE_CHECKING:
    from pyscale.studies.results import StudyResult

NETWORKS_FILE = "networks.csv"
_NUMBERS = (*DIMENSIONS, "accuracy", "macs", "test_pictures")
_NEEDED = ("network", "role", "kind", *_NUMBERS)


def study_table(study: StudyResult | str | Path) -> NetworkTable:
    """The scaled networks of a finished study, with what they cost and how they did on its test pictures.

    They are the baseline, its twins from other seeds, and the variants that were scaled; compressed ones have no part.
    Factors are relative to the baseline, so that its own are 1. How far networks scatter from seed to seed is in the
    law's residuals, best if there are twins.

    Args:
        study: A result, its folder, or the ``networks.csv`` in it.

    Returns:
        The table. Whether it has networks enough for a law, :func:`pyscale.studies.laws.fit_error_law` says.

    Raises:
        TypeError: ``study`` is neither a result nor a path.
        FileNotFoundError: The folder holds no finished study.
        ValueError: The file is no table of networks, or a number in it makes no sense.
    """
    rows: Iterable[Mapping[str, Any]]
    if isinstance(study, str | Path):
        path = Path(study)
        path = path / NETWORKS_FILE if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(f"study: expected a finished study's folder or its {NETWORKS_FILE}; no {path}")
        rows, name, source = _read(path), path.resolve().parent.name, str(path)
    else:
        from pyscale.studies.results import StudyResult
        from pyscale.studies.tables import network_rows

        if not isinstance(study, StudyResult):
            raise TypeError(f"study: expected a finished study's result or folder, got {type(study).__name__}")
        rows, name, source = network_rows(study), study.study.title, str(study.out)
    scaled = [row for row in rows if row["kind"] == "scaled"]
    base = next((row for row in scaled if row["role"] == "baseline"), None)
    if base is None:
        raise ValueError(f"study: {source} has no baseline among its networks")
    numbers = [_numbers(row, source) for row in scaled]
    first = _numbers(base, source)
    depth, width, resolution = (tuple(row[key] / first[key] for row in numbers) for key in DIMENSIONS)
    accuracies, macs = (tuple(row[key] for row in numbers) for key in ("accuracy", "macs"))
    pictures = int(first["test_pictures"])
    return NetworkTable(name, source, depth, width, resolution, accuracies, macs, pictures=pictures)


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"study: {path} is not CSV ({error})") from error
    if missing := [name for name in _NEEDED if not rows or rows[0].get(name) is None]:
        raise ValueError(f"study: {path} has no column {missing[0]!r}; expected a study's {NETWORKS_FILE}")
    return rows


def _numbers(row: Mapping[str, Any], source: str) -> dict[str, float]:
    """The factors, accuracy, MACs and test pictures of a row."""
    numbers = {}
    for name in _NUMBERS:
        try:
            numbers[name] = float(row[name])
        except (TypeError, ValueError):
            numbers[name] = math.nan
        positive = numbers[name] > 0 or (name == "accuracy" and numbers[name] == 0)
        if not (math.isfinite(numbers[name]) and positive):
            raise ValueError(f"study: {source}, network {row['network']}: {name} is {row[name]!r}, no number it can be")
    return numbers
