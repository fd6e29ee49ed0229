"""python -m benchmarks.numerics [SECTION ...]: measure all sections, or those named, and write the rows and the page.

Ends with an error where a cell is beyond the rule.
"""

from __future__ import annotations

import argparse
import sys

import torch

from benchmarks.numerics import canonical, emulated, grid, hard, page, rows
from benchmarks.provenance import provenance

SECTIONS = {"grid": grid.rows, "hard": hard.rows, "cca": canonical.rows, "emulated": emulated.rows}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.numerics", description=__doc__)
    choices = ["all", *SECTIONS, "page"]
    parser.add_argument("sections", nargs="*", choices=choices, default="all", help="page: measure nothing")
    chosen = parser.parse_args(arguments).sections
    chosen = [*SECTIONS] if "all" in chosen else chosen
    if "emulated" in chosen and not emulated.available():
        print("no emulator in this build (PYSCALE_EMULATOR=ON builds it): its rows stay as they are")
        chosen.remove("emulated")
    torch.set_num_threads(1)  # sums then do not depend on how many cores there are
    for name in [name for name in SECTIONS if name in chosen]:
        measured = list(SECTIONS[name]())
        rows.write(measured, provenance())
        print(f"{name}: {len(measured)} cells")
    page.PAGE.write_text(page.updated(page.PAGE.read_text()))
    beyond = [row for row in rows.read() if row["within"] != "yes"]
    for row in beyond:
        print("beyond the rule:", *(row[field] for field in list(row)[: list(row).index("within")]))
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
