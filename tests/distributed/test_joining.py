"""Which processes belong together, where each computes, and how long a silent one is believed to live."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from pyscale.distributed import apart, gathered, is_first, local_device, local_size
from pyscale.distributed.joining import launched, peer_timeout

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


@pytest.fixture
def torchrun(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)


def test_without_torchrun_there_is_one_process():
    assert (launched(), is_first(), local_size(), local_device("cuda")) == (False, True, 1, "cuda")
    with gathered() as crew:
        assert (crew.alone, crew.first, crew.rank, crew.size) == (True, True, 0, 1)
        assert crew.broadcast({"a": 1}) == crew.on_first(lambda: {"a": 1}) == {"a": 1}
        assert crew.reduce(5, None) == 5
        crew.agree("nothing", {"a": 1})
        crew.arrive("here")
        crew.check()


def test_torchrun_is_seen_and_a_process_may_be_apart(torchrun, monkeypatch):
    assert (launched(), is_first(), local_size()) == (True, False, 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert local_device("cuda") == torch.device("cuda", 1)
    assert local_device("cuda:0") == "cuda:0"
    with apart(), gathered() as crew:
        assert crew.alone
    with gathered(alone=True) as crew:
        assert crew.alone


def test_processes_that_a_rank_starts_are_no_ranks(torchrun):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(launched).result() is False


def test_the_time_that_a_silent_rank_is_given(monkeypatch):
    monkeypatch.delenv("PYSCALE_PEER_TIMEOUT", raising=False)
    assert (peer_timeout(), peer_timeout(2)) == (60.0, 2.0)
    monkeypatch.setenv("PYSCALE_PEER_TIMEOUT", "7.5")
    assert (peer_timeout(), peer_timeout(2)) == (7.5, 2.0)
    with pytest.raises(ValueError, match="timeout is -1; expected a number of seconds above 0"):
        peer_timeout(-1)
    monkeypatch.setenv("PYSCALE_PEER_TIMEOUT", "soon")
    with pytest.raises(ValueError, match="PYSCALE_PEER_TIMEOUT is 'soon'; expected a number of seconds"):
        peer_timeout()
