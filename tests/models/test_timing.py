"""Latency as a share of another network's: right whatever the machine does meanwhile."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from pyscale.models import Scaling, build, profile
from pyscale.models.timing import latency_share
from tests.models.machines import Machine, on, work_of


def networks():
    shape = {"in_channels": 1, "image_size": 8}
    return build("cifar_resnet8", scaling=Scaling(width=0.5), **shape), build("cifar_resnet8", **shape)


def slower_from(moment):
    return Machine(lambda seconds: 1.0 if seconds < moment else 3.0)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_machine_that_becomes_slower_half_way_gives_the_same_share(monkeypatch, part):
    small, base = networks()
    true = work_of(small) / work_of(base)
    with on(Machine(), monkeypatch) as steady:
        assert latency_share(small, base) == pytest.approx(true)
    with on(slower_from(part * steady.seconds), monkeypatch) as machine:
        assert latency_share(small, base) == pytest.approx(true)
        assert machine.seconds > 1.1 * part * steady.seconds, "it never became slower"


def test_seconds_of_different_times_would_not(monkeypatch):
    small, base = networks()
    with on(Machine(), monkeypatch) as steady:
        alone = profile(base).latency
    with on(slower_from(1.01 * steady.seconds), monkeypatch):
        assert profile(base).latency == pytest.approx(alone)
        assert profile(small).latency / alone == pytest.approx(3 * work_of(small) / work_of(base))


def test_drift_favours_neither(monkeypatch):
    small, base = networks()
    with on(Machine(lambda seconds: 1 + seconds), monkeypatch) as machine:
        assert latency_share(small, base) == pytest.approx(work_of(small) / work_of(base), rel=0.02)
        assert machine.slowness(machine.seconds) > 1.5


def test_single_long_interruptions_do_not_count(monkeypatch):
    small, base = networks()
    bursts = Machine(lambda seconds: 40.0 if int(seconds * 50) % 10 == 0 else 1.0)
    with on(bursts, monkeypatch):
        assert latency_share(small, base) == pytest.approx(work_of(small) / work_of(base))


@pytest.mark.parametrize("moment", [0.11, 0.112, 0.114, 0.116])
def test_one_fast_moment_that_only_one_of_them_had_does_not_count(monkeypatch, moment):
    small, base = networks()
    with on(Machine(lambda seconds: 1.0 if moment < seconds < moment + 0.01 else 3.0), monkeypatch):
        assert latency_share(small, base) == pytest.approx(work_of(small) / work_of(base))


def test_a_network_takes_as_long_as_itself(monkeypatch):
    _, base = networks()
    with on(Machine(), monkeypatch):
        assert latency_share(base, base) == pytest.approx(1.0)


def test_networks_and_random_state_are_left_as_found():
    small, base = (network.train() for network in networks())
    small.linear.eval()
    state = torch.random.get_rng_state()
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    assert latency_share(small, base) > 0
    assert small.training
    assert base.training
    assert not small.linear.training
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in small.state_dict().items())


def test_what_cannot_be_timed_is_refused():
    small, base = networks()
    with pytest.raises(ValueError, match=r"baseline: expected a network on a device that computes, got one on meta"):
        latency_share(small, base.to("meta"))
    with pytest.raises(ValueError, match="image_size: the model carries none"):
        latency_share(torch.nn.Flatten(), small)


BUSY = """
import time
while True:
    end = time.time() + 0.05
    while time.time() < end:
        pass
    time.sleep(0.05)
"""


@pytest.mark.slow
def test_beside_a_busy_process_the_share_stays():
    """A real clock beside another process that takes a core half of the time: within the studies' tolerance."""
    small, base = networks()
    alone = latency_share(small, base)
    busy = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        shares = [latency_share(small, base) for _ in range(5)]
    finally:
        busy.terminate()
        busy.wait()
    assert sorted(shares)[2] == pytest.approx(alone, rel=0.05)
