"""Minibatch CKA of models against float64 formulas on activations recorded independently."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pyscale as ps
from tests import oracles
from tests.comparison import recorded
from tests.comparison.networks import INPLACE_ROWS, InPlaceNet, mlp, pictures, vectors


def truth(model_x, model_y, batches, rows, columns, shape=recorded.flat, **options):
    xs, ys = (recorded.activations(model, batches) for model in (model_x, model_y))

    def cka(x, y):
        return oracles.minibatch_cka(list(zip(shape(x), shape(y), strict=True)), **options)

    return recorded.pairwise(cka, xs, ys, rows, columns)


@pytest.mark.parametrize("options", [{}, {"kernel": "rbf"}, {"kernel": "rbf", "bandwidth": 0.5}])
def test_every_pair_of_layers_of_networks_that_work_in_place(options):
    x, y = InPlaceNet(6, seed=1), InPlaceNet(9, seed=2)
    batches = pictures(16, 16, 11)
    c = ps.compare(x, y, batches, progress=False, **options)
    assert c.rows == c.columns == INPLACE_ROWS
    np.testing.assert_allclose(c.values, truth(x, y, batches, c.rows, c.columns, **options), atol=1e-5)


def test_float64_models_are_compared_in_float64():
    x, y = InPlaceNet(6, seed=1).double(), InPlaceNet(9, seed=2).double()
    batches = pictures(16, 9, dtype=torch.float64)
    c = ps.compare(x, y, batches, progress=False)
    np.testing.assert_allclose(c.values, truth(x, y, batches, c.rows, c.columns), atol=1e-11)


def test_pooled_features():
    x, y = InPlaceNet(6, seed=1), InPlaceNet(9, seed=2)
    batches = pictures(16, 12)
    c = ps.compare(x, y, batches, features="pool", progress=False)
    np.testing.assert_allclose(c.values, truth(x, y, batches, c.rows, c.columns, recorded.pooled), atol=1e-5)


def test_the_layout_of_activations_in_memory_is_of_no_account():
    model = InPlaceNet()
    batches = pictures(16, 16)
    straight = ps.compare(model, model, batches, progress=False)
    turned = ps.compare(
        model.to(memory_format=torch.channels_last),
        model,
        [b.to(memory_format=torch.channels_last) for b in batches],
        progress=False,
    )
    np.testing.assert_allclose(turned.values, straight.values, atol=1e-6)


@pytest.mark.parametrize("offset", [10, 100, 1000])
def test_large_means_cost_no_digits(offset):
    torch.manual_seed(0)
    x = nn.Sequential(nn.Linear(20, 40), nn.Linear(40, 10))
    y = nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 10))
    for model in (x, y):
        nn.init.constant_(model[0].bias, offset * 0.58)  # the outputs' standard deviation is 0.58
    batches = vectors(64, 64, p=20)
    c = ps.compare(x, y, batches, layers="0", progress=False)
    assert abs(c.values[0, 0] - truth(x, y, batches, ["0"], ["0"])[0, 0]) < 1e-4


def test_large_means_cost_pooled_features_no_digits():
    torch.manual_seed(0)
    x, y = nn.Sequential(nn.Conv2d(3, 30, 3)), nn.Sequential(nn.Conv2d(3, 20, 3))
    for model in (x, y):
        nn.init.constant_(model[0].bias, 90.0)  # about 1000 standard deviations of the pooled features
    batches = pictures(32, 32)
    c = ps.compare(x, y, batches, features="pool", progress=False)
    assert abs(c.values[0, 0] - truth(x, y, batches, ["0"], ["0"], recorded.pooled)[0, 0]) < 1e-4


@pytest.mark.parametrize("scale", [1.0, 0.1, 0.001, 1e-12])
def test_small_activations_are_as_good_as_large_ones(scale):
    model = nn.Linear(20, 40, bias=False)
    nn.init.normal_(model.weight, std=scale)
    twin = nn.Linear(20, 40, bias=False)
    twin.load_state_dict({"weight": model.weight.data.clone()})
    c = ps.compare(model, twin, vectors(32, 32, p=20), progress=False)
    assert c.values[0, 0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models(dtype):
    x, y = mlp(12, 40, 8, seed=1).to(dtype), mlp(12, 30, 8, seed=2).to(dtype)
    batches = [b.to(dtype) for b in vectors(32, 32, p=12)]
    c = ps.compare(x, y, batches, progress=False)
    np.testing.assert_allclose(c.values, truth(x, y, batches, c.rows, c.columns), atol=1e-5)
    assert c.meta["dtype"] == [str(dtype).removeprefix("torch.")]


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_short_last_batch_is_skipped_counted_and_warned_about_once(last):
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 9, 3, seed=2)
    batches = vectors(16, 10, last, 2)
    with pytest.warns(UserWarning, match=f"batch 2 has {last} samples") as caught:
        c = ps.compare(x, y, batches, progress=False)
    assert [warning.filename for warning in caught] == [__file__]
    assert (c.meta["skipped_batches"], c.meta["batches"], c.meta["samples"]) == (2, 2, 26)
    np.testing.assert_allclose(c.values, truth(x, y, batches[:2], c.rows, c.columns), atol=1e-5)


def test_unrelated_wide_activations_score_zero_on_average():
    values = []
    for seed in range(12):
        torch.manual_seed(seed)
        x, y = (nn.Linear(64, 256) for _ in range(2))
        nn.init.normal_(y.weight)
        c = ps.compare(x, y, vectors(32, p=64, seed=seed), loader_y=vectors(32, p=64, seed=seed + 99), progress=False)
        values.append(c.values[0, 0])
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(12)
    assert min(values) < 0  # never clamped
    assert c.chance[0, 0] == 0


def test_stderr_is_the_delete_one_jackknife_over_minibatches():
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 9, 3, seed=2)
    batches = vectors(16, 16, 12, 16, 9)
    c = ps.compare(x, y, batches, progress=False)
    left_out = np.array([truth(x, y, batches[:i] + batches[i + 1 :], c.rows, c.columns) for i in range(len(batches))])
    expected = np.sqrt(4 / 5 * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(c.stderr, expected, rtol=1e-3)
    assert np.isnan(ps.compare(x, y, batches[:1], progress=False).stderr).all()


def test_zscores_use_the_exact_permutation_variance():
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 9, 3, seed=2)
    batches = vectors(16, 12)
    c = ps.compare(x, y, batches, progress=False)
    xs, ys = recorded.activations(x, batches), recorded.activations(y, batches)
    product = variance = 0.0
    for a, b in zip(xs["0"], ys["2"], strict=True):
        U, V = (oracles.u_centred(oracles.kernel_matrix(z)) for z in (a, b))
        n = len(a)
        product += (U * V).sum()
        variance += 2 * (U * U).sum() * (V * V).sum() / (n * (n - 3))
    assert c.zscores[c.rows.index("0"), c.columns.index("2")] == pytest.approx(product / variance**0.5, rel=1e-4)


def test_a_constant_layer_is_nan_and_named():
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 8, 3, seed=2)
    nn.init.constant_(y[0].bias, -1000.0)  # every ReLU of y is dead
    with pytest.warns(UserWarning, match="^layer '1' of model_y, layer '2' of model_y are constant") as caught:
        c = ps.compare(x, y, vectors(16, 16), progress=False)
    assert len(caught) == 1
    for array in (c.values, c.zscores):
        np.testing.assert_array_equal(np.isnan(array), [[False, True, True]] * 3)  # what follows dead ReLUs is constant


def test_max_batches_sees_no_more():
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 9, 3, seed=2)
    batches = vectors(16, 16, 16)
    c = ps.compare(x, y, iter(batches), max_batches=2, progress=False)
    assert c.meta["batches"] == 2
    np.testing.assert_allclose(c.values, truth(x, y, batches[:2], c.rows, c.columns), atol=1e-5)


@pytest.mark.parametrize("scale", [1e12, 1e20])
def test_values_too_large_for_float32_sums_are_summed_in_float64(scale):
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 9, 3, seed=2)
    large = [b * scale for b in vectors(16, 16)]
    c = ps.compare(x, y, large, layers="0", progress=False)
    assert c.values[0, 0] == pytest.approx(truth(x, y, large, ["0"], ["0"])[0, 0], abs=1e-5)


def test_the_same_comparison_twice_gives_the_same_bits():
    x, y = InPlaceNet(6, seed=1), InPlaceNet(9, seed=2)
    batches = pictures(16, 16)
    one, two = (ps.compare(x, y, batches, progress=False) for _ in range(2))
    assert np.array_equal(one.values, two.values)
