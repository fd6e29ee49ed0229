"""Counts the instructions of three fixed kernels under valgrind's callgrind, and compares them with those recorded.

A count is the same on every run, however busy the machine is: what slows a kernel down by more instructions is seen
without a stopwatch. Cache misses are not.

    python csrc/checks/instructions.py PROGRAM COMPILER [--update | --require]

PROGRAM is the built ``instructions``, COMPILER what built it. Counts hold for one compiler: for another they are not
compared, which is said, and with ``--require`` is an error. ``--update`` records new ones.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

RECORDED = Path(__file__).with_suffix(".json")
KERNELS = {
    "gram": "float32 Gram, unbiased centring, 128 x 4000",
    "hsic": "all pairs of 50 x 60 packed float32 Grams of 128 samples",
    "moments": "float64 self moments, 600 x 200",
}
ISA = "avx2"
MOST = 0.03  # the largest change that is let pass


def main() -> int:
    """Return the exit status."""
    arguments = _parse()
    compiler = _version(arguments.compiler)
    if arguments.update:
        counts = {name: _count(arguments.program, name) for name in KERNELS}
        text = json.dumps({"compiler": compiler, "isa": ISA, "counts": counts}, indent=2) + "\n"
        RECORDED.write_text(text)
        print(f"recorded in {RECORDED}:\n{text}", end="")
        return 0
    recorded = json.loads(RECORDED.read_text())
    if recorded["compiler"] != compiler:
        print(
            f"instructions are not compared: recorded with {recorded['compiler']}, built with {compiler}. "
            "`make instructions-update` records this compiler's."
        )
        return int(arguments.require)
    changed = False
    for name, what in KERNELS.items():
        before, now = recorded["counts"][name], _count(arguments.program, name)
        change = now / before - 1
        changed |= abs(change) > MOST
        verdict = "" if abs(change) <= MOST else f", more than {MOST:.0%}"
        print(f"{name:8} {now:>13,} instructions, {change:+.2%} of {before:,}{verdict}: {what}")
    if changed:
        print("Meant to be so? `make instructions-update` records the new counts; say why in the commit.")
    return int(changed)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("compiler")
    parser.add_argument("--update", action="store_true", help="record the counts")
    parser.add_argument("--require", action="store_true", help="fail where they were recorded with another compiler")
    return parser.parse_args()


def _version(compiler: str) -> str:
    """Return what the compiler says of itself but its name, which may be any: ``(Debian 12.2.0-14) 12.2.0``."""
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0].partition(" ")[2]


def _count(program: Path, kernel: str) -> int:
    """Return the instructions executed inside one kernel's call."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "callgrind")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-instr=no"]
        command += [f"--toggle-collect=counted_{kernel}", str(program), kernel]
        done = subprocess.run(
            command, env={**os.environ, "PYSCALE_ISA": ISA}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
        found = re.search(r"^(?:totals|summary): (\d+)$", out.read_text(), re.MULTILINE)
    if found is None or int(found.group(1)) == 0:
        sys.exit(f"callgrind counted nothing inside counted_{kernel}")
    return int(found.group(1))


if __name__ == "__main__":
    sys.exit(main())
