"""What merging costs a rank as ranks grow: bytes, messages and seconds, by real processes over gloo on one machine.

Bytes and messages are facts of the tree, and the same on any machine. Seconds are those of this machine, whose cores
more processes than cores share: ``python -m benchmarks.merging`` starts itself under torchrun for each number of ranks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import torch

from pyscale.distributed import gathered
from pyscale.metrics import MinibatchCKA
from pyscale.metrics.pair_sums import MAX_BLOCKS

ROWS, COLUMNS = 60, 108  # layers of ResNet-18 and ResNet-34
RANKS = (2, 4, 8, 16)
REPEATS = 5


def filled(seed):
    """Return a metric that holds as many blocks of sums as there can be, 3.5 MB, in the state of many minibatches."""
    metric = MinibatchCKA([f"x{i}" for i in range(ROWS)], [f"y{j}" for j in range(COLUMNS)])
    generator = torch.Generator().manual_seed(seed)
    v, w = (torch.rand(n, 6, generator=generator, dtype=torch.float64) for n in (ROWS, COLUMNS))
    constant_v, constant_w = (torch.zeros(n, dtype=torch.bool) for n in (ROWS, COLUMNS))
    for number in range(MAX_BLOCKS):
        metric.update_packed(v, w, 4, constant_v, constant_w, number=number)
    return metric


def measure():
    """Merge to rank 0 and hand down, as compare and sync do; rank 0 prints what each rank moved and the median time."""
    metric, seconds = filled(int(os.environ["RANK"])), []
    state = metric.state_dict()
    for _ in range(REPEATS):
        with gathered() as crew:
            crew.arrive("start")
            started = time.perf_counter()
            mine = MinibatchCKA(metric.rows, metric.columns).load_state_dict(state)

            def merge(mine, theirs):
                return mine.merge_state(MinibatchCKA(mine.rows, mine.columns).load_state_dict(theirs))

            crew.reduce(mine, merge, lambda mine: mine.state_dict())
            up = crew.channel.sent, crew.channel.received, crew.channel.moves
            crew.broadcast(state if crew.first else None)
            seconds.append(time.perf_counter() - started)
            moved = crew.reduce(
                [[*up, crew.channel.sent, crew.channel.received, crew.channel.moves]], lambda a, b: a + b
            )
    if moved is not None:
        print(json.dumps({"moved": moved, "seconds": sorted(seconds)[REPEATS // 2]}))


def main():
    """Measure for each number of ranks and print a table in Markdown."""
    print("| ranks | steps | rank 0 receives up | another rank sends up, at most | rank 0 sends down | seconds |")
    print("|---|---|---|---|---|---|")
    for ranks in RANKS:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"),
                *("-m", "benchmarks.merging", "measure"),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
        first, *others = found["moved"]
        steps, most_up = first[2], max(other[0] for other in others)
        down = first[3] - first[0]
        sizes = " | ".join(f"{size / 1e6:.2f} MB" for size in (first[1], most_up, down))
        print(f"| {ranks} | {steps} | {sizes} | {found['seconds']:.2f} |", flush=True)


if __name__ == "__main__":
    measure() if sys.argv[1:] == ["measure"] else main()
