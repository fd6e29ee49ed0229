"""The laws on accuracies that others measured on ImageNet: no training, real scatter."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from pyscale.models import Scaling
from pyscale.studies import laws

V1, V2 = laws.PUBLISHED["mobilenet_v1"], laws.PUBLISHED["mobilenet_v2"]


@cache
def fitted(table, form="sum"):
    return laws.fit_error_law(table.errors, table.factors, form=form, draws=100)


@cache
def cost(table):
    return laws.fit_cost_law(table.macs, table.factors)


def test_the_tables_are_whole():
    assert {name: len(table) for name, table in laws.PUBLISHED.items()} == {
        "mobilenet_v1": 16,
        "mobilenet_v2": 22,
        "mobilenet_v2_scaled_up": 4,
        "efficientnet": 8,
        "efficientnet_one_by_one": 5,
        "efficientnet_together": 13,
    }
    assert list(V1.factors) == ["width", "resolution"]
    corner = [i for i in range(16) if (V1.width[i], V1.resolution[i]) == (0.25, 128 / 224)]
    assert V1.errors[corner] == pytest.approx([0.585])


@pytest.mark.parametrize(
    ("name", "family"), [("mobilenet_v2", "mobilenet_v2"), ("mobilenet_v2_scaled_up", "mobilenet_v2")]
)
def test_their_multiply_accumulates_are_those_of_our_networks(name, family):
    table = laws.PUBLISHED[name]
    every = range(0, len(table), 5) if len(table) > 5 else range(2)
    scalings = [Scaling(table.depth[i], table.width[i], table.resolution[i]) for i in every]
    counted = [count.macs for count in laws.count_costs(family, scalings)]
    np.testing.assert_allclose(counted, [table.macs[i] for i in every], rtol=0.05)  # printed to whole millions


def test_the_v1_grid_is_a_sum_of_power_laws_to_half_a_point():
    law, other = fitted(V1), fitted(V1, "product")
    assert law.spread < 0.005
    assert law.aic < other.aic - 5
    assert 0.4 < law.exponents["width"].value < 1.1
    assert 0.5 < law.exponents["resolution"].value < 1.8
    points = zip(V1.width, V1.resolution, V1.errors, strict=True)
    assert max(abs(law.predict(width=w, resolution=r).value - e) for w, r, e in points) < 0.01


def test_each_dimension_alone_follows_the_table():
    for name, other in (("width", "resolution"), ("resolution", "width")):
        row = [i for i in range(16) if getattr(V1, other)[i] == 1]
        law = laws.fit_error_law(V1.errors[row], {name: np.array(getattr(V1, name))[row]}, draws=20)
        predictions = [law.predict(**{name: getattr(V1, name)[i]}).value for i in row]
        np.testing.assert_allclose(predictions, V1.errors[row], atol=0.005)


def test_width_is_what_a_narrow_v1_lacks_as_the_table_itself_says():
    """From 0.5 to 0.75 in width against 192 to 224 pixels, per relative cost: differences of published numbers."""

    def error(w, side):
        return next(
            e for e, x, r in zip(V1.errors, V1.width, V1.resolution, strict=True) if (x, round(224 * r)) == (w, side)
        )

    per_width = (error(0.5, 224) - error(0.75, 224)) / (1.86 * np.log(1.5))
    per_pixel = (error(0.5, 192) - error(0.5, 224)) / (2 * np.log(224 / 192))
    assert per_width > per_pixel
    best = laws.best_dimension(fitted(V1), cost(V1), width=0.5)
    assert best.best == "width"
    assert best.support > 0.95
    assert best.gains["width"].value == pytest.approx(per_width, rel=0.35)
    assert best.gains["resolution"].value == pytest.approx(per_pixel, rel=0.35)
    assert "width is the best dimension" in str(best)


@pytest.mark.parametrize("table", [V1, V2], ids=["v1", "v2"])
def test_equal_shares_cannot_be_told_from_the_optimum_of_the_mobilenets(table):
    """Shrunk to a quarter, the folklore is within a tenth of a point of the best split by the law of sums."""
    verdict = laws.equal_shares(fitted(table), cost(table), 0.25)
    assert not verdict.beaten
    assert verdict.loss.value < 1e-3
    assert verdict.loss.high < 2e-3
    assert verdict.best.shares["width"].value == pytest.approx(0.5, abs=0.15)


def test_eight_efficientnets_follow_one_power_law_of_their_cost():
    table = laws.PUBLISHED["efficientnet"]
    law = laws.fit_error_law(table.errors, {"macs": np.array(table.macs) / table.macs[0]}, draws=100)
    assert law.spread < 0.001
    assert 0.4 < law.exponents["macs"].value < 0.65
    assert 0.14 < law.parameters["e_inf"].value < 0.16


def test_what_the_efficientnets_cannot_say_is_wide_or_refused():
    """Compound scaling moves all dimensions at once: what each does is not in the eight networks."""
    table = laws.PUBLISHED["efficientnet"]
    phi = np.arange(8)
    with pytest.raises(ValueError, match="grow together"):
        laws.fit_error_law(
            table.errors, {"depth": 1.2**phi, "width": 1.1**phi, "resolution": 1.15**phi}, form="product"
        )
    together = laws.PUBLISHED["efficientnet_together"]
    assert together.errors.tolist() == table.joined(laws.PUBLISHED["efficientnet_one_by_one"]).errors.tolist()
    with pytest.raises(ValueError, match="cost does not grow with width"):
        laws.best_dimension(
            laws.fit_error_law(table.errors, table.factors, draws=1), laws.fit_cost_law(table.macs, table.factors)
        )
    law = laws.fit_error_law(together.errors, together.factors, draws=60)
    verdict = laws.equal_shares(law, laws.textbook_cost_law(), 4)
    assert not verdict.beaten
    assert verdict.loss.high - verdict.loss.low > law.spread
    both = V2.joined(laws.PUBLISHED["mobilenet_v2_scaled_up"])
    with pytest.raises(ValueError, match=r"'depth'\] takes 2 different values"):
        laws.fit_error_law(both.errors, both.factors)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["sum", "product"])
def test_thirteen_efficientnets_judge_equal_shares_in_three_dimensions(form):
    """The costs are counts: B0 with one dimension alone doubled and trebled, and all together."""
    together = laws.PUBLISHED["efficientnet_together"]
    error, cost = laws.fit_error_law(together.errors, together.factors, form=form), together.cost_law()
    assert {name: round(k.value, 1) for name, k in cost.exponents.items()} == {
        "depth": 1.0,
        "width": 1.9,
        "resolution": 2.0,
    }
    (budget,) = laws.usual_budgets(error, cost)
    assert budget == pytest.approx(4)
    verdict = laws.equal_shares(error, cost, budget)
    assert verdict.loss.value == pytest.approx({"sum": 0.0022, "product": 0.0073}[form], abs=0.0005)
    assert verdict.loss.low < 0 < verdict.loss.high
    assert "cannot tell the two apart" in verdict.text
