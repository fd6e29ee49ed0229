"""Laws of cost: exponents of true counts, and of made-up ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pyscale.models import Scaling, build, profile
from pyscale.studies import laws

FACTORS = {"depth": [1, 2, 4, 1, 1, 1, 1, 2], "width": [1, 1, 1, 2, 3, 1, 1, 2], "resolution": [1, 1, 1, 1, 1, 2, 3, 2]}


@pytest.mark.parametrize("resampling", ["residuals", "cases"])
def test_exponents_are_those_of_plain_least_squares(resampling):
    rng = np.random.default_rng(0)
    d, w, r = (np.array(FACTORS[name], dtype=float) for name in FACTORS)
    costs = 5e8 * d**0.9 * w**1.8 * r**2.1 * np.exp(rng.normal(0, 0.02, len(d)))
    law = laws.fit_cost_law(costs, FACTORS, resampling=resampling)
    design = np.stack([np.ones(len(d)), np.log(d), np.log(w), np.log(r)], axis=1)
    by_hand = np.linalg.solve(design.T @ design, design.T @ np.log(costs))
    np.testing.assert_allclose([k.value for k in law.exponents.values()], by_hand[1:], rtol=1e-9)
    assert law.parameters["c"].value == pytest.approx(math.exp(by_hand[0]))
    assert all(k.low <= k.value <= k.high for k in law.exponents.values())
    assert law.predict(depth=2, width=1.5).value == pytest.approx(np.exp(by_hand @ [1, math.log(2), math.log(1.5), 0]))
    assert law.worst == pytest.approx(np.abs(costs / np.exp(design @ by_hand) - 1).max())


@pytest.mark.parametrize("resampling", ["residuals", "cases"])
def test_intervals_cover_as_often_as_they_say(resampling):
    """Of 80 % intervals from 100 data sets, 80 % should hold the truth; 4 standard errors of that count are allowed."""
    rng = np.random.default_rng(5)
    w, r = (x.ravel() for x in np.meshgrid([1.0, 1.5, 2, 3, 4], [1.0, 1.3, 1.6, 2], indexing="ij"))
    covered = 0
    for seed in range(100):
        costs = 3e8 * w**1.8 * r**2.1 * np.exp(rng.normal(0, 0.05, len(w)))
        factors = {"width": w, "resolution": r}
        law = laws.fit_cost_law(costs, factors, resampling=resampling, draws=100, confidence=0.8, seed=seed)
        covered += 1.8 in law.exponents["width"]
    assert abs(covered - 80) <= 4 * math.sqrt(100 * 0.8 * 0.2)


def test_true_counts_of_a_network_follow_depth_width_and_resolution():
    """About 1, 2, 2 for multiply-accumulates; 1, 2, 0 for parameters; 1, 1, 2 for activations."""
    expected = {"macs": (1, 2, 2), "parameters": (1, 2, 0), "activations": (1, 1, 2)}
    for cost, exponents in expected.items():
        law = laws.counted_cost_law("cifar_resnet20", cost=cost)
        assert [k.value for k in law.exponents.values()] == pytest.approx(exponents, abs=0.06), cost
        assert law.worst < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("family", ["resnet18", "mobilenet_v2", "efficientnet_b0"])
def test_true_counts_of_the_published_families(family):
    law = laws.counted_cost_law(family)
    assert [k.value for k in law.exponents.values()] == pytest.approx([1, 2, 2], abs=0.15)
    assert law.parameters["c"].value == pytest.approx(profile(build(family), repeats=0).macs, rel=0.1)


def test_counting_is_that_of_profile():
    scaling = Scaling(depth=2, resolution=1.5)
    counted = laws.count_costs("cifar_resnet8", [Scaling(), scaling], num_classes=3, image_size=8)[1]
    real = profile(build("cifar_resnet8", scaling=scaling, num_classes=3, image_size=8), repeats=0)
    assert (counted.macs, counted.parameters, counted.activations) == (real.macs, real.parameters, real.activations)
    assert counted.image_size == 12


def test_one_dimension_alone():
    law = laws.counted_cost_law("cifar_resnet8", dimensions=["resolution"], steps=(0.5, 1, 2))
    assert law.exponents["resolution"].value == pytest.approx(2, abs=0.01)
    assert law.points == 3


def test_the_textbook_law_is_exact():
    law = laws.textbook_cost_law()
    assert law.predict(depth=2, width=3, resolution=2).value == pytest.approx(72)
    assert law.exponents["width"] == laws.Estimate(2, 2, 2)
    assert list(law.to_pandas().index) == ["c", "k_depth", "k_width", "k_resolution"]


@pytest.mark.parametrize(
    ("costs", "factors", "message"),
    [
        ([1, 2], {"width": [1, 1]}, r"factors\['width'\] takes 1 different"),
        ([1.0], {"width": [1]}, "1 points are fewer than the law's 2"),
        ([1, 0], {"width": [1, 2]}, "costs must be positive"),
        ([1, 2, 4], {"width": [1, 2, 4], "depth": [1, 2, 4]}, "width, depth grow together"),
    ],
)
def test_refusals(costs, factors, message):
    with pytest.raises(ValueError, match=message):
        laws.fit_cost_law(costs, factors)


def test_unknown_costs_and_dimensions():
    with pytest.raises(ValueError, match="cost is 'latency'"):
        laws.counted_cost_law("cifar_resnet8", cost="latency")
    with pytest.raises(ValueError, match="dimensions is 'height'"):
        laws.counted_cost_law("cifar_resnet8", dimensions=["height"])
    with pytest.raises(ValueError, match="dimensions is 'height'"):
        laws.textbook_cost_law(["height"])
