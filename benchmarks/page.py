"""The tables of docs/benchmarks.md, from the rows in results/.

python -m benchmarks.page        write them anew

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` and holds the newest row of every case, provider
and device of ``results/NAME.csv``.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from benchmarks.provenance import RESULTS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", flags=re.DOTALL)
_HIDDEN = {"op", "p20_ms", "p80_ms", "commit", "date", "threads", "isa", "pyscale", "python", "cuda", "architectures"}
_MACHINE = ("device", "driver", "torch")  # said once, below the table
_NAMES = {"median_ms": "ms", "times_ours": "× ours", "of_floor": "of floor", "floor_ms": "floor", "gb_s": "GB/s"}


def updated(text: str, results: Path = RESULTS) -> str:
    """Return the page with its tables written from the files in ``results``."""
    return _TABLE.sub(lambda match: f"{match[1]}{table(results / f'{match[2]}.csv')}\n{match[3]}", text)


def table(path: Path) -> str:
    """Return the newest rows of a file as Markdown; where there is none, that nothing has been measured."""
    if not path.exists():
        return "*Not yet measured.*"
    rows = newest(path)
    columns = [
        name for name in rows[0] if name not in _HIDDEN and name not in _MACHINE and any(row[name] for row in rows)
    ]
    lines = [
        "| " + " | ".join(_NAMES.get(name, name.replace("_", " ")) for name in columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(row[name] for name in columns) + " |" for row in rows),
    ]
    machines = {
        ", ".join(f"{name} {row[name]}".removeprefix("device ") for name in _MACHINE if name in row) for row in rows
    }
    commits = sorted({row["commit"] for row in rows})
    return "\n".join(lines) + f"\n\n{'; '.join(sorted(machines))}; commit {', '.join(commits)}."


def newest(path: Path) -> list[dict[str, str]]:
    """Return the last row of every case, provider and device, in the order in which cases first came."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    case = [*list(rows[0])[: list(rows[0]).index("provider" if "provider" in rows[0] else "value")], "device"]
    case += ["provider"] if "provider" in rows[0] else []
    return list({tuple(row[name] for name in case): row for row in rows}.values())


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text()))
