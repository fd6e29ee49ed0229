"""Extract and compare in a loop for a given time: memory must not grow. ``python -m benchmarks.soak --minutes 60``.

A row of what was seen goes to ``results/soak.csv``: rounds, and the resident memory in the first and the last tenth.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import shutil
import tempfile
import time
from pathlib import Path

import torch

import pyscale as ps
from benchmarks.provenance import append_rows, provenance

ALLOWED = 8 * 2**20  # bytes of growth: the torch and thread pools, once filled


def resident() -> int:
    """Return this process's resident memory in bytes, less what the allocator of glibc keeps for later: that comes and
    goes by 100 MiB and more.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def one_round(models: list[torch.nn.Module], images: torch.Tensor, folder: Path, number: int) -> None:
    """Extract two models into new stores, compare them in both modes, and remove everything."""
    loader = torch.utils.data.DataLoader(images, batch_size=64)
    paths = [folder / f"{number}-{i}.zarr" for i in range(len(models))]
    for model, path in zip(models, paths, strict=True):
        ps.extract(model, loader, path, progress=False)
    ps.compare_stores(*paths, cache=folder, progress=False)
    ps.compare_stores(*paths, metric="cca_r2", features="pool", cache=folder, progress=False)
    for path in paths:
        shutil.rmtree(path)


def soak(minutes: float) -> dict[str, object]:
    """Run rounds for that long; return what was seen."""
    torch.manual_seed(0)
    models = [ps.models.build("cifar_resnet8").eval() for _ in range(2)]
    images = torch.randn(256, 3, 32, 32)
    start, rounds, seen = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        while (elapsed := time.monotonic() - start) < 60 * minutes:
            one_round(models, images, Path(folder), rounds)
            rounds += 1
            gc.collect()
            seen.append((elapsed, resident()))
            if rounds == 1 or rounds % 50 == 0:
                print(f"{elapsed / 60:6.1f} min, {rounds} rounds, {seen[-1][1] / 2**20:.1f} MiB", flush=True)
    begun = max(memory for elapsed, memory in seen if elapsed <= max(6 * minutes, seen[0][0]))
    late = max(memory for elapsed, memory in seen if elapsed >= 54 * minutes or (elapsed, memory) == seen[-1])
    return {
        "minutes": minutes,
        "rounds": rounds,
        "resident_first_tenth": begun,
        "resident_last_tenth": late,
        "growth": late - begun,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--dry", action="store_true", help="write no row")
    options = parser.parse_args()
    row = soak(options.minutes)
    print(row)
    if not options.dry:
        append_rows("soak", [{**row, **provenance()}])
    if row["growth"] > ALLOWED:
        raise SystemExit(f"memory grew by {row['growth']} bytes")


if __name__ == "__main__":
    main()
