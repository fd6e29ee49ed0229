"""Measures a CUDA device and the package on it, section by section, and prints all tables last.

python -m benchmarks.gpu                    measure, print, append to benchmarks/results/gpu_*.csv
python -m benchmarks.gpu --device cpu       rehearse every line with tiny problems; nothing is written

Every section has its share of the time; what does not fit is named at the end. Rows are written as soon as a section is
done, so a later failure costs nothing that was found.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable

import torch

from benchmarks.gpu import comparison, grams, launches, pairs
from benchmarks.gpu.ceilings import measure
from benchmarks.gpu.session import Session
from benchmarks.gpu.stopwatch import SECONDS, Stopwatch
from benchmarks.gpu.tables import render
from benchmarks.provenance import append_rows, provenance


def measure_ceilings(session: Session) -> None:
    """First of all: what the others are held against."""
    session.ceilings, timings = measure(session.device, session.stopwatch)
    units = {name: "TB/s" if name in ("copy", "read") else "TFLOP/s" for name in timings}
    session.found["ceilings"] = [
        {
            "ceiling": name,
            "value": f"{getattr(session.ceilings, name) / 1e12:.4g}",
            "unit": units[name],
            "median_ms": f"{1e3 * timing.median:.4g}",
            **session.origin,
        }
        for name, timing in timings.items()
    ]


# In order of worth, with the most seconds each may take on a GPU.
SECTIONS: dict[str, tuple[Callable[[Session], None], float]] = {
    "ceilings": (measure_ceilings, 20),
    "compare": (comparison.run, 60),
    "grams": (grams.run, 180),
    "launches": (launches.run, 40),
    "pairs": (pairs.run, 60),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the sections; return how many failed."""
    options = parse(arguments)
    device = options.device
    torch.set_float32_matmul_precision("highest")
    session = Session(device, provenance(device), Stopwatch(device), seconds=SECONDS if device == "cuda" else 1e-4)
    end = time.perf_counter() + 60 * options.minutes
    failed = []
    for name in options.sections:
        section, seconds = SECTIONS[name]
        session.deadline = min(end, time.perf_counter() + seconds)
        if time.perf_counter() >= end:
            session.skipped.append(f"{name}: out of time")
            continue
        print(f"{name} ...", flush=True)
        if not _succeeds(section, session):
            failed.append(name)
        session.release()
        if device == "cuda" and not _succeeds(_write, session):
            failed.append(f"writing {name}")
    for name, rows in session.found.items():
        print(f"\n{name}\n{render(rows, hidden=session.origin)}")
    print("\n" + "  ".join(f"{name} {value}" for name, value in session.origin.items()))
    for skipped in session.skipped:
        print(f"skipped  {skipped}")
    for name in failed:
        print(f"FAILED   {name}; its error is above")
    return len(failed)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--minutes", type=float, default=7.0, help="for all sections together")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    return parser.parse_args(arguments)


def _succeeds(section: Callable[[Session], None], session: Session) -> bool:
    """Run a section; one that fails is reported and must not cost the others their turn."""
    try:
        section(session)
    except Exception:
        traceback.print_exc()
        return False
    return True


def _write(session: Session) -> None:
    for name, rows in session.found.items():
        if name not in session.written:
            session.written.add(name)
            print(f"rows appended to {append_rows(f'gpu_{name}', rows)}")


if __name__ == "__main__":
    sys.exit(main())
