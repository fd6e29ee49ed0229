"""Compare stores far larger than memory: time and memory beside the disk and the arithmetic, measured in the same run.

``python -m benchmarks.stores --gib 20 --folder /somewhere`` writes two stores of made-up activations, drops them from
the page cache, compares them under ``memory="2GiB"`` and appends a row to ``results/stores.csv``:

* ``seconds``, ``peak_gib``: of the comparison; the peak is the process's resident memory at its highest
  (``VmHWM``), and address space beyond ``--limit`` GiB over what is mapped before is refused to it by the system;
* ``disk_seconds``: reading the same files once, from a dropped cache, and doing nothing with them;
* ``gram_seconds``: the same Grams and their products of activations that lie in memory.

What is slower of the last two is the floor. The stores are removed.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import pyscale as ps
from benchmarks.provenance import Others, append_rows, provenance
from pyscale.comparison.stored.checkpoint import SECONDS
from pyscale.metrics import MinibatchCKA
from pyscale.metrics.packing import pack
from pyscale.stores.places import Folder
from pyscale.stores.zarr_writer import Progress, StoreWriter

BATCH = 256
# activations of an image at 112 pixels in some layers of a ResNet: early ones wide, late ones narrow
LAYERS = {
    "conv1": (64, 56, 56),
    "layer1.0.relu": (64, 28, 28),
    "layer1.1.relu": (64, 28, 28),
    "layer2.0.relu": (128, 14, 14),
    "layer2.1.relu": (128, 14, 14),
    "layer3.0.relu": (256, 7, 7),
    "layer4.0.relu": (512, 4, 4),
    "avgpool": (512,),
}


def sample_bytes() -> int:
    return 4 * sum(torch.Size(shape).numel() for shape in LAYERS.values())


def activations(name: str, samples: int, seed: int) -> torch.Tensor:
    """Return made-up activations: smooth numbers with a mean, of which ReLU layers have half at zero."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, *LAYERS[name], generator=generator)
    return x.relu_() if "relu" in name else x.add_(0.5)


def write(path: Path, samples: int, seed: int) -> None:
    """Write a store of that many samples, batch by batch; every batch repeats one of four."""
    writer = StoreWriter(Folder(path), {"model": "made up", "features": "flatten"})
    made = [{name: activations(name, BATCH, seed + i) for name in LAYERS} for i in range(2)]
    writer.set_layers(list(LAYERS), {})
    for number in range(samples // BATCH):
        for name in LAYERS:
            writer.append(name, made[number % len(made)][name].roll(number, 0))
        writer.record(Progress(number + 1, (number + 1) * BATCH, "", ""))
    writer.finish(None)


def drop_from_cache(folder: Path) -> int:
    """Make the system forget the files' pages; return the files' size."""
    os.sync()
    total = 0
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                total += os.fstat(file.fileno()).st_size
    return total


def read_everything(folder: Path) -> float:
    """Return the seconds that reading all files takes, into one buffer."""
    buffer = bytearray(2**24)
    start = time.perf_counter()
    for path in sorted(folder.rglob("c.*")):
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    return time.perf_counter() - start


def grams_in_memory(batches: int) -> float:
    """Return the seconds that the arithmetic of so many batches of two stores takes, from what one batch takes."""
    sides = [[activations(name, BATCH, seed).reshape(BATCH, -1) for name in LAYERS] for seed in (0, 10)]
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        grams = [[pack(x, "x", kernel="linear", bandwidth=1.0) for x in side] for side in sides]
        metric = MinibatchCKA(list(LAYERS), list(LAYERS))
        v, w = (torch.stack([gram.values for gram in side]) for side in grams)
        constant = torch.zeros(len(LAYERS), dtype=torch.bool)
        metric.update_packed(v, w, BATCH, constant, constant)
        seconds.append(time.perf_counter() - start)
    return min(seconds) * batches


def compare_in_child(folder: Path, limit: float) -> dict[str, float]:
    """Compare the two stores in a process of its own; return its seconds and its peak of resident memory."""
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.stores", "--compare", str(folder), "--limit", str(limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if child.returncode:
        raise SystemExit(child.stderr)
    names = "seconds", "peak_gib", "mean_cka", "cpu_seconds", "others"
    return dict(zip(names, map(float, child.stdout.split()), strict=True))


def compare(folder: Path, limit: float) -> None:
    """Compare, with address space limited to ``limit`` GiB more than is mapped now, and print what it took."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    most = mapped + int(limit * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    others, start = Others(), time.perf_counter()
    result = ps.compare_stores(
        folder / "a.zarr", folder / "b.zarr", batch_size=BATCH, memory="2GiB", cache=folder / "cache", progress=False
    )
    seconds = time.perf_counter() - start
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(
        f"{seconds} {int(peak.split()[1]) / 2**20} {result.values.mean()} {time.process_time()} {others.share() or 0}"
    )


def measure(gib: float, parent: Path | None, limit: float) -> None:
    samples = int(gib * 2**30 / 2 / sample_bytes() / BATCH) * BATCH
    folder = Path(tempfile.mkdtemp(prefix="stores-", dir=parent))
    try:
        start = time.perf_counter()
        for i, name in enumerate("ab"):
            write(folder / f"{name}.zarr", samples, 10 * i)
        written = time.perf_counter() - start
        stored = drop_from_cache(folder)
        disk = read_everything(folder)
        drop_from_cache(folder)
        compared = compare_in_child(folder, limit)
        row = {
            "activations_gib": round(2 * samples * sample_bytes() / 2**30, 3),
            "stored_gib": round(stored / 2**30, 3),
            "samples": samples,
            "layers": f"{len(LAYERS)} x {len(LAYERS)}",
            "batch": BATCH,
            "memory": "2GiB",
            "checkpoint_seconds": SECONDS,
            **{name: round(value, 3) for name, value in compared.items()},
            "disk_seconds": round(disk, 3),
            "gram_seconds": round(grams_in_memory(samples // BATCH), 3),
            "written_seconds": round(written, 3),
            **provenance(),
        }
        print(row)
        append_rows("stores", [row])
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=20.0, help="of activations in both stores")
    parser.add_argument("--folder", type=Path, help="where the stores lie; the system's temporary folder")
    parser.add_argument("--limit", type=float, default=2.0, help="GiB of address space for the comparison")
    parser.add_argument("--compare", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.compare is not None:
        compare(options.compare, options.limit)
    else:
        measure(options.gib, options.folder, options.limit)


if __name__ == "__main__":
    main()
