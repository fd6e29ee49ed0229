"""Equal shares are judged where networks like theirs were observed, and elsewhere it is said that they were not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale.studies import laws

V1 = laws.PUBLISHED["mobilenet_v1"]


@pytest.fixture(scope="module")
def fitted():
    return laws.fit_error_law(V1.errors, V1.factors, draws=60), V1.cost_law()


def invented(width, resolution, *, form="sum"):
    """Laws of networks at the ends of two ranges and between, whose errors are a sum of powers."""
    points = [(w, r) for w in np.geomspace(*width, 3) for r in np.geomspace(*resolution, 3)]
    w, r = (np.array(column) for column in zip(*points, strict=True))
    factors = {"width": w, "resolution": r}
    errors = np.minimum(0.1 + 0.1 * w**-0.7 + 0.1 * r**-1.2, 1)
    return laws.fit_error_law(errors, factors, form=form, draws=5), laws.fit_cost_law(w**2 * r**2, factors, draws=5)


@pytest.mark.parametrize("budget", [4, 1.0001, 1e9, 1e-3, 0.1])
def test_beyond_the_smallest_and_the_largest_network_nothing_is_tested(fitted, budget):
    verdict = laws.equal_shares(*fitted, budget)
    assert isinstance(verdict, laws.NotTested)
    assert not verdict.tested
    assert not hasattr(verdict, "loss")
    assert "not tested: the budget lies outside the observed networks" in verdict.text
    assert "width" in verdict.text
    assert "%" not in verdict.text
    assert fitted[1].predict(**verdict.rule).value / fitted[1].predict().value == pytest.approx(budget)


def test_the_ends_are_those_of_the_first_dimension_to_run_out(fitted):
    """The smallest V1 pictures are 128 of 224 pixels, which equal shares reach before a quarter of the width."""
    error, cost = fitted
    least, most = laws.equal_share_budgets(error, cost)
    k = {name: exponent.value for name, exponent in cost.exponents.items()}
    assert least == pytest.approx((128 / 224) ** (k["width"] + k["resolution"]))
    assert most == 1
    assert laws.equal_shares(error, cost, least * 1.01).tested
    assert not laws.equal_shares(error, cost, least * 0.99).tested
    assert laws.usual_budgets(error, cost) == (0.25,)


@settings(max_examples=15, deadline=None)
@given(
    width=st.tuples(st.floats(0.1, 0.9), st.floats(1.1, 8)),
    resolution=st.tuples(st.floats(0.1, 0.9), st.floats(1.1, 8)),
    log_budget=st.floats(-8, 8).filter(lambda u: abs(u) > 1e-3),
)
def test_what_is_tested_lies_within_what_was_observed(width, resolution, log_budget):
    error, cost = invented(width, resolution)
    budget = math.exp(log_budget)
    verdict = laws.equal_shares(error, cost, budget)
    least, most = laws.equal_share_budgets(error, cost)
    assert verdict.tested == (least < budget < most)
    if not verdict.tested:
        return
    assert verdict.rule_error.value <= 1
    for name, (low, high) in error.ranges.items():
        for factor in (verdict.rule[name], verdict.best.factors[name].value):
            assert low - 1e-9 <= factor <= high + 1e-9
            assert (factor - 1) * log_budget >= -1e-9, "no dimension to the other side of the base"
    assert verdict.loss.value >= -1e-9


@settings(max_examples=15, deadline=None)
@given(
    width=st.tuples(st.floats(0.1, 0.9), st.floats(1.1, 8)),
    resolution=st.tuples(st.floats(0.1, 0.9), st.floats(1.1, 8)),
)
def test_the_usual_budgets_can_be_tested(width, resolution):
    error, cost = invented(width, resolution)
    budgets = laws.usual_budgets(error, cost)
    assert len(budgets) == 2
    assert 0.25 <= budgets[0] < 1 < budgets[1] <= 4
    assert all(laws.equal_shares(error, cost, budget).tested for budget in budgets)


def test_what_was_scaled_up_only_is_tested_upwards():
    error, cost = invented((1, 4), (1, 3))
    assert laws.usual_budgets(error, cost) == pytest.approx((4,))
    assert not laws.equal_shares(error, cost, 0.25).tested


def test_dimensions_scaled_opposite_ways_test_nothing():
    error, cost = invented((1, 4), (0.25, 1))
    assert laws.usual_budgets(error, cost) == ()
    verdict = laws.equal_shares(error, cost, 2)
    assert verdict.budgets == (1, 1)
    assert "can test no budgets" in verdict.text


def test_one_dimension_has_nothing_to_share():
    x = np.array([0.25, 0.5, 1, 2])
    error, cost = laws.fit_error_law(0.1 + 0.1 / x, {"width": x}, draws=5), laws.fit_cost_law(x**2, {"width": x})
    verdict = laws.equal_shares(error, cost, 2)
    assert not verdict.tested
    assert "the law knows width alone" in verdict.text
    assert laws.usual_budgets(error, cost) == ()


def test_without_residuals_no_interval_is_printed():
    factors = {"width": [1, 2, 1, 2], "resolution": [1, 1, 2, 2]}
    error = laws.fit_error_law([0.4, 0.3, 0.33, 0.25], factors, form="product")
    cost = laws.fit_cost_law([1, 4, 4, 16], factors)
    text = laws.equal_shares(error, cost, 4).text
    assert str(laws.equal_shares(error, cost, 4)) == text
    assert "no interval: as many networks as parameters" in text
    assert "nan" not in text + str(laws.best_dimension(error, cost))
    assert "no residuals say how surely" in str(laws.best_dimension(error, cost))


@pytest.mark.parametrize("budget", [-1, 0, float("nan"), float("inf"), 1])
def test_budgets_that_are_none_are_refused(fitted, budget):
    with pytest.raises(ValueError, match="budget"):
        laws.equal_shares(*fitted, budget)


def test_no_error_above_all_answers_is_predicted(fitted):
    error, cost = fitted
    with pytest.raises(ValueError, match=r"factors: width 0\.001 is too far from .* \(width 0\.25 to 1"):
        laws.best_dimension(error, cost, width=0.001)
    everywhere = dict.fromkeys(error.dimensions, (1e-4, 1))
    with pytest.raises(ValueError, match="too far from the observed networks"):
        laws.best_split(error, cost, 1e-6, bounds=everywhere)
    assert laws.best_dimension(error, cost, width=0.2).extrapolated


def test_a_budget_whose_shares_are_no_numbers_is_refused(fitted):
    tiny = laws.fit_cost_law([1, 2**0.01, 2**0.02], {"width": [1, 2, 1], "resolution": [1, 1, 2]})
    with pytest.raises(ValueError, match=r"budget is 1e\+200, whose equal shares are factors too far from 1"):
        laws.equal_shares(fitted[0], tiny, 1e200)
