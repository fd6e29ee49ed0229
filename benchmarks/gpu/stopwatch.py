"""Timing on a device: rivals in turns, cold cache, the device's own clock.

A kernel of tens of microseconds ends before Python has queued the next, so with :meth:`Stopwatch.race` the device first
sleeps for as long as queueing takes, and events are recorded around the work alone. Between repeats the second-level
cache is filled by *reading* a large buffer: written, its lines would be carried back to memory on the measured kernel's
time. What a user waits for, Python included, is :meth:`Stopwatch.race_on_the_wall`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

from benchmarks import racing
from benchmarks.racing import Contender, Timing

SECONDS = 0.15  # that a contender may take, all rounds together
LEAST, MOST = 5, 50  # rounds
_CYCLES = 2e9  # a second, at least as many as any GPU's clock makes
_LONGEST_SLEEP = 5e-3  # seconds; a contender that takes Python longer is no kernel
_CACHES = 4  # the buffer that is read, in second-level caches


class Stopwatch:
    """Times calls on one device.

    Args:
        device: "cuda", or "cpu" to rehearse without one.
    """

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        if self._cuda:
            cache = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
            self._buffer = torch.ones(_CACHES * cache // 4, device=device)
        self.wait: Callable[[], None] = torch.cuda.synchronize if self._cuda else lambda: None

    def race(self, contenders: Mapping[str, Contender], seconds: float = SECONDS) -> dict[str, Timing]:
        """Return each contender's seconds on the device, queueing excluded, from a cold cache."""
        if not self._cuda:
            return self.race_on_the_wall(contenders, seconds)
        queueing = {name: self._warm_up(call) for name, call in contenders.items()}
        events: dict[str, list[tuple[torch.cuda.Event, torch.cuda.Event]]] = {name: [] for name in contenders}
        rounds = self._rounds(contenders, seconds)
        for _ in range(rounds):
            for name, call in contenders.items():
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                self._buffer.max()
                torch.cuda._sleep(int(_CYCLES * min(1.5 * queueing[name], _LONGEST_SLEEP)))
                begin.record()
                call()
                end.record()
                events[name].append((begin, end))
            self.wait()
        return {name: Timing(tuple(a.elapsed_time(b) / 1e3 for a, b in pairs)) for name, pairs in events.items()}

    def race_on_the_wall(self, contenders: Mapping[str, Contender], seconds: float = SECONDS) -> dict[str, Timing]:
        """Return each contender's seconds until its result is there, Python and queueing included."""
        for call in contenders.values():
            self._warm_up(call)
        return racing.race(contenders, rounds=self._rounds(contenders, seconds), wait=self.wait)

    def _warm_up(self, call: Contender) -> float:
        """Call twice; return how long the second took to queue."""
        call()
        self.wait()
        start = time.perf_counter()
        call()
        queued = time.perf_counter() - start
        self.wait()
        return queued

    def _rounds(self, contenders: Mapping[str, Contender], seconds: float) -> int:
        start = time.perf_counter()
        for call in contenders.values():
            call()
        self.wait()
        one = time.perf_counter() - start
        return max(LEAST, min(MOST, int(seconds * len(contenders) / one)))
