"""Extractions and comparisons that are killed again and again: run as a program, whose children are what is killed.

``python -m tests.comparison.killed extract|compare KILLS SEED FOLDER`` exits with 0 if what was killed KILLS times and
then let finish gave the bytes of one that was left alone.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

import pyscale as ps
from pyscale.comparison.stored import checkpoint, run
from pyscale.stores import zarr_writer

SAMPLES, BATCH = 190, 16  # the last batch is a smaller one
STUCK = 300.0  # seconds after which a process says where it is, and ends


class Slow(nn.Module):
    """A network that takes its time, so that it can be killed anywhere."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.relu, self.last = nn.ReLU(inplace=True), nn.Conv2d(8, 96, 3, dtype=torch.bfloat16)
        self.head = nn.Linear(96, 5)

    def forward(self, x):
        time.sleep(0.002)
        x = self.last(self.relu(self.norm(self.conv(x))).bfloat16())
        return self.head(x.float().mean((2, 3)))


def loader():
    """Batches with ids, the same each time."""
    images = torch.randn(SAMPLES, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    for start in range(0, SAMPLES, BATCH):
        yield {"x": images[start : start + BATCH], "id": torch.arange(start, min(start + BATCH, SAMPLES)) * 7}


def extract(path: Path) -> None:
    ps.extract(Slow(), list(loader()), path, progress=False)


def compare(folder: Path, out: Path) -> None:
    result = ps.compare_stores(
        folder / "whole.zarr", folder / "whole.zarr", layers_y="[lr]*", batch_size=8, permutations=3,
        cache=out.with_suffix(".cache"), progress=False,
    )  # fmt: skip
    np.savez(out, **result.arrays())


def slow_down() -> None:
    """Let comparisons take their time, and write a checkpoint at every batch."""
    finish = run.StoredRun._finish

    def slowly(self, samples):
        finish(self, samples)
        time.sleep(0.01)

    checkpoint.SECONDS, run.StoredRun._finish = 0.0, slowly


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file's content by path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def child(work) -> int:
    """Start ``work`` in a process of its own. This one computes nothing: it has no threads, whose locks a child would
    inherit as they happen to be.
    """
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(STUCK, exit=True)
        status = 1
        with contextlib.suppress(BaseException):
            work()
            status = 0
        os._exit(status)
    return pid


def finished(work) -> None:
    """Let ``work`` come to its end."""
    if os.waitpid(child(work), 0)[1] != 0:
        work()  # to show why


def kill_randomly(work, kills: int, seed: int, longest: float) -> int:
    """Start ``work`` and kill it, again and again; then let it finish. Return how often it was killed at work."""
    rng, struck = random.Random(seed), 0
    for _ in range(kills):
        pid = child(work)
        time.sleep(rng.uniform(0.0, longest))
        os.kill(pid, signal.SIGKILL)
        struck += os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    finished(work)
    return struck


def main() -> None:
    what, kills, seed, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    # chunks of a part of a batch, and of three batches
    zarr_writer._SMALL, zarr_writer._LARGE, zarr_writer._MOST_ROWS = 60_000, 60_000, 48
    start = time.monotonic()
    finished(lambda: extract(folder / "whole.zarr"))
    taken = time.monotonic() - start
    if what == "extract":
        struck, rounds = 0, 0
        while struck < kills:  # a store that is finished can't be killed: begin another
            path = folder / f"killed{rounds}.zarr"
            struck += kill_randomly(lambda path=path: extract(path), min(kills - struck, 10), seed + rounds, taken)
            assert tree(path) == tree(folder / "whole.zarr"), path
            rounds += 1
    else:
        slow_down()
        finished(lambda: compare(folder, folder / "whole.npz"))
        struck = kill_randomly(lambda: compare(folder, folder / "killed.npz"), kills, seed, 0.2)
        assert (folder / "killed.npz").read_bytes() == (folder / "whole.npz").read_bytes()
        assert not list(folder.glob("*.cache/*"))
        rounds = 1
    sys.stdout.write(f"killed {struck} times in {rounds} rounds\n")
    assert struck >= kills // 2


if __name__ == "__main__":
    main()
