"""``extract`` and ``compare_stores`` under torchrun: the store of one process, and its results."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pyscale as ps
from tests.distributed.launching import ranks_apart, torchrun
from tests.distributed.scenarios import loader, networks
from tests.distributed.storing import COMPARISONS, Deadly, compared, contents, extracted

pytest.importorskip("numcodecs")
pytestmark = pytest.mark.filterwarnings("ignore")

SIZES = [pytest.param(2, id="2 processes"), pytest.param(4, id="4 processes", marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=SIZES)
def together(request, tmp_path_factory):
    """The folder that one torchrun wrote to, and what every rank found."""
    folder = tmp_path_factory.mktemp("together")
    torchrun(request.param, "tests.distributed.storing", folder)
    return folder, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(request.param)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    extracted(folder)
    return folder


def test_the_store_has_the_bytes_of_one_process(together, alone):
    folder, ranks = together
    for name in ("x.zarr", "y.zarr"):
        assert contents(folder / name) == contents(alone / name)
    assert all(rank["samples"] == rank["again"] == 70 for rank in ranks)


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_rank_gets_what_one_process_gets(together, alone, name):
    _, ranks = together
    expected = compared(alone, **COMPARISONS[name])
    found = [ps.Comparison.from_state(rank[name]) for rank in ranks]
    assert all(other == found[0] for other in found)
    for array in ("values", "stderr", "chance", "zscores", "pvalues"):
        mine, theirs = getattr(found[0], array), getattr(expected, array)
        assert (mine is None) == (theirs is None)
        if theirs is not None:
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-11, err_msg=array)
    assert found[0].meta["processes"] == len(ranks)
    assert found[0].meta["samples"] == expected.meta["samples"] == 70


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_and_the_store_is_taken_up(tmp_path):
    for deadly, codes in (("yes", [0, -9]), ("", [0, 0])):
        processes = ranks_apart(
            2, "tests.distributed.storing", tmp_path, "deadly", PYSCALE_PEER_TIMEOUT="4", DEADLY=deadly
        )
        outputs = [process.communicate(timeout=100) for process in processes]
        assert [process.returncode for process in processes] == codes, outputs
        assert ("failed rank 1 of 2" in outputs[0][0]) == bool(deadly)
    ps.extract(Deadly(*networks()[0]), loader(70, 7), tmp_path / "one.zarr", progress=False)
    assert contents(tmp_path / "deadly.zarr") == contents(tmp_path / "one.zarr")
