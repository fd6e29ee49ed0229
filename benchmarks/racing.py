"""Measuring rivals in turns: each round times every one of them, so a slow minute of the machine hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Contender = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds of one contender over the rounds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def quantile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def race(
    contenders: Mapping[str, Contender], *, rounds: int = 9, wait: Callable[[], None] = lambda: None
) -> dict[str, Timing]:
    """Time every contender once a round, in turns, after one round of warming up.

    Args:
        contenders: What to call, by name.
        rounds: Timed rounds.
        wait: Called before each clock reading; a GPU's synchronisation.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for timed in [False] + [True] * rounds:
        for name, call in contenders.items():
            wait()
            start = time.perf_counter()
            call()
            wait()
            if timed:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def rows(
    case: Mapping[str, object], timings: Mapping[str, Timing], ours: str, origin: Mapping[str, str]
) -> list[dict[str, object]]:
    """Return one row a contender: the case, median and p20/p80 milliseconds, how many times ours fits in it, origin."""
    return [
        {
            **case,
            "provider": name,
            "median_ms": f"{1e3 * timing.median:.4g}",
            "p20_ms": f"{1e3 * timing.quantile(0.2):.4g}",
            "p80_ms": f"{1e3 * timing.quantile(0.8):.4g}",
            "times_ours": f"{timing.median / timings[ours].median:.3f}",
            **origin,
        }
        for name, timing in timings.items()
    ]
