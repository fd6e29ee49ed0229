"""``fit`` under torchrun, by real processes over gloo: one training, the same on every rank and in one process."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.distributed.launching import ranks_apart, torchrun
from tests.distributed.trainings import TRAININGS, data, described, fit, network

SIZES = [pytest.param(2, id="2 processes"), pytest.param(4, id="4 processes", marks=pytest.mark.slow)]
FILES = ["config.json", "history.csv", "result.json", "weights.pt"]


@pytest.fixture(scope="module", params=SIZES)
def ranks(request, tmp_path_factory):
    """What every rank of one torchrun found."""
    folder = tmp_path_factory.mktemp("ranks")
    torchrun(request.param, "tests.distributed.trainings", folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(request.param)]


def numbers(history):
    """Return a history without the seconds, which are the clock's."""
    return np.array([[value for name, value in row.items() if name != "seconds"] for row in history])


@pytest.mark.parametrize("name", TRAININGS)
def test_every_rank_returns_the_same(ranks, name):
    first = ranks[0][name]
    for other in (rank[name] for rank in ranks[1:]):
        assert all(torch.equal(other["weights"][key], weight) for key, weight in first["weights"].items())
        assert (other["history"], other["accuracy"]) == (first["history"], first["accuracy"])


@pytest.mark.parametrize("name", [name for name in TRAININGS if name != "batch normalisation"])
def test_it_is_what_one_process_returns(ranks, name):
    expected, found = described(TRAININGS[name](0, None)), ranks[0][name]
    for key, weight in expected["weights"].items():
        torch.testing.assert_close(found["weights"][key], weight, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numbers(found["history"]), numbers(expected["history"]), rtol=1e-5)
    assert found["accuracy"] == expected["accuracy"]  # every held-out picture once


def test_with_batch_normalisation_the_pictures_are_still_counted_once(ranks):
    accuracy = ranks[0]["batch normalisation"]["accuracy"]
    assert accuracy["total"] == 3
    assert [c["total"] for c in accuracy["per_class"]] == [1, 1, 1]


@pytest.mark.parametrize("name", TRAININGS)
def test_a_finished_run_is_loaded_on_every_rank_whatever_disk_it_sees(ranks, name):
    for rank in ranks:
        assert rank[f"{name} again"]["resumed_at"] == 2
        for key, weight in ranks[0][name]["weights"].items():
            assert torch.equal(rank[f"{name} again"]["weights"][key], weight)


def test_only_rank_0_writes(ranks):
    assert ranks[0]["files of pictures"] == FILES
    assert all(rank[f"files of {name}"] == [] for rank in ranks[1:] for name in TRAININGS)


def run_to_the_end(out, deadly):
    processes = ranks_apart(2, "tests.distributed.trainings", out, deadly, PYSCALE_PEER_TIMEOUT="5")
    outputs = [process.communicate(timeout=150) for process in processes]
    return [process.returncode for process in processes], outputs


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_and_the_run_is_taken_up(tmp_path):
    codes, outputs = run_to_the_end(tmp_path / "run", "deadly")
    assert codes == [0, -9], outputs
    assert "failed rank 1 of 2" in outputs[0][0]
    assert (tmp_path / "run" / "checkpoint.ckpt").exists()
    codes, outputs = run_to_the_end(tmp_path / "run", "alive")
    assert codes == [0, 0], outputs
    found = [torch.load(tmp_path / f"run.{rank}.pt", weights_only=True) for rank in range(2)]
    assert [rank["resumed_at"] for rank in found] == [1, 1]
    expected = described(fit(network(), data(), epochs=3))
    for key, weight in expected["weights"].items():
        torch.testing.assert_close(found[0]["weights"][key], weight, rtol=1e-5, atol=1e-6)
    assert len(found[1]["history"]) == 3
