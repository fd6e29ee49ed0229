"""The tables of docs/numerics.md, from the rows of results/numerics.csv."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.numerics.rows import FILE, read

PAGE = Path(__file__).resolve().parents[2] / "docs" / "numerics.md"
_TABLE = re.compile(r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)
_PROVIDERS = {"ours": "ours", "as_written": "torch", "careful": "with care"}
_ORIGIN = ("device", "isa", "pyscale", "torch", "commit")

Record = Mapping[str, str]


def updated(text: str, path: Path = FILE) -> str:
    """Return the page with its tables written from the rows."""
    rows = read(path)
    return _TABLE.sub(lambda match: f"{match[1]}{_TABLES[match[2]](rows)}\n{match[3]}", text)


def grid(kernel: str) -> Callable[[Sequence[Record]], str]:
    """Return the table of mean x type of one kernel: the worst over scales, shapes, centrings and estimators."""
    groups = {name: f"{name.lower()} {kernel}" for name in ("Gram", "HSIC", "CKA")}
    return compared("grid", {"type": "dtype", "mean / σ": "mean"}, groups)


def compared(
    section: str, labels: Mapping[str, str], groups: Mapping[str, str], providers: Mapping[str, str] = _PROVIDERS
) -> Callable[[Sequence[Record]], str]:
    """Return a table of the worst errors of a section.

    Args:
        section: Whose rows.
        labels: Headers of the first columns, and the fields that stand there.
        groups: Headers of groups of columns, and how the quantities of a group begin.
        providers: Fields of errors, and what they are called.
    """

    def table(rows: Sequence[Record]) -> str:
        found: dict[tuple[str, ...], list[Record]] = {}
        for row in rows:
            if row["section"] == section:
                found.setdefault(tuple(row[field] for field in labels.values()), []).append(row)
        header = [*labels, *(f"{group} {name}".strip() for group in groups for name in providers.values())]
        lines = [
            [*key, *(_worst(_of(members, quantity), field) for quantity in groups.values() for field in providers)]
            for key, members in found.items()
        ]
        return _markdown(header, lines)

    return table


def emulated_grams(rows: Sequence[Record]) -> str:
    """Return the errors of the emulated kernels' Grams: the worst over means and numbers of features."""
    found: dict[tuple[str, str], list[Record]] = {}
    for row in rows:
        if row["section"] == "emulated" and row["quantity"].startswith("gram"):
            found.setdefault((row["case"].partition(",")[0], row["dtype"]), []).append(row)
    precisions = ("default", "exact", "fast")
    return _markdown(
        ["kernels", "type", *precisions],
        [[*key, *(_worst(_of(of, f"gram {name}"), "ours") for name in precisions)] for key, of in found.items()],
    )


def emulated_alignments(rows: Sequence[Record]) -> str:
    """Return the errors of CKA from the emulated kernels."""
    found: dict[tuple[str, str], list[Record]] = {}
    for row in rows:
        if row["section"] == "emulated" and row["quantity"].startswith("cka"):
            kernels, _, far = row["case"].partition(", ")
            found.setdefault((kernels, far or f"mean {row['mean']} σ"), []).append(row)
    return _markdown(
        ["kernels", "", "linear", "RBF"],
        [[*key, *(_worst(_of(of, f"cka {name}"), "ours") for name in ("linear", "rbf"))] for key, of in found.items()],
    )


def canonical(rows: Sequence[Record]) -> str:
    """Return the errors of CCA from samples and from moments, beside those of the textbook."""
    found: dict[str, list[Record]] = {}
    for row in rows:
        if row["section"] == "cca":
            found.setdefault(row["case"], []).append(row)
    return _markdown(
        ["", "cca", "StreamingCCA", "textbook"],
        [
            [case, *(_worst(_of(of, name), "ours") for name in ("cca", "StreamingCCA")), _worst(of, "as_written")]
            for case, of in found.items()
        ],
    )


def summary(rows: Sequence[Record]) -> str:
    """Return how many cells there are, how many are beyond the rule, and where they were measured."""
    lines = []
    for title, here in (("mean × scale × type", lambda s: s == "grid"), ("all others", lambda s: s != "grid")):
        cells = [row for row in rows if here(row["section"])]
        beyond = [row for row in cells if row["within"] != "yes"]
        lines.append([title, str(len(cells)), str(len(beyond))])
    origins = sorted({", ".join(f"{name} {row[name]}".removeprefix("device ") for name in _ORIGIN) for row in rows})
    return _markdown(["cells", "number", "beyond the rule"], lines) + "\n\n" + "; ".join(origins) + "."


def _of(rows: Sequence[Record], quantity: str) -> list[Record]:
    return [row for row in rows if row["quantity"].startswith(quantity)]


def _worst(rows: Sequence[Record], field: str) -> str:
    """Return the largest error; marked where some results were no number, bold where one of ours is beyond the rule."""
    errors = [float(row[field]) for row in rows]
    numbers = [error for error in errors if math.isfinite(error)]
    if not numbers:
        if any(math.isinf(error) for error in errors):
            return "no number"
        return "constant" if errors and field == "ours" else ""
    worst = f"{max(numbers):.0e}".replace("e-0", "e-").replace("e+0", "e+") if max(numbers) else "0"
    worst += "†" if any(math.isinf(error) for error in errors) else ""
    return f"**{worst}**" if field == "ours" and any(row["within"] != "yes" for row in rows) else worst


def _markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *lines])


_CASE = {"": "case", "type": "dtype"}
_TABLES: dict[str, Callable[[Sequence[Record]], str]] = {
    "cells": summary,
    "linear": grid("linear"),
    "rbf": grid("rbf"),
    "long sums": compared("long sums", _CASE, {"": "gram"}),
    "far sample": compared("far sample", _CASE, {"Gram": "gram linear", "CKA": "cka linear", "RBF CKA": "cka rbf"}),
    "narrow features": compared("narrow features", _CASE, {"": "cka"}),
    "sizes": compared("sizes", _CASE, {"CKA": "cka linear", "RBF CKA": "cka rbf"}),
    "derivatives": compared(
        "derivatives", _CASE, {"": "d cka"}, {"ours": "ours", "careful": "last rounding", "as_written": "torch"}
    ),
    "cca": canonical,
    "emulated grams": emulated_grams,
    "emulated alignments": emulated_alignments,
}
