"""Chance levels against the mean over permutations, and against the closed forms for Gaussian data."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

import pyscale as ps
from pyscale.metrics import chance_level
from tests import oracles
from tests.metrics.samples import correlated


@pytest.mark.parametrize(("p", "q"), [(2, 1), (9, 7)])
def test_biased_cka_is_the_mean_over_all_permutations(p, q):
    x, y = correlated(p, 5, p, q)
    every = [oracles.cka(x, y[list(order)], "linear", "biased") for order in permutations(range(5))]
    assert ps.chance(x, y, estimator="biased") == pytest.approx(np.mean(every), rel=1e-12)


def test_unbiased_cka_is_zero_over_all_permutations():
    x, y = correlated(1, 5, 4, 3)
    every = [oracles.cka(x, y[list(order)]) for order in permutations(range(5))]
    assert np.mean(every) == pytest.approx(0, abs=1e-12)
    assert ps.chance(x, y) == 0.0


def test_r2_of_cca_is_the_mean_over_all_permutations():
    x, y = correlated(2, 6, 2, 1)
    every = [(oracles.canonical_correlations(x, y[list(order)]) ** 2).mean() for order in permutations(range(6))]
    assert ps.chance(x, y, metric="cca_r2") == pytest.approx(np.mean(every), rel=1e-12)


@pytest.mark.parametrize(
    ("n", "p", "expected"), [(300, 300, 0.5), (100, 1000, 0.909), (50, 5000, 0.990), (512, 64, 0.111)]
)
def test_gaussian_data(n, p, expected):
    x, y = np.random.default_rng(n).standard_normal((2, n, p))
    assert ps.chance(x, y, estimator="biased") == pytest.approx(expected, abs=0.005)
    assert ps.cka(x, y, estimator="biased") == pytest.approx(expected, abs=0.02)


def test_padded_weights_reach_their_published_similarity_by_chance():
    """Independent noise in the shapes of two heads, padded with zero rows: the .1907 behind a published .2063."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1408, 352))
    y = np.zeros((1408, 320))
    y[64:1344] = rng.standard_normal((1280, 320))
    assert ps.chance(x, y, estimator="biased") == pytest.approx(0.1907, abs=0.003)
    assert ps.cka(x, y, estimator="biased") == pytest.approx(0.1907, abs=0.005)
    assert abs(ps.cka(x, y)) < 0.005


def test_other_metrics_have_no_closed_form():
    x, y = correlated(3, 20, 3, 4)
    for metric in ("cca", "svcca", "pwcca", "procrustes"):
        assert np.isnan(ps.chance(x, y, metric=metric))


@pytest.mark.parametrize("metric", chance_level.METRICS)
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_levels_of_many_sets_are_those_of_every_pair(metric, estimator):
    xs = [torch.from_numpy(x) for p in (3, 7, 40) for x in correlated(p, 20, p, 2)]
    found = chance_level.chance_levels(xs, xs[:4], metric=metric, estimator=estimator)
    each = [[ps.chance(x, y, metric=metric, estimator=estimator) for y in xs[:4]] for x in xs]
    np.testing.assert_allclose(found, each, rtol=1e-14)


@pytest.mark.parametrize(("metric", "found_once"), [("cka", "_spread"), ("cca_r2", "_whitened")])
def test_what_is_taken_of_a_set_is_found_once_however_many_it_is_with(monkeypatch, metric, found_once):
    calls = []
    original = getattr(chance_level, found_once)
    monkeypatch.setattr(chance_level, found_once, lambda x, *rest: (calls.append(len(x)), original(x, *rest))[1])
    xs = [torch.from_numpy(x) for x in np.random.default_rng(0).standard_normal((5, 20, 3))]
    chance_level.chance_levels(xs, xs[:3], metric=metric, estimator="biased")
    assert len(calls) == 8


def test_kinds_and_bad_input():
    x, y = correlated(4, 20, 3, 4)
    assert type(ps.chance(x, y)) is float
    tensor = ps.chance(torch.from_numpy(x).float(), torch.from_numpy(y), estimator="biased")
    assert (tensor.dtype, tensor.shape) == (torch.float64, ())
    with pytest.warns(UserWarning, match="^x is constant to rounding") as caught:
        assert np.isnan(ps.chance(np.ones((20, 2)), y))
    assert caught[0].filename == __file__
    with pytest.raises(ValueError, match="metric is 'gulp'; expected one of 'cka'"):
        ps.chance(x, y, metric="gulp")
    with pytest.raises(ValueError, match="x has 3 samples; the chance level of cka needs at least 4"):
        ps.chance(x[:3], y[:3])
    with pytest.raises(ValueError, match="values of y hold NaN"):
        ps.chance(x, y * np.nan)
