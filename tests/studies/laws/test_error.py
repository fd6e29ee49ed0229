"""Laws of error: known ones are found again, intervals cover, and what the points cannot say is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyscale.studies import laws

GRID = {
    name: factors.ravel()
    for name, factors in zip(
        ("depth", "width", "resolution"),
        np.meshgrid([1, 2, 4], [0.5, 1, 2, 3], [0.6, 1, 1.4], indexing="ij"),
        strict=True,
    )
}
SUM = {
    "e_inf": 0.08,
    "a_depth": 0.05,
    "a_width": 0.12,
    "a_resolution": 0.06,
    "b_depth": 1.4,
    "b_width": 0.8,
    "b_resolution": 1.1,
}
PRODUCT = {"e_inf": 0.1, "a": 0.2, "b_depth": 0.2, "b_width": 0.5, "b_resolution": 0.4}


def error_of(truth, factors):
    """The law, written out term by term."""
    e = np.full(len(next(iter(factors.values()))), truth["e_inf"])
    if "a" in truth:
        return e + truth["a"] * np.prod([x ** -truth[f"b_{name}"] for name, x in factors.items()], axis=0)
    for name, x in factors.items():
        e = e + truth[f"a_{name}"] * x ** -truth[f"b_{name}"]
    return e


@pytest.mark.parametrize(("form", "truth"), [("sum", SUM), ("product", PRODUCT)])
def test_an_exact_law_is_found_again(form, truth):
    law = laws.fit_error_law(error_of(truth, GRID), GRID, form=form, draws=5)
    assert {name: p.value for name, p in law.parameters.items()} == pytest.approx(truth, rel=1e-3)
    assert law.spread < 1e-6
    assert law.at_bound == ()
    assert law.ranges["width"] == pytest.approx((0.5, 3))
    at = {"depth": 1.7, "width": 1.2, "resolution": 0.9}
    expected = error_of(truth, {name: np.array([x]) for name, x in at.items()})[0]
    assert law.predict(**at).value == pytest.approx(expected, abs=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    e_inf=st.floats(0.02, 0.3),
    a=st.floats(0.05, 0.4),
    b=st.floats(0.2, 3),
    unit=st.sampled_from([1e-3, 1.0, 1e9]),
)
def test_one_dimension_in_any_unit(e_inf, a, b, unit):
    """Factors, or multiply-accumulates: the unit changes nothing but a."""
    x = np.geomspace(0.25, 8, 9)
    y = e_inf + a * x**-b
    assume(y.max() <= 1)
    law = laws.fit_error_law(y, {"size": x}, draws=1)
    scaled = laws.fit_error_law(y, {"size": x * unit}, draws=1)
    for found in (law, scaled):
        assert found.parameters["e_inf"].value == pytest.approx(e_inf, abs=2e-3)
        assert found.exponents["size"].value == pytest.approx(b, rel=0.02)
    assert scaled.predict(size=2 * unit).value == pytest.approx(e_inf + a * 2**-b, abs=1e-4)


@pytest.mark.parametrize(("form", "truth"), [("sum", SUM), ("product", PRODUCT)])
@pytest.mark.parametrize("resampling", ["residuals", "cases"])
def test_with_noise_the_truth_is_in_the_intervals(form, truth, resampling):
    """In all but one at most: they miss 5 % of the time."""
    noise = np.random.default_rng(3).normal(0, 0.002, len(GRID["width"]))
    law = laws.fit_error_law(error_of(truth, GRID) + noise, GRID, form=form, resampling=resampling, draws=60)
    missed = [name for name, value in truth.items() if value not in law.parameters[name]]
    assert len(missed) <= 1, missed
    assert law.spread == pytest.approx(0.002, rel=0.5)
    assert all(p.low <= p.value <= p.high for p in law.parameters.values())


def test_intervals_cover_as_often_as_they_say():
    """Of 80 % intervals from 60 data sets, 80 % should hold the truth; 4 standard errors of that count are allowed."""
    x = np.geomspace(0.25, 4, 12)
    rng = np.random.default_rng(11)
    covered = 0
    for seed in range(60):
        y = 0.1 + 0.2 * x**-0.7 + rng.normal(0, 0.004, len(x))
        law = laws.fit_error_law(y, {"width": x}, draws=60, confidence=0.8, seed=seed)
        covered += 0.1 + 0.2 in law.predict(width=1)
    assert abs(covered - 48) <= 4 * math.sqrt(60 * 0.8 * 0.2)


def test_the_same_seed_gives_the_same_intervals():
    y = error_of(PRODUCT, GRID) + np.random.default_rng(0).normal(0, 0.003, len(GRID["width"]))
    one, same, other = (laws.fit_error_law(y, GRID, form="product", draws=20, seed=seed) for seed in (1, 1, 2))
    assert one.parameters == same.parameters
    assert one.parameters["b_width"].value == other.parameters["b_width"].value
    assert one.parameters["b_width"] != other.parameters["b_width"]


def test_as_many_points_as_parameters_leave_no_interval():
    law = laws.fit_error_law([0.4, 0.3, 0.25], {"width": [0.5, 1, 2]})
    assert law.predict(width=1).value == pytest.approx(0.3, abs=1e-6)
    assert math.isnan(law.parameters["b_width"].low)
    assert math.isnan(law.spread)
    assert math.isnan(law.aic)


def test_a_floor_that_is_not_there_is_said_to_be_at_its_bound():
    x = np.geomspace(0.25, 4, 8)
    law = laws.fit_error_law(0.3 * x**-0.4, {"width": x}, draws=2)
    assert law.at_bound == ("e_inf",)


@pytest.mark.parametrize(
    ("errors", "factors", "options", "message"),
    [
        ([0.4, 0.3], {"width": [1, 2]}, {}, "2 points are fewer than the law's 3 parameters"),
        (
            [0.4, 0.3, 0.2, 0.2],
            {"width": [1, 2, 3, 4], "depth": [1, 2, 2, 1]},
            {},
            "4 points are fewer than the law's 5",
        ),
        (
            [0.4, 0.3, 0.2, 0.2],
            {"width": [1, 2, 2, 1]},
            {},
            r"factors\['width'\] takes 2 different values; .* at least 3",
        ),
        ([0.4, 0.3, 0.2, 0.2, 0.1], {"w": [1, 2, 3, 4, 5], "d": [1, 4, 9, 16, 25]}, {}, "w, d grow together"),
        ([29.1, 30, 32], {"width": [1, 2, 3]}, {}, "shares in .0, 1., not percent; got 29.1 to 32"),
        ([0.4, 0.3, math.nan], {"width": [1, 2, 3]}, {}, "errors must be a list of finite numbers"),
        ([0.4, 0.3, 0.2], {"width": [1, 2]}, {}, r"factors\['width'\] has shape \(2,\); expected \(3,\)"),
        ([0.4, 0.3, 0.2], {"width": [1, 2, 0]}, {}, "must be positive and finite"),
        ([0.4, 0.3, 0.2], {}, {}, "factors is empty"),
        ([0.4, 0.3, 0.2], {"width": [1, 2, 3]}, {"form": "log"}, "form is 'log'"),
        ([0.4, 0.3, 0.2], {"width": [1, 2, 3]}, {"resampling": "jackknife"}, "resampling must be"),
        ([0.4, 0.3, 0.2], {"width": [1, 2, 3]}, {"draws": 0}, "draws must be"),
        ([0.4, 0.3, 0.2], {"width": [1, 2, 3]}, {"confidence": 95}, "confidence must lie"),
    ],
)
def test_refusals(errors, factors, options, message):
    with pytest.raises(ValueError, match=message):
        laws.fit_error_law(errors, factors, **options)


def test_predictions_ask_for_known_dimensions():
    law = laws.fit_error_law([0.4, 0.3, 0.25], {"width": [0.5, 1, 2]})
    with pytest.raises(ValueError, match="depth is no dimension of this law; expected width"):
        law.predict(depth=2)
    with pytest.raises(ValueError, match="width must be one positive"):
        law.predict(width=-1)


def test_tables():
    law = laws.fit_error_law([0.4, 0.3, 0.25, 0.22], {"width": [0.5, 1, 2, 4]}, draws=5)
    table = law.to_pandas()
    assert list(table.index) == ["e_inf", "a_width", "b_width"]
    assert table.loc["b_width", "value"] == law.exponents["width"].value


def test_what_are_no_numbers_is_named():
    table = laws.PUBLISHED["mobilenet_v1"]
    with pytest.raises(TypeError, match="errors is a NetworkTable; expected a list of numbers"):
        laws.fit_error_law(table, table.factors)
    with pytest.raises(TypeError, match="factors is a list; expected lists of factors by dimension"):
        laws.fit_error_law([0.4, 0.3, 0.2], [1, 2, 3])
