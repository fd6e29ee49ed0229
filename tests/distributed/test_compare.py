"""``compare`` under torchrun, by real processes over gloo: every rank returns what one process would have."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import torch

import pyscale as ps
from tests.distributed.launching import torchrun
from tests.distributed.scenarios import FAULTS, SCENARIOS

pytestmark = pytest.mark.filterwarnings("ignore")

SIZES = [pytest.param(2, id="2 processes"), pytest.param(4, id="4 processes", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=SIZES)
def ranks(request, tmp_path_factory):
    """What every rank of one torchrun found."""
    folder = tmp_path_factory.mktemp("ranks")
    torchrun(request.param, "tests.distributed.scenarios", folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(request.param)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_rank_gets_what_one_process_gets(ranks, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            expected = SCENARIOS[name](0, 1)
        finally:
            torch.set_num_threads(threads)
    found = [ps.Comparison.from_state(rank[name]) for rank in ranks]
    assert all(other == found[0] for other in found)  # to the bit, date included
    result = found[0]
    assert (result.rows, result.columns) == (expected.rows, expected.columns)
    for array in ("values", "stderr", "chance", "zscores", "pvalues"):
        mine, theirs = getattr(result, array), getattr(expected, array)
        if theirs is None:
            assert mine is None
        else:
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11, err_msg=array)
    counted = ("samples", "batches", "skipped_batches", "skipped_layers", "dtype")
    assert {key: result.meta[key] for key in counted} == {key: expected.meta[key] for key in counted}
    assert result.meta["processes"] == len(ranks)
    assert expected.meta["processes"] == 1


def test_everything_else_is_left_as_it_was(ranks):
    assert all(rank["random numbers as before"] and rank["no group is left"] for rank in ranks)


def test_a_comparison_may_be_one_process_own(ranks):
    assert [rank["alone"] for rank in ranks] == list(range(1, len(ranks) + 1))


EXPECTED = {  # by whichever of the ranks that are wrong is first to say so
    "NaN": r"ValueError: activations of layer '0' of model_x in batch 1 hold",
    "other weights": r"ValueError: compare: the sum of bits of model_x's 1.weight is",
    "other options": r"ValueError: compare: seed is (\d) on rank \1 and 0 on rank 0",
    "shares not told": r"ValueError: the (minibatches|order) of loader differ between processes",
    "nothing": r"ValueError: loader is empty",
    "other length": r"ValueError: compare: loaders is 'loader' on rank \d and 'loader, loader_y' on rank 0",
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_fails_on_one_rank_fails_on_all_with_its_message(ranks, name):
    messages = [rank[name] for rank in ranks]
    assert any(re.match(EXPECTED[name], message) for message in messages), messages
    for message in messages:
        told = re.sub(r"^PeerError: rank \d of \d \(on [^)]+\) failed: ", "", message)
        assert re.match(EXPECTED[name], told), messages
