"""Rows of measurements and where they come from: commit, machine, versions."""

from __future__ import annotations

import csv
import datetime
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy
import torch

import pyscale
from pyscale import ops

RESULTS = Path(__file__).parent / "results"


def provenance(device: str = "cpu") -> dict[str, str]:
    """Return what a reader needs to judge a row: the commit (marked if the tree had changes), machine and versions.

    A copy of the tree whose history is missing or not its own takes the commit from ``PYSCALE_COMMIT`` in the
    environment.
    """
    given = os.environ.get("PYSCALE_COMMIT", "")
    commit = given[:10] or _git("rev-parse", "--short=10", "HEAD") or "unknown"
    # rows of earlier runs don't make the measured code a different one
    if not given and _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results"):
        commit += "+changes"
    return {
        "commit": commit,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **(_gpu() if device == "cuda" else _cpu()),
        "pyscale": pyscale.__version__,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
    }


def _cpu() -> dict[str, str]:
    return {"device": _cpu_model(), "threads": str(torch.get_num_threads()), "isa": ops.build_info().isa}


def _gpu() -> dict[str, str]:
    return {
        "device": torch.cuda.get_device_name(),
        "driver": _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0") or "unknown",
        "cuda": str(torch.version.cuda),
        "architectures": ops.build_info().cuda_architectures,
    }


class Others:
    """What other processes, and other machines on the same cores, take of this one's cores from now on."""

    def __init__(self) -> None:
        self._start = self._seconds()

    def share(self) -> str:
        """Return their share of all cores' time since then; nothing where the system doesn't tell."""
        start, end = self._start, self._seconds()
        if start is None or end is None or end[0] <= start[0]:
            return ""
        total, busy, own = (b - a for a, b in zip(start, end, strict=True))
        return f"{max(busy - own, 0) / total:.3f}"

    @staticmethod
    def _seconds() -> tuple[float, float, float] | None:
        """Return all cores' time, what of it they worked, and what of that this process had."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        except OSError:
            return None
        ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
        return sum(ticks), sum(ticks) - ticks[3] - ticks[4], time.process_time()  # idle, waiting for a disk


def append_rows(name: str, rows: Iterable[Mapping[str, object]], folder: Path = RESULTS) -> Path:
    """Append rows to ``<name>.csv`` in the folder; rows are never removed.

    Columns that the file hasn't yet are added, empty in its older rows; a file is replaced whole or not at all.
    """
    rows = list(rows)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"
    columns, older = read_rows(path) if path.exists() else ([], [])
    new = path.with_suffix(".new")
    with new.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=merged(list(rows[0]), columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows([*older, *rows])
    new.replace(path)
    return path


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns of a file, and its rows."""
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        return list(reader.fieldnames or ()), list(reader)


def merged(columns: list[str], older: list[str]) -> list[str]:
    """Return the columns in their order, with those that only the older have where they stood among the older."""
    result = list(columns)
    for i, name in enumerate(older):
        if name not in result:
            result.insert(result.index(older[i - 1]) + 1 if i else 0, name)
    return result


def _git(*arguments: str) -> str:
    return _output("git", *arguments)


def _output(*command: str) -> str:
    """Return what a command prints; nothing where it is missing or fails."""
    try:
        result = subprocess.run(command, cwd=RESULTS.parent.parent, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0]} x{len(models)}" if models else platform.machine()
