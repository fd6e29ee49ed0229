"""Which dimension, how much of each, and whether equal shares are as good: against plain search."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyscale.studies import laws
from tests.studies.laws.test_error import GRID, PRODUCT, SUM, error_of

TEXTBOOK = {"depth": 1, "width": 2, "resolution": 2}


def law_of(truth, *, form, noise=0.0, draws=1, factors=GRID):
    scatter = np.random.default_rng(0).normal(0, noise, len(factors["width"])) if noise else 0
    return laws.fit_error_law(error_of(truth, factors) + scatter, factors, form=form, draws=draws)


def at(truth, **factors):
    return error_of(truth, {name: np.array([x]) for name, x in factors.items()})[0]


@pytest.mark.parametrize(("form", "truth"), [("sum", SUM), ("product", PRODUCT)])
def test_gains_are_derivatives_by_relative_cost(form, truth):
    place = {"depth": 1.5, "width": 1.2, "resolution": 0.9}
    best = laws.best_dimension(law_of(truth, form=form), laws.textbook_cost_law(), **place)
    step = 1e-5  # of relative cost
    for name, k in TEXTBOOK.items():
        more = {**place, name: place[name] * (1 + step) ** (1 / k)}
        assert best.gains[name].value == pytest.approx((at(truth, **place) - at(truth, **more)) / step, rel=2e-3)
    assert best.best == max(best.gains, key=lambda name: best.gains[name].value)
    assert best.error.value == pytest.approx(at(truth, **place), abs=1e-5)
    assert not best.extrapolated
    assert laws.best_dimension(law_of(truth, form=form), laws.textbook_cost_law(), depth=9).extrapolated


def searched(truth, budget, bounds, cost):
    """The least error on a fine grid of the first two dimensions, the third spending the rest."""
    names = list(cost)
    first, second = (np.geomspace(*bounds[name], 400) for name in names[:2])
    d, w = np.meshgrid(first, second, indexing="ij")
    r = (budget / (d ** cost[names[0]] * w ** cost[names[1]])) ** (1 / cost[names[2]])
    fits = (r >= bounds[names[2]][0] * (1 - 1e-9)) & (r <= bounds[names[2]][1] * (1 + 1e-9))
    return float(error_of(truth, {names[0]: d[fits], names[1]: w[fits], names[2]: r[fits]}).min())


@pytest.mark.parametrize(("form", "truth"), [("sum", SUM), ("product", PRODUCT)])
@pytest.mark.parametrize("budget", [0.3, 1.0, 2.0, 8.0, 30.0])
def test_the_best_split_is_what_a_search_finds(form, truth, budget):
    law = law_of(truth, form=form)
    split = laws.best_split(law, laws.textbook_cost_law(), budget)
    factors = {name: factor.value for name, factor in split.factors.items()}
    assert math.prod(factors[name] ** k for name, k in TEXTBOOK.items()) == pytest.approx(budget)
    assert split.error.value == pytest.approx(searched(truth, budget, law.ranges, TEXTBOOK), abs=3e-4)
    for name, (low, high) in law.ranges.items():
        assert low * (1 - 1e-9) <= factors[name] <= high * (1 + 1e-9)
        assert (name in split.at_bound) == (min(abs(factors[name] / low - 1), abs(factors[name] / high - 1)) < 1e-8)
    shares = [share.value for share in split.shares.values()]
    assert math.isnan(shares[0]) if budget == 1 else sum(shares) == pytest.approx(1)


def test_gains_are_equal_where_a_split_is_inside_its_bounds():
    law = law_of(SUM, form="sum")
    wide = dict.fromkeys(law.dimensions, (0.01, 100.0))
    split = laws.best_split(law, laws.textbook_cost_law(), 5, bounds=wide)
    assert split.at_bound == ()
    gains = laws.best_dimension(law, laws.textbook_cost_law(), **{n: f.value for n, f in split.factors.items()}).gains
    assert np.ptp([gain.value for gain in gains.values()]) < 1e-9


@settings(deadline=None, max_examples=25)
@given(
    exponents=st.lists(st.floats(0.3, 2.5), min_size=3, max_size=3),
    scales=st.lists(st.floats(0.02, 0.15), min_size=3, max_size=3),
    budget=st.floats(1.1, 20),
)
def test_no_mixture_beats_the_best_split(exponents, scales, budget):
    names = list(TEXTBOOK)
    truth = {"e_inf": 0.05, **{f"a_{n}": a for n, a in zip(names, scales, strict=True)}}
    truth |= {f"b_{n}": b for n, b in zip(names, exponents, strict=True)}
    assume(error_of(truth, GRID).max() <= 1)
    law = law_of(truth, form="sum")
    bounds = dict.fromkeys(names, (1.0, 50.0))
    best = laws.best_split(law, laws.textbook_cost_law(), budget, bounds=bounds).error.value
    for shares in itertools.product(np.linspace(0, 1, 6), repeat=2):
        rest = 1 - sum(shares)
        if rest >= 0:
            mixed = {n: budget ** (s / TEXTBOOK[n]) for n, s in zip(names, (*shares, rest), strict=True)}
            assert best <= law.predict(**mixed).value + 1e-9


def test_the_one_third_power_is_right_where_all_dimensions_pay_alike():
    """a b / k and b / k equal in every dimension: then equal shares are the optimum, d = s^(1/3), w = r = s^(1/6)."""
    fair = {"e_inf": 0.1, **{f"a_{n}": 0.06 for n in TEXTBOOK}, **{f"b_{n}": 0.5 * k for n, k in TEXTBOOK.items()}}
    verdict = laws.equal_shares(law_of(fair, form="sum", noise=0.001, draws=60), laws.textbook_cost_law(), 4)
    assert verdict.rule == pytest.approx({"depth": 4 ** (1 / 3), "width": 4 ** (1 / 6), "resolution": 4 ** (1 / 6)})
    assert not verdict.beaten
    assert verdict.loss.value == pytest.approx(0, abs=5e-4)
    assert "cannot tell the two apart" in verdict.text
    exact = laws.equal_shares(law_of(fair, form="sum"), laws.textbook_cost_law(), 4)
    assert [share.value for share in exact.best.shares.values()] == pytest.approx([1 / 3] * 3, abs=0.01)


def test_the_one_third_power_is_beaten_where_one_dimension_pays_most():
    unfair = {**SUM, "a_depth": 0.002, "a_resolution": 0.002, "a_width": 0.3}
    verdict = laws.equal_shares(law_of(unfair, form="sum", noise=0.001, draws=60), laws.textbook_cost_law(), 4)
    assert verdict.beaten
    assert verdict.best.shares["width"].value > 0.8
    best = {name: factor.value for name, factor in verdict.best.factors.items()}
    assert verdict.loss.value == pytest.approx(at(unfair, **verdict.rule) - at(unfair, **best), abs=2e-3)
    assert "the rule is beaten" in verdict.text


def test_the_rule_spends_the_budget_of_the_cost_law_it_is_given():
    cost = laws.fit_cost_law(
        [1, 2**0.9, 2**1.7, 2**2.1], {"depth": [1, 2, 1, 1], "width": [1, 1, 2, 1], "resolution": [1, 1, 1, 2]}
    )
    verdict = laws.equal_shares(law_of(SUM, form="sum"), cost, 3)
    assert cost.predict(**verdict.rule).value == pytest.approx(3)
    assert math.log(verdict.rule["depth"]) == pytest.approx(2 * math.log(verdict.rule["width"]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, c: laws.best_split(e, c, 1e4), "budget is 10000, but factors within bounds cost .* to 70.6 times"),
        (lambda e, c: laws.best_split(e, c, -1), "budget must be a positive"),
        (lambda e, c: laws.best_split(e, c, 2, bounds={"height": (1, 2)}), "bounds has 'height'"),
        (
            lambda e, c: laws.best_split(e, c, 2, bounds={"width": (2, 1)}),
            r"bounds\['width'\] must be a positive range",
        ),
        (lambda e, c: laws.equal_shares(e, c, 1), "budget is 1"),
        (lambda e, c: laws.best_dimension(e, laws.textbook_cost_law(["width"])), "cost has dimensions width; expected"),
        (lambda e, c: laws.best_dimension(e, c, height=2), "height is no dimension"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(law_of(SUM, form="sum"), laws.textbook_cost_law())


@pytest.mark.parametrize(
    "call",
    [laws.best_dimension, lambda e, c: laws.best_split(e, c, 2), lambda e, c: laws.equal_shares(e, c, 2)],
    ids=["best_dimension", "best_split", "equal_shares"],
)
def test_what_are_no_laws_is_named(call):
    error, cost = law_of(SUM, form="sum"), laws.textbook_cost_law()
    with pytest.raises(TypeError, match="error is a int; expected the ErrorLaw that a fit returned"):
        call(5, cost)
    with pytest.raises(TypeError, match="cost is a ErrorLaw; expected the CostLaw that a fit returned"):
        call(error, error)


def test_a_cost_that_a_dimension_does_not_raise_gives_it_no_price():
    factors = {"width": [1, 2, 4, 1, 1], "resolution": [1, 1, 1, 2, 4]}
    parameters = laws.fit_cost_law([1, 4, 16, 1, 1], factors)
    error = laws.fit_error_law([0.4, 0.3, 0.25, 0.35, 0.33], factors)
    with pytest.raises(ValueError, match="cost does not grow with resolution"):
        laws.best_dimension(error, parameters)


def test_the_rule_is_about_depth_width_and_resolution():
    x = [1, 2, 3, 4]
    error, cost = laws.fit_error_law([0.4, 0.3, 0.25, 0.22], {"size": x}), laws.fit_cost_law(x, {"size": x})
    with pytest.raises(ValueError, match="error has the dimension 'size'; expected some of depth, width, resolution"):
        laws.equal_shares(error, cost, 2)
