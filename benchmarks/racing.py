"""Measuring rivals in turns: each round gives all of them their turn, so a slow minute of the machine hits all alike.

A library's threads go on spinning after its call: OpenBLAS's for a tenth of a second, and whoever comes next finds a
core taken (torch's product of 128 x 512 then takes 14 ms rather than 0.15). So a turn on a CPU begins when this
process has come to rest, with a call that is not timed, and short calls are then timed several times in a row.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.rivals import version

Contender = Callable[[], object]

TURNS = (3, 7)  # fewest and most
SECONDS = 12.0  # that all turns of a case together may take, if the fewest fit
LONG = 3.0  # seconds; a rival that takes longer, and FAR_BEHIND times ours, is called once
FAR_BEHIND = 4.0
_BURST = 0.02  # seconds of timed calls in a turn, if one is shorter
_MOST_CALLS = 400  # timed in a turn
_NO_WARM_UP = 0.3  # seconds; a longer call does not notice how it was begun
# settle(): seconds watched, share of them that rest may use, seconds in all. The time of a thread that runs on another
# core is brought up to date by that core's clock tick alone, every 4 to 10 ms: a shorter watch would see nothing.
_SLICE, _IDLE, _PATIENCE = 0.03, 0.25, 0.5


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


class Turns:
    """The turns of one case on the CPU: how many, how many calls in each, and what the rivals took.

    Making it calls every contender once or twice, untimed.

    Args:
        ours: The call that others are compared with; somebody else times it, ``rounds * calls`` times.
        rivals: What else to call, by name.
        rounds: Turns of every contender; as many as fit in ``SECONDS`` by default.
    """

    def __init__(self, ours: Contender, rivals: Mapping[str, Contender], rounds: int | None = None) -> None:
        self._ours, self._rivals = ours, rivals
        self.seconds: dict[str, list[float]] = {name: [] for name in rivals}
        once = _estimate(ours)
        estimates = {name: _estimate(rival) for name, rival in rivals.items()}
        for name, estimate in estimates.items():
            if estimate > max(LONG, FAR_BEHIND * once):
                self.seconds[name].append(estimate)
        self._again = {name: estimate for name, estimate in estimates.items() if not self.seconds[name]}
        total = sum(max(_BURST, estimate) for estimate in (once, *self._again.values()))
        self.rounds = rounds or max(TURNS[0], min(TURNS[1], int(SECONDS / total)))
        self.calls = _calls(once)  # of ours in each turn
        self._warm_up = once < _NO_WARM_UP
        self._done = 0

    def before_call(self) -> None:
        """Give the rivals their turn if ours begins one; to be called before every timed call of ours."""
        if self._done % self.calls == 0:
            for name, estimate in self._again.items():
                self._turn(name, estimate)
            settle()
            if self._warm_up:
                self._ours()
        self._done += 1

    def _turn(self, name: str, estimate: float) -> None:
        rival = self._rivals[name]
        settle()
        if estimate < _NO_WARM_UP:
            rival()
        self.seconds[name] += [_timed(rival) for _ in range(_calls(estimate))]


def settle() -> None:
    """Wait until the threads of this process are at rest."""
    deadline = time.perf_counter() + _PATIENCE
    while time.perf_counter() < deadline:
        used = time.process_time()
        time.sleep(_SLICE)
        if time.process_time() - used < _IDLE * _SLICE:
            return


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
    """Return one row a contender: the case, what was called, its times, how many times ours fits in them, origin."""
    return [
        {
            **case,
            "provider": name,
            "version": version(name),
            "median_ms": f"{1e3 * timing.median:.4g}",
            "p20_ms": f"{1e3 * timing.quantile(0.2):.4g}",
            "p80_ms": f"{1e3 * timing.quantile(0.8):.4g}",
            "calls": len(timing.seconds),
            "times_ours": f"{timing.median / timings[ours].median:.3f}",
            **origin,
        }
        for name, timing in timings.items()
    ]


def _timed(call: Contender) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _estimate(call: Contender) -> float:
    """Return the seconds of a call; of a second one where the first is short, since it warmed up."""
    settle()
    first = _timed(call)
    return first if first > LONG / 2 else _timed(call)


def _calls(estimate: float) -> int:
    return max(1, min(_MOST_CALLS, int(_BURST / estimate)))
