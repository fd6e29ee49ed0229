"""One run of the measurements: its device, its clock, its time, and the rows found so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from benchmarks.gpu.ceilings import Ceilings
from benchmarks.gpu.stopwatch import Stopwatch
from benchmarks.racing import Timing, rows

OURS = "pyscale"
Case = TypeVar("Case")


@dataclass
class Session:
    """What every section of the measurements is given.

    Attributes:
        device: "cuda", or "cpu" for a rehearsal with tiny problems.
        origin: Columns of every row: commit, machine, versions.
        stopwatch: How calls are timed.
        deadline: Reading of the clock after which no further problem of the section is begun.
        found: Rows by table.
        skipped: What was left out, and why.
        seconds: How long each contender is timed.
        ceilings: Measured by the first section.
        written: Tables whose rows are in their files.
    """

    device: str
    origin: Mapping[str, str]
    stopwatch: Stopwatch
    deadline: float = float("inf")
    found: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.15
    ceilings: Ceilings | None = None
    written: set[str] = field(default_factory=set)

    def choose(self, cuda: Case, cpu: Case) -> Case:
        """Return what is measured on a GPU, or what rehearses it."""
        return cuda if self.device == "cuda" else cpu

    def in_time(self, cases: Iterable[Case], label: Callable[[Case], str]) -> Iterator[Case]:
        """Yield the cases until the deadline; the others are noted as skipped."""
        for case in cases:
            if time.perf_counter() < self.deadline:
                yield case
                self.release()
            else:
                self.skipped.append(f"{label(case)}: out of time")

    def samples(self, n: int, p: int, dtype: torch.dtype, mean: float = 0.0) -> Tensor:
        """Return activations (n, p) as a ReLU gives them, moved by ``mean``; the same numbers each time."""
        generator = torch.Generator(self.device).manual_seed(n + p)
        x = torch.empty((n, p), dtype=dtype, device=self.device)
        step = max(1, (1 << 28) // n)  # the float32 numbers of all features at once might not fit beside x
        for k in range(0, p, step):
            part = torch.randn((n, min(step, p - k)), generator=generator, device=self.device)
            x[:, k : k + step] = part.relu_().add_(mean)
        return x

    def record(
        self,
        table: str,
        case: Mapping[str, object],
        timings: Mapping[str, Timing],
        figures: Mapping[str, Mapping[str, object]],
        ours: str = OURS,
    ) -> None:
        """Keep a row for every contender: the case, its times, its own figures, the origin."""
        columns = list(dict.fromkeys(name for own in figures.values() for name in own))
        for row in rows(case, timings, ours, {}):
            own = figures.get(str(row["provider"]), {})
            row |= {name: own.get(name, "") for name in columns}
            self.found.setdefault(table, []).append({**row, **self.origin})

    def peak_mib(self, call: Callable[[], object]) -> float:
        """Return the most memory the call took on the device beyond what was there, in MiB; NaN where unknown."""
        if self.device != "cuda":
            call()
            return float("nan")
        self.release()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call()
        self.stopwatch.wait()
        return (torch.cuda.max_memory_allocated() - before) / 2**20

    def release(self) -> None:
        """Give cached memory back, so that one problem's does not stand in the way of the next."""
        if self.device == "cuda":
            torch.cuda.empty_cache()
