"""Stores written and compared by several processes; as a module, on every rank of torchrun."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import warnings
from pathlib import Path

import torch
from torch import nn

import pyscale as ps
from tests.distributed.scenarios import loader, networks

COMPARISONS = {
    "CKA": {"batch_size": 16},
    "permutations": {"batch_size": 16, "permutations": 9},
    "R²": {"metric": "cca_r2", "features": "pool", "batch_size": 16},
    "exact by blocks": {"mode": "exact", "features": "pool", "memory": "3MiB"},
    "exact, two after two": {"mode": "exact", "features": "pool", "memory": "3MiB", "many": True},
}


def contents(path):
    """Return a digest of every file of a store, the lock apart."""
    files = sorted(file for file in Path(path).rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def extracted(folder):
    x, y = networks()
    ps.extract(x, loader(), Path(folder) / "x.zarr", progress=False)
    return ps.extract(y, loader(), Path(folder) / "y.zarr", features="pool", progress=False)


def compared(folder, *, many=False, **options):
    cache = Path(folder) / "cache"
    if many:
        paths = {name: Path(folder) / f"{name}.zarr" for name in "xy"}
        return ps.compare_many(paths, cache=cache, progress=False, **options)["x", "y"]
    return ps.compare_stores(Path(folder) / "x.zarr", Path(folder) / "y.zarr", cache=cache, progress=False, **options)


def main(folder):
    rank = int(os.environ["RANK"])
    samples = extracted(folder).samples
    found = {"samples": samples, "again": extracted(folder).samples}
    for name, options in COMPARISONS.items():
        found[name] = compared(folder, **options).state()
    assert found["exact, two after two"]["meta"]["reads"] > 1
    torch.save(found, f"{folder}/{rank}.pt")


class Deadly(nn.Sequential):
    """A network that kills rank 1 in its second batch, if it may."""

    def forward(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 2 and os.environ.get("RANK") == "1" and os.environ.get("DEADLY"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


def deadly(folder):
    """Extract with a network that may kill rank 1; say how it ends."""
    try:
        ps.extract(Deadly(*networks()[0]), loader(70, 7), Path(folder) / "deadly.zarr", progress=False)
    except ps.distributed.PeerError as error:
        sys.stdout.write(f"failed {error}\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1]) if len(sys.argv) == 2 else deadly(sys.argv[1])
