"""Exact mode of every metric against float64 formulas on all activations at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pyscale as ps
from tests import oracles
from tests.comparison import recorded
from tests.comparison.networks import INPLACE_ROWS, InPlaceNet, mlp, pictures, vectors

FORMULAS = {
    "cka": oracles.cka,
    "cca": lambda x, y: oracles.canonical_correlations(x, y).mean(),
    "cca_r2": lambda x, y: (oracles.canonical_correlations(x, y) ** 2).mean(),
    "svcca": oracles.svcca,
    "pwcca": lambda x, y: oracles.pwcca(x, y, "x" if x.shape[1] <= y.shape[1] else "y"),
    "procrustes": oracles.procrustes,
}


def everything(model, batches, shape):
    return {name: np.concatenate(shape(parts)) for name, parts in recorded.activations(model, batches).items()}


def truth(metric, model_x, model_y, batches, c, shape=recorded.pooled):
    xs, ys = everything(model_x, batches, shape), everything(model_y, batches, shape)
    return recorded.pairwise(metric, xs, ys, c.rows, c.columns)


def exact(*models_and_loader, **options):
    return ps.compare(*models_and_loader, mode="exact", progress=False, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("metric", FORMULAS)
def test_every_metric_of_every_pair_of_pooled_layers(metric, dtype):
    x, y = InPlaceNet(6, seed=1).to(dtype), InPlaceNet(9, seed=2).to(dtype)
    batches = pictures(40, 40, 17, dtype=dtype)
    c = exact(x, y, batches, metric=metric, features="pool")
    assert c.rows == c.columns == INPLACE_ROWS
    expected = truth(FORMULAS[metric], x, y, batches, c)
    np.testing.assert_allclose(c.values, expected, atol=1e-4 if dtype == torch.float32 else 1e-9)
    assert np.isnan(c.stderr).all()
    assert c.pvalues is None


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_flattened_features_give_cka_of_all_samples_at_once(estimator):
    """Features outnumber samples, and the in-place layers overwrite what came before them."""
    x, y = InPlaceNet(3, seed=1), InPlaceNet(4, seed=2)
    batches = pictures(16, 9, 1, side=4)
    c = exact(x, y, batches, estimator=estimator)
    expected = truth(lambda a, b: oracles.cka(a, b, estimator=estimator), x, y, batches, c, recorded.flat)
    np.testing.assert_allclose(c.values, expected, atol=1e-5)
    assert c.meta["skipped_batches"] == 0


def test_the_split_into_batches_is_of_no_account():
    x, y = InPlaceNet(3, seed=1).double(), InPlaceNet(4, seed=2).double()
    data = pictures(40, dtype=torch.float64)[0]
    whole, parts = (exact(x, y, data.split(n), features="pool") for n in (40, 7))
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-12)


@pytest.mark.parametrize("metric", ["cka", "pwcca"])
def test_one_model_given_twice_runs_once(metric):
    runs = []
    model = InPlaceNet(4, seed=1)
    model.register_forward_pre_hook(lambda module, inputs: runs.append(1))
    batches = pictures(40, 40)
    c = exact(model, model, batches, metric=metric, features="pool")
    assert len(runs) == 2
    np.testing.assert_allclose(c.values, truth(FORMULAS[metric], model, model, batches, c), atol=1e-4)
    runs.clear()
    other = exact(model, model, batches, metric=metric, features="pool", layers="bn", layers_y=["conv", "fc"])
    assert len(runs) == 2
    np.testing.assert_allclose(other.values, truth(FORMULAS[metric], model, model, batches, other), atol=1e-4)


def test_two_loaders():
    model = mlp(4, 8, 3)
    one, two = vectors(16, 16, seed=1), vectors(16, 16, seed=2)
    c = exact(model, model, one, loader_y=two)
    xs, ys = everything(model, one, recorded.flat), everything(model, two, recorded.flat)
    np.testing.assert_allclose(c.values, recorded.pairwise(oracles.cka, xs, ys, c.rows, c.columns), atol=1e-5)


def test_positions_are_rows_and_unequal_grids_are_nan_with_one_warning():
    x, y = InPlaceNet(6, seed=1), InPlaceNet(9, seed=2)
    batches = pictures(6, 5, side=4)
    with pytest.warns(UserWarning, match=r"different grids of positions.*\(4, 4\).*\(2, 2\)") as caught:
        c = exact(x, y, batches, features="positions")
    assert len(caught) == 1
    grids = {"pool": 4, "fc": 1}
    xs, ys = everything(x, batches, recorded.positions), everything(y, batches, recorded.positions)
    for i, row in enumerate(c.rows):
        for j, column in enumerate(c.columns):
            if grids.get(row, 16) == grids.get(column, 16):
                assert c.values[i, j] == pytest.approx(oracles.cka(xs[row], ys[column]), abs=1e-5)
            else:
                assert np.isnan([c.values[i, j], c.chance[i, j], c.zscores[i, j]]).all()


def test_grids_of_as_many_positions_are_still_unequal():
    wide, tall = (nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(size)) for size in ((2, 8), (4, 4)))
    with pytest.warns(UserWarning, match="different grids"):
        c = exact(wide, tall, pictures(8), features="positions", layers="1")
    assert np.isnan(c.values).all()


def test_tokens_are_positions():
    torch.manual_seed(0)
    x, y = nn.Linear(6, 5), nn.Linear(6, 7)
    batches = [torch.randn(4, 10, 6) for _ in range(2)]
    c = exact(x, y, batches, features="positions", metric="cca")
    expected = truth(FORMULAS["cca"], x, y, batches, c, recorded.positions)
    np.testing.assert_allclose(c.values, expected, atol=1e-5)


def test_chance_is_the_mean_over_permutations():
    x, y = InPlaceNet(6, seed=1), InPlaceNet(9, seed=2)
    batches = pictures(30, 20)
    c = exact(x, y, batches, features="pool", estimator="biased")
    np.testing.assert_allclose(c.chance, truth(oracles.permutation_mean_cka, x, y, batches, c), atol=1e-5)
    assert (exact(x, y, batches, features="pool").chance == 0).all()
    r2 = exact(x, y, batches, features="pool", metric="cca_r2", layers="conv")
    assert r2.chance[0, 0] == pytest.approx(9 / 49)
    assert np.isnan(exact(x, y, batches, features="pool", metric="cca", layers="conv").chance).all()


def test_zscores():
    x, y = InPlaceNet(6, seed=1), InPlaceNet(9, seed=2)
    batches = pictures(30, 20)
    c = exact(x, y, batches, features="pool")
    np.testing.assert_allclose(c.zscores, c.values * np.sqrt(50 * 47 / 2), rtol=1e-9)
    biased = exact(x, y, batches, features="pool", estimator="biased")
    np.testing.assert_allclose(biased.zscores, c.zscores, rtol=1e-9)
    assert np.isnan(exact(x, y, batches, features="pool", metric="svcca").zscores).all()


def test_co_moments_that_would_not_fit_are_refused_before_they_are_allocated():
    x, y = InPlaceNet(6, seed=1), InPlaceNet(9, seed=2)
    with pytest.raises(ValueError, match=r"memory allows 2 MiB.*'conv' of model_y \(576 features\).*pool.*minibatch"):
        exact(x, y, pictures(8, 8), memory="2MiB")
    exact(x, y, pictures(8, 8), features="pool", memory="2MiB")


def test_a_constant_layer_is_nan_and_named():
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 8, 3, seed=2)
    nn.init.constant_(y[0].bias, -1000.0)
    with pytest.warns(UserWarning, match="^layer '1' of model_y, layer '2' of model_y are constant") as caught:
        c = exact(x, y, vectors(16, 16))
    assert len(caught) == 1
    np.testing.assert_array_equal(np.isnan(c.values), [[False, True, True]] * 3)  # what follows dead ReLUs is constant


def test_too_few_samples_for_cca_are_warned_about_with_the_numbers():
    x, y = nn.Linear(9, 8), nn.Linear(9, 7)
    with pytest.warns(UserWarning, match=r"8 \+ 7 > n - 1 = 11"):
        c = exact(x, y, vectors(12, p=9), metric="cca")
    assert c.values[0, 0] > 0.5


def test_too_few_samples_at_all():
    x = nn.Linear(4, 3)
    with pytest.raises(ValueError, match="3 samples were seen; at least 4"):
        exact(x, nn.Linear(4, 3), vectors(2, 1))
    with pytest.raises(ValueError, match="1 samples were seen; at least 2"):
        exact(x, nn.Linear(4, 3), vectors(1), estimator="biased")


def test_a_biased_or_exact_metric_needs_no_mode_spelled_out():
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 8, 3, seed=2)
    modes = {
        metric: ps.compare(x, y, vectors(40), metric=metric, progress=False).meta["mode"]
        for metric in ("cka", "procrustes")
    }
    assert modes == {"cka": "minibatch", "procrustes": "exact"}
    assert ps.compare(x, y, vectors(40), estimator="biased", progress=False).meta["mode"] == "exact"
