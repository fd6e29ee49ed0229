"""``python -m benchmarks.gpu`` rehearsed without a GPU: the first run on a device must not find a misprint."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as program
from benchmarks.gpu import launches, pairs
from benchmarks.gpu import stopwatch as stopwatches
from benchmarks.gpu.ceilings import Ceilings
from benchmarks.gpu.grams import Case, floor_figures, gram_floor
from benchmarks.gpu.session import Session
from benchmarks.gpu.stopwatch import Stopwatch
from benchmarks.gpu.tables import render
from benchmarks.provenance import provenance
from benchmarks.racing import Timing

ROOT = Path(__file__).resolve().parents[2]
H200 = Ceilings(copy=4.3e12, read=4.2e12, bf16=780e12, tf32=390e12, float64=60e12)


def rehearsal(*arguments):
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def session(**options):
    return Session("cpu", {"commit": "abc"}, Stopwatch("cpu"), seconds=1e-4, **options)


def test_every_section_runs_to_its_table():
    before = sorted((ROOT / "benchmarks" / "results").iterdir())
    done = rehearsal()
    assert done.returncode == 0, done.stdout + done.stderr
    for table in ("ceilings", "compare", "gram", "rbf", "groups", "hsic", "moments", "nuclear"):
        assert f"\n{table}\n" in done.stdout, table
    for provider in (
        "forward passes",
        "all activations kept",
        "pyscale exact",
        "pyscale fast",
        "torch.compile",
        "replay",
    ):
        assert provider in done.stdout, provider
    assert "skipped" not in done.stdout
    assert sorted((ROOT / "benchmarks" / "results").iterdir()) == before


def test_what_does_not_fit_in_time_is_named():
    done = rehearsal("--minutes", "0", "--sections", "ceilings", "pairs")
    assert done.returncode == 0, done.stderr
    assert "skipped  ceilings: out of time" in done.stdout
    assert "skipped  pairs: out of time" in done.stdout
    late = session(deadline=0.0)
    assert list(late.in_time([3, 4], lambda case: f"case {case}")) == []
    assert late.skipped == ["case 3: out of time", "case 4: out of time"]


def test_a_failing_section_costs_the_others_nothing(monkeypatch, capsys):
    def fails(_):
        raise RuntimeError("planted")

    monkeypatch.setitem(program.SECTIONS, "compare", (fails, 1.0))
    assert program.main(["--device", "cpu", "--sections", "compare", "ceilings"]) == 1
    printed = capsys.readouterr()
    assert "FAILED   compare" in printed.out
    assert "bf16" in printed.out
    assert "planted" in printed.err


@pytest.mark.parametrize(
    ("n", "p", "dtype", "products", "microseconds", "bound"),
    [
        (64, 1_000_000, torch.bfloat16, 1, 29.8, "memory"),
        (128, 1_000_000, torch.float32, 3, 126, "arithmetic"),
        (256, 1_000_000, torch.bfloat16, 1, 126, "arithmetic"),
        (1024, 65_536, torch.bfloat16, 1, 99, "arithmetic"),
        (1024, 1_000_000, torch.float32, 3, 4537, "arithmetic"),
        (8192, 65_536, torch.bfloat16, 1, 5727, "arithmetic"),
    ],
)
def test_floors_are_those_of_the_roofline(n, p, dtype, products, microseconds, bound):
    """The figures were worked out by hand from the rates of one H200."""
    floor = gram_floor(Case(n, p, dtype), (products, "bf16"), H200)
    assert 1e6 * floor.seconds == pytest.approx(microseconds, rel=0.01)
    assert floor.bound == bound


def test_a_goal_is_met_or_not():
    floor = H200.floor(moved=43, operations=0, rate="bf16")
    assert floor_figures(floor, 1.25 * floor.seconds, goal=0.8)["met"] == "yes"
    assert floor_figures(floor, 1.26 * floor.seconds, goal=0.8)["met"] == "no"
    assert floor_figures(floor, floor.seconds)["met"] == ""
    assert set(floor_figures(None, 1.0)) == set(floor_figures(floor, 1.0))


def test_rows_of_a_table_have_the_same_columns():
    found = session()
    found.record("table", {"op": "x"}, {"pyscale": Timing((2.0,)), "other": Timing((3.0,))}, {"other": {"note": "hm"}})
    ours, other = found.found["table"]
    assert list(ours) == list(other)
    assert (ours["note"], other["note"], other["times_ours"], ours["commit"]) == ("", "hm", "1.500", "abc")


def test_a_table_aligns_and_leaves_out_what_is_empty():
    rows = [
        {"name": "a", "ms": "10.5", "note": "", "commit": "abc"},
        {"name": "long", "ms": "7", "note": "", "commit": ""},
    ]
    assert render(rows, hidden={"commit"}) == "name    ms\na     10.5\nlong     7"


# ---- what only a GPU has, pretended ----


class Anything:
    """A stream or a graph: all its methods can be called, and it can be entered."""

    cuda_stream = 0

    def __getattr__(self, name):
        return lambda *_: None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_a_graph_is_captured_once_and_replayed(monkeypatch):
    graph, calls = Anything(), []
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, Anything)
    for name in ("stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, lambda _: Anything())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    graph.replay = lambda: calls.append("replay")
    replay = launches.replayed(lambda: calls.append("call"), "cuda")
    assert calls == ["call"] * 4
    replay()
    assert calls[4:] == ["replay"]


def test_the_peak_is_what_the_call_took_beyond_what_was_there(monkeypatch):
    found = session()
    found.device = "cuda"
    for name, value in {"memory_allocated": 5 << 20, "max_memory_allocated": 12 << 20}.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    for name in ("reset_peak_memory_stats", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    assert found.peak_mib(lambda: None) == 7.0


def test_the_origin_of_a_gpus_rows(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    origin = provenance("cuda")
    assert origin["device"] == "NVIDIA H200"
    assert origin["driver"]
    assert {"commit", "date", "cuda", "architectures", "torch"} < set(origin)


@pytest.mark.skipif(find_spec("pyscale._emulated") is None, reason="built without the emulator")
def test_the_kernel_that_the_op_leaves_to_cublas(monkeypatch):
    from pyscale import _emulated

    monkeypatch.setattr(pairs, "_native", _emulated)
    monkeypatch.setattr(torch.cuda, "current_stream", Anything)
    x, y = torch.randn(20, 5), torch.randn(20, 7)
    a, b = (z.mean(dim=0, dtype=torch.float64) for z in (x, y))
    S = torch.ones(5, 7, dtype=torch.float64)
    pairs.own_cross_moments(S, x, a, y, b)
    torch.testing.assert_close(S, 1 + (x - a).T @ (y - b))


class PretendedEvent:
    """An event of a device whose clock shows how many calls it has been given."""

    clock = 0

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.at = PretendedEvent.clock

    def elapsed_time(self, later):
        return 1e3 * (later.at - self.at)


def test_events_enclose_the_call_alone(monkeypatch):
    """Neither the flushing of the cache nor the head start of the queue may count."""

    class Properties:
        L2_cache_size = 64

    def tick(*_):
        PretendedEvent.clock += 1

    def slow():
        tick()
        tick()

    monkeypatch.setattr(torch.cuda, "Event", PretendedEvent)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties)
    monkeypatch.setattr(torch.cuda, "_sleep", tick)
    monkeypatch.setattr(stopwatches.torch, "ones", lambda count, device: torch.empty(count).fill_(1))
    timings = Stopwatch("cuda").race({"fast": tick, "slow": slow})
    assert set(timings["fast"].seconds) == {1.0}
    assert set(timings["slow"].seconds) == {2.0}
    assert len(timings["slow"].seconds) >= stopwatches.LEAST
