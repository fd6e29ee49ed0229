"""The tables of README.md and docs/benchmarks.md, from the rows in results/.

python -m benchmarks.page        write them anew

A table stands between a line that names it and ``<!-- end -->``:

    <!-- table: NAME -->                     a line for every row
    <!-- pivot: NAME op=centered_gram -->    a line for every case, a column for every contender
    <!-- headlines -->                       a line for every headline below

NAME is a file in results/, what follows it chooses rows, ``_`` for a space. Of every case and device the newest
measurement counts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.provenance import RESULTS, read_rows
from benchmarks.rivals import distribution

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "docs" / "benchmarks.md"]
OURS = "pyscale"
FLOORS = ("forward passes",)  # what any comparison contains: no rival, so not lost to
LOST = "▼"
NOTABLE = 1e-4  # an error above it is told of
BUSY = 0.1  # and a share of the machine that others took meanwhile

_MARKED = re.compile(r"(<!-- (table|pivot|headlines)(?:: (\w+))?((?: [^ =]+=\S+)*) -->\n).*?(<!-- end -->)", re.DOTALL)
_HIDDEN = {"op", "version", "p20_ms", "p80_ms", "calls", "commit", "date", "threads", "pyscale", "numpy"}
_HIDDEN |= {"python", "cuda", "architectures", "others"}
_MACHINE = ("device", "isa", "driver", "torch")  # said once, below the table
_NAMES = {"median_ms": "ms", "times_ours": "× ours", "of_floor": "of floor", "floor_ms": "floor", "gb_s": "GB/s"}
_MEASURED = {
    "version",
    "median_ms",
    "p20_ms",
    "p80_ms",
    "calls",
    "times_ours",
    "a_pair_times_ours",
    "error",
    "peak_gib",
}
_FIRST_FIGURES = ("provider", "value", "times_smaller", "weights", "rounds")  # after the columns that tell a case
_SHARES = ("of_peak", "of_grams", "co_moments", "whitening", "products", "norms")  # shown as percentages

# What the README shows: what it is called there, in which file it is, which case.
HEADLINES: list[tuple[str, str, dict[str, str]]] = [
    (
        "Centred Gram of 256 images, layer of 64 × 112 × 112, float32",
        "gram",
        {"op": "centered_gram", "n": "256", "p": "802816", "dtype": "float32"},
    ),
    (
        "the same of 200 704 features, bfloat16",
        "gram",
        {"op": "centered_gram", "n": "256", "p": "200704", "dtype": "bfloat16"},
    ),
    ("HSIC of 200 × 200 layers, 256 samples", "hsic", {"layers": "200 × 200", "n": "256"}),
    ("CKA of 1000 samples, 2048 and 512 features", "functions", {"op": "CKA", "n": "1000", "mean": "0σ"}),
    ("the same, features' means 100 σ from 0", "functions", {"op": "CKA", "n": "1000", "mean": "100σ"}),
    ("Mean CCA of 5000 samples, 512 and 256 features", "functions", {"op": "mean CCA", "n": "5000"}),
    (
        "ResNet-18 with ResNet-34, 256 images of 112 px, 41 × 73 layers",
        "compare",
        {"models": "resnet18 vs resnet34", "batch": "256", "pixels": "112"},
    ),
    (
        "Mean CCA of 50 × 50 layers, 5000 samples, 512 features",
        "cca",
        {"op": "mean CCA, all pairs", "layers": "50 × 50", "n": "5000"},
    ),
    ("Two CIFAR ResNets, every layer with every layer", "models", {"models": "CIFAR ResNet-8 with 14"}),
]

Row = dict[str, str]


def updated(text: str, results: Path = RESULTS) -> str:
    """Return the page with its tables written from the files in ``results``."""

    def written(match: re.Match[str]) -> str:
        opening, kind, name, chosen, end = match.groups()
        if kind == "headlines":
            return f"{opening}{headlines(results)}\n{end}"
        wanted = dict(pair.replace("_", " ").split("=") for pair in chosen.split())
        path = results / f"{name}.csv"
        rows = [row for row in newest(path) if fits(row, wanted)] if path.exists() else []
        return f"{opening}{(pivot if kind == 'pivot' else table)(rows)}\n{end}"

    return _MARKED.sub(written, text)


def newest(path: Path) -> list[Row]:
    """Return the rows of the newest measurement of every case and device, in the order in which cases first came."""
    _, rows = read_rows(path)
    last: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        measured = last.setdefault((*case(row).values(), row["device"]), [])
        if measured and measured[0]["date"] != row["date"]:
            measured.clear()
        measured.append(row)
    return [row for measured in last.values() for row in measured]


def case(row: Mapping[str, str]) -> Row:
    """Return the columns that tell a case: those before the contender, or the figure where there is no contender."""
    names = list(row)
    first = next(name for name in _FIRST_FIGURES if name in names)
    return {name: row[name] for name in names[: names.index(first)]}


def fits(row: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether a row has these values; ``_`` and space are one in them."""
    return all(row.get(name, "").replace("_", " ") == value.replace("_", " ") for name, value in wanted.items())


# ---- a line for every row ----


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown."""
    if not rows:
        return "*Not yet measured.*"
    columns = [
        name for name in rows[0] if name not in _HIDDEN and name not in _MACHINE and any(row[name] for row in rows)
    ]
    lines = [[row[name] for name in columns] for row in rows]
    return _markdown([_NAMES.get(name, name.replace("_", " ")) for name in columns], lines) + _footnote(rows)


# ---- a line for every case ----


def pivot(rows: list[Row]) -> str:
    """Return a line for every case: ours in its own time, the others in how many times as long they took."""
    if not rows:
        return "*Not yet measured.*"
    groups = list(_by_case(rows))
    told = [name for name in (*case(rows[0]), "device") if len({row[name] for row in rows}) > 1]
    told = told or [name for name in case(rows[0]) if name != "op"]  # of the only case
    rivals = list(dict.fromkeys(_column(row, groups) for row in rows if not _is_ours(row)))
    figures = [name for name in _own_figures(rows[0]) if any(row[name] for row in rows if row["provider"] == OURS)]
    lines = []
    for group in groups:
        ours = next(row for row in group if row["provider"] == OURS)
        cells = {_column(row, groups): _ratio(row) for row in group if not _is_ours(row)}
        line = [ours[name] for name in told] + [_duration(ours)] + [_figure(name, ours[name]) for name in figures]
        lines.append(line + [cells.get(name, "") for name in rivals])
    header = [*told, OURS, *(_NAMES.get(name, name.replace("_", " ")) for name in figures), *rivals]
    return _markdown(header, lines) + _footnote(rows)


def headlines(results: Path) -> str:
    """Return a line for every headline: ours, and how many times as long the others took."""
    lines, used = [], []
    for label, name, wanted in HEADLINES:
        path = results / f"{name}.csv"
        rows = [row for row in newest(path) if fits(row, wanted)] if path.exists() else []
        if not rows:
            continue
        used += rows
        ours = next(row for row in rows if row["provider"] == OURS)
        share = f", {_figure('of_peak', ours['of_peak'])} of peak" if ours.get("of_peak") else ""
        others = [f"{row['provider']}: {_ratio(row)}" for row in rows if not _is_ours(row)]
        lines.append([label, _duration(ours) + share, "; ".join(others)])
    return (
        _markdown(["", OURS, "the others, in times ours"], lines) + _footnote(used) if lines else "*Not yet measured.*"
    )


def _by_case(rows: list[Row]) -> Iterator[list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((*case(row).values(), row["device"]), []).append(row)
    yield from groups.values()


def _is_ours(row: Row) -> bool:
    return row["provider"].partition(",")[0] == OURS


def _column(row: Row, groups: list[list[Row]]) -> str:
    """Return the package of a contender, or its full name where a case has several of one package."""
    package = distribution(row["provider"])
    together = max(len([row for row in group if distribution(row["provider"]) == package]) for group in groups)
    return package if row.get("version") and together == 1 else row["provider"]


def _own_figures(row: Row) -> list[str]:
    """Return the columns between the contender's times and where they come from."""
    names = list(row)
    between = names[names.index("provider") + 1 : names.index("commit")]
    return [name for name in between if name not in _MEASURED]


def _ratio(row: Row) -> str:
    """Return how many times as long as ours it took, its error if notable, its memory, and a mark where ours lost."""
    ratio = float(row.get("a_pair_times_ours") or row["times_ours"])  # of equal work, where it was given less
    text = f"{_digits(ratio)}×{_memory(row)}"
    if row.get("error") and not float(row["error"]) < NOTABLE:
        error = float(row["error"])
        text += f", error {_digits(error)}" if math.isfinite(error) else ", no number"
    if row["provider"] in FLOORS:
        return text
    return f"**{text}** {LOST}" if ratio < 1 else text


def _duration(row: Row) -> str:
    milliseconds = float(row["median_ms"])
    unit, factor = ("µs", 1e3) if milliseconds < 1 else ("ms", 1) if milliseconds < 1000 else ("s", 1e-3)
    return f"{_digits(factor * milliseconds)} {unit}{_memory(row)}"


def _memory(row: Row) -> str:
    return f", {row['peak_gib']} GiB" if row.get("peak_gib") else ""


def _figure(name: str, value: str) -> str:
    return f"{_digits(100 * float(value))} %" if value and name in _SHARES else value


def _digits(value: float) -> str:
    """Return two to three digits without an exponent."""
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{decimals}f}" if abs(value) >= 0.01 or value == 0 else f"{value:.1g}"


# ---- Markdown ----


def _markdown(header: list[str], lines: list[list[str]]) -> str:
    ruler = "|" + "---|" * len(header)
    return "\n".join(["| " + " | ".join(header) + " |", ruler, *("| " + " | ".join(line) + " |" for line in lines)])


def _footnote(rows: list[Row]) -> str:
    """Return where the rows come from: machines, versions, commits."""
    machines = {
        ", ".join(f"{name} {row[name]}".removeprefix("device ") for name in _MACHINE if name in row) for row in rows
    }
    packages = sorted(
        {f"{distribution(row['provider'])} {row['version']}" for row in rows if row.get("version")}
        - {f"torch {row['torch']}" for row in rows if "torch" in row}
    )
    commits = sorted({row["commit"] for row in rows})
    taken = max((float(row["others"]) for row in rows if row.get("others")), default=0.0)
    busy = f" Other processes took up to {100 * taken:.0f} % of the machine meanwhile." if taken > BUSY else ""
    return f"\n\n{'; '.join([*sorted(machines), *packages])}; commit {', '.join(commits)}.{busy}"


def main() -> None:
    """Write every page anew."""
    for path in PAGES:
        text = path.read_text()
        if (new := updated(text)) != text:
            path.write_text(new)


if __name__ == "__main__":
    main()
