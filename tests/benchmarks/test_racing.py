"""Turns, rows and their files; and the machine's limits."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

import pytest

from benchmarks import ceilings, racing
from benchmarks.provenance import Others, append_rows, merged, read_rows
from benchmarks.racing import Timing, Turns, rows
from benchmarks.rivals import version


@pytest.fixture
def clock(monkeypatch):
    """Replace time by a clock that only the contenders move."""

    class Clock:
        def __init__(self):
            self.now, self.calls = 0.0, []

        def contender(self, name, seconds):
            def call():
                self.calls.append(name)
                self.now += seconds

            return call

    clock = Clock()
    monkeypatch.setattr(racing.time, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(racing, "settle", lambda: None)
    return clock


def finish(turns, ours):
    """Do what the timing of ours does."""
    for _ in range(turns.rounds * turns.calls):
        turns.before_call()
        ours()


def test_all_take_turns(clock):
    ours, torch, numpy = clock.contender("ours", 1.0), clock.contender("torch", 1.25), clock.contender("numpy", 1.5)
    turns = Turns(ours, {"torch": torch, "numpy": numpy}, rounds=3)
    clock.calls.clear()
    finish(turns, ours)
    assert clock.calls == ["torch", "numpy", "ours"] * 3
    assert turns.seconds == {"torch": [1.25] * 3, "numpy": [1.5] * 3}


def test_short_calls_are_timed_in_a_row_after_one_that_is_not(clock):
    ours, torch = clock.contender("ours", 1 / 256), clock.contender("torch", 1 / 128)
    turns = Turns(ours, {"torch": torch}, rounds=2)
    clock.calls.clear()
    finish(turns, ours)
    assert clock.calls == (["torch"] * 3 + ["ours"] * (1 + turns.calls)) * 2
    assert turns.calls == 5, "of a 256th of a second in a fiftieth"
    assert turns.seconds["torch"] == [1 / 128] * 4


def test_a_rival_far_behind_is_called_once(clock):
    ours, far, near = clock.contender("ours", 2.0), clock.contender("far", 9.0), clock.contender("near", 7.0)
    turns = Turns(ours, {"far": far, "near": near}, rounds=3)
    finish(turns, ours)
    assert clock.calls.count("far") == 1
    assert turns.seconds == {"far": [9.0], "near": [7.0] * 3}


def test_as_many_turns_as_fit(clock):
    def rounds(seconds):
        return Turns(clock.contender("ours", seconds), {}).rounds

    assert rounds(0.001) == racing.TURNS[1]
    assert rounds(racing.SECONDS / 5) == 5
    assert rounds(racing.SECONDS) == racing.TURNS[0]


def test_settling_waits_for_spinning_threads(monkeypatch):
    used = iter([0, 1, 1, 2, 2, 2])  # seconds: busy, busy, at rest
    slices = []
    monkeypatch.setattr(racing.time, "process_time", lambda: next(used))
    monkeypatch.setattr(racing.time, "sleep", slices.append)
    racing.settle()
    assert len(slices) == 3


def test_rows_say_what_was_called_and_how_it_compares():
    ours, torch, floor = rows(
        {"op": "gram"},
        {"pyscale": Timing((2.0, 1.0, 3.0)), "torch x @ x.T": Timing((3.0,)), "forward passes": Timing((1.0,))},
        "pyscale",
        {"commit": "abc"},
    )
    assert list(ours)[:2] == ["op", "provider"]
    assert (ours["median_ms"], ours["p20_ms"], ours["p80_ms"], ours["calls"]) == ("2000", "1000", "3000", 3)
    assert (torch["times_ours"], floor["times_ours"]) == ("1.500", "0.500")
    assert torch["version"] == version("torch")
    assert version("torch")
    assert (floor["version"], version("nobody's")) == ("", "")


def test_new_columns_join_older_rows(tmp_path):
    append_rows("speed", [{"n": 1, "provider": "a", "ms": "2", "commit": "x"}], tmp_path)
    append_rows("speed", [{"n": 2, "provider": "b", "ms": "3", "error": "1e-7", "commit": "y"}], tmp_path)
    path = append_rows("speed", [{"n": 3, "provider": "c", "commit": "z"}], tmp_path)
    columns, found = read_rows(path)
    assert columns == ["n", "provider", "ms", "error", "commit"]
    assert [list(row.values()) for row in found] == [
        ["1", "a", "2", "", "x"],
        ["2", "b", "3", "1e-7", "y"],
        ["3", "c", "", "", "z"],
    ]
    assert list(tmp_path.iterdir()) == [path]
    assert merged(["b"], ["a", "b"]) == ["a", "b"]


def test_ceilings_are_measured(monkeypatch):
    monkeypatch.setattr(ceilings, "_REPEATS", 1)
    found = ceilings.measured(shrink=1000)
    rates = [rate for name in ("float32", "float64", "copy", "read") for rate in getattr(found, name)]
    assert all(rate > 1e8 for rate in rates), "not even a hundred million a second"
    assert [(row["ceiling"], row["cores"]) for row in found.rows({})][:2] == [
        ("float32", 1),
        ("float32", found.threads),
    ]


def test_a_peak_of_a_slow_minute_is_put_right():
    slow = ceilings.Ceilings(
        threads=1, float32=(1.0, 1.0), float64=(1e30, 1e30), bfloat16=(1.0, 1.0), copy=(1, 1), read=(1, 1)
    )
    assert 1e8 < slow.peak("float32") < 1e30
    assert slow.peak("float64") == 1e30


def test_what_others_take_is_told(monkeypatch):
    readings = iter([(100.0, 50.0, 10.0), (110.0, 58.0, 13.0)])
    monkeypatch.setattr(Others, "_seconds", staticmethod(lambda: next(readings, None)))
    others = Others()
    assert others.share() == "0.500", "8 seconds of work in 10, 3 of them ours"
    assert others.share() == ""


def test_others_are_read_from_the_system():
    others = Others()
    time.sleep(0.05)
    if Path("/proc/stat").exists():
        assert 0 <= float(others.share()) <= 1


def test_a_copy_copies_and_takes_time():
    """The figure is of work that is done."""
    source, target = (ctypes.create_string_buffer(bytes([k]) * (1 << 20)) for k in (7, 0))
    start = time.perf_counter()
    rate = ceilings._compiled().copy(target, source, 1 << 20, 2)
    assert target.raw[: 1 << 20] == bytes([7]) * (1 << 20)
    assert rate > 2 * (1 << 20) / (time.perf_counter() - start)


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_it_says_so(monkeypatch, compiler):
    ceilings._compiled.cache_clear()
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(RuntimeError, match=r"set CXX|failed"):
        ceilings._compiled()
