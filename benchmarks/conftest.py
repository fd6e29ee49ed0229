"""Joins the race to pytest-benchmark: rivals run between our timed rounds, rows go to ``results/``."""

from __future__ import annotations

import time

import pytest

from benchmarks.provenance import append_rows, provenance
from benchmarks.racing import Timing, rows

OURS = "pyscale"


@pytest.fixture
def beside(benchmark):
    """Return a function that benchmarks a call, timing its rivals before each of its rounds."""

    def run(table, case, call, rivals, rounds=9):
        seconds = {name: [] for name in rivals}

        def rivals_first():
            for name, rival in rivals.items():
                start = time.perf_counter()
                rival()
                seconds[name].append(time.perf_counter() - start)

        benchmark.pedantic(call, setup=rivals_first, rounds=rounds, warmup_rounds=1)
        timings = {OURS: Timing(tuple(benchmark.stats.stats.data))}
        timings |= {name: Timing(tuple(values[1:])) for name, values in seconds.items()}  # the first warmed up
        found = rows(case, timings, OURS, provenance())
        benchmark.extra_info |= {row["provider"]: f"{row['times_ours']}x ours" for row in found}
        append_rows(table, found)
        return timings

    return run
