"""Rows of errors: what was computed of what, how far off it was, and how far off it may be."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.provenance import RESULTS

FILE = RESULTS / "numerics.csv"
# The largest error allowed where torch's own is no larger than half of it; those of tests/tolerances.py.
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-5, "bfloat16": 1e-5}


@dataclass(frozen=True)
class Row:
    """One quantity of one case: relative errors of matrices (Frobenius) and of HSIC, absolute ones of CKA and CCA."""

    section: str
    case: str
    quantity: str
    dtype: str
    ours: float  # NaN: a set is constant to rounding, by definition, and ours says so
    as_written: float = math.nan  # torch as written, in the same type; infinity where the result was no number
    careful: float = math.nan  # torch with care: at least float32, centred before the product
    mean: float = 0.0  # in standard deviations
    scale: float = 1.0  # the standard deviation
    tolerance: float = field(default=math.nan)

    @property
    def allowed(self) -> float:
        """The design's rule: the tolerance of the type, or twice the error of torch in the same type."""
        tolerance = TOLERANCE[self.dtype] if math.isnan(self.tolerance) else self.tolerance
        return max(tolerance, 2 * self.as_written) if math.isfinite(self.as_written) else tolerance

    @property
    def within(self) -> bool:
        """Whether the error is within the rule; what is constant has none."""
        return math.isnan(self.ours) or self.ours <= self.allowed

    def written(self) -> dict[str, str]:
        """Return the row as it stands in the file."""
        return {
            "section": self.section,
            "case": self.case,
            "quantity": self.quantity,
            "dtype": self.dtype,
            "mean": f"{self.mean:g}",
            "scale": f"{self.scale:g}",
            "ours": f"{self.ours:.1e}",
            "as_written": f"{self.as_written:.1e}",
            "careful": f"{self.careful:.1e}",
            "allowed": f"{self.allowed:.1e}",
            "within": "yes" if self.within else "no",
        }


def write(rows: Iterable[Row], origin: Mapping[str, str], path: Path = FILE) -> None:
    """Replace the file's rows of the sections measured; those of others (which this machine can't measure) stay.

    Unlike timings, errors can be measured again at any commit, so no history is kept in the file.
    """
    new = [{**row.written(), **origin} for row in rows]
    measured = {row["section"] for row in new}
    kept = [row for row in read(path) if row["section"] not in measured] if path.exists() else []
    temporary = path.with_suffix(".new")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(new[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(new + kept)
    temporary.replace(path)


def read(path: Path = FILE) -> list[dict[str, str]]:
    """Return the rows of the file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
