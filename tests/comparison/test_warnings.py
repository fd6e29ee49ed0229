"""Warnings point at the user's line, whichever function was called and however deep what they are about arose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import pyscale as ps
from pyscale.comparison.stored import checkpoint
from tests.comparison.networks import mlp, pictures, vectors


def stored(path, model, batches):
    ps.extract(model, batches, path, progress=False)
    return path


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Comparisons of two things of the same samples, each by all functions that take them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def of(nets, batches):
        paths = [stored(tmp_path / f"{i}.zarr", net, batches) for i, net in enumerate(nets)]
        quiet, models = {"progress": False}, dict(zip("ab", nets, strict=True))
        stores = dict(zip("ab", paths, strict=True))
        return {
            "compare": lambda **options: ps.compare(*nets, batches, **quiet, **options),
            "models": lambda **options: ps.compare_many(models, batches, **quiet, **options),
            "beside": lambda **options: ps.compare_many({**models, "b": paths[1]}, batches, **quiet, **options),
            "stores": lambda **options: ps.compare_stores(*paths, batch_size=8, **quiet, **options),
            "many": lambda **options: ps.compare_many(stores, batch_size=8, **quiet, **options),
        }

    return of


@pytest.mark.parametrize("call", ["compare", "models", "beside", "stores", "many"])
def test_a_batch_that_is_too_small(calls, call):
    compared = calls([mlp(4, 3, seed=0), mlp(4, 3, seed=1)], vectors(8, 8, 2))[call]
    with pytest.warns(UserWarning, match="batch .*has 2 samples") as caught:
        compared()
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("call", ["compare", "models", "beside", "stores", "many"])
def test_grids_that_differ(calls, call):
    nets = [nn.Sequential(nn.Conv2d(3, 2, size)) for size in (3, 2)]
    compared = calls(nets, pictures(8, 8))[call]
    with pytest.warns(UserWarning, match="different grids of positions") as caught:
        compared(features="positions", mode="exact")
    assert [warning.filename for warning in caught] == [__file__]


def test_loaders_that_shuffle(tmp_path):
    nets = {"a": mlp(4, 3, seed=0), "b": mlp(4, 3, seed=1)}
    loaders = {name: DataLoader(torch.cat(vectors(16)), batch_size=8, shuffle=name == "b") for name in nets}
    with pytest.warns(UserWarning, match="shuffles") as caught:
        ps.compare_many(nets, loaders, progress=False)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_state_that_can_not_be_read_or_written(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    x = np.random.default_rng(0).standard_normal((16, 3))
    np.save(tmp_path / "x.npy", x)
    options = {"batch_size": 8, "progress": False}
    (tmp_path / "file").write_text("")
    for compared in (
        lambda cache: ps.compare_stores(tmp_path / "x.npy", tmp_path / "x.npy", cache=cache, **options),
        lambda cache: ps.compare_many({"x": tmp_path / "x.npy"}, cache=cache, **options),
    ):
        with pytest.warns(UserWarning, match="can't be written") as caught:
            compared(tmp_path / "file")
        assert [warning.filename for warning in caught] == [__file__]
