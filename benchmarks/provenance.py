"""Rows of measurements and where they come from: commit, machine, versions."""

from __future__ import annotations

import csv
import datetime
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

import pyscale
from pyscale import ops

RESULTS = Path(__file__).parent / "results"


def provenance(device: str = "cpu") -> dict[str, str]:
    """Return what a reader needs to judge a row: the commit (marked if the tree had changes), machine and versions.

    A copy of the tree without its history takes the commit from ``PYSCALE_COMMIT`` in the environment.
    """
    commit = _git("rev-parse", "--short=10", "HEAD") or os.environ.get("PYSCALE_COMMIT", "unknown")
    # rows of earlier runs don't make the measured code a different one
    if _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results"):
        commit += "+changes"
    return {
        "commit": commit,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **(_gpu() if device == "cuda" else _cpu()),
        "pyscale": pyscale.__version__,
        "torch": torch.__version__,
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


def append_rows(name: str, rows: Iterable[Mapping[str, object]]) -> Path:
    """Append rows to ``results/<name>.csv``, writing its header if the file is new; rows are never removed."""
    rows = list(rows)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.csv"
    new = not path.exists()
    if not new:
        with path.open(newline="") as file:
            header = next(csv.reader(file))
        if header != list(rows[0]):
            raise ValueError(f"{path} has the columns {header}; the new rows have {list(rows[0])}")
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        if new:
            writer.writeheader()
        writer.writerows(rows)
    return path


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
