"""What a search will spend is known beforehand, and never more than the budget."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pyscale.models import Scaling
from pyscale.studies import search_plan
from pyscale.studies.coefficients.planning import ranking_data
from pyscale.studies.coefficients.rungs import plan_rungs, rung_sizes
from pyscale.train import digits

OPTIONS = {"image_size": 8, "budget": 60, "seeds": (0, 1)}


def plan(**changes):
    return search_plan("cifar_resnet8", digits(), **{**OPTIONS, **changes})


@given(n=st.integers(2, 5000), reduction=st.integers(2, 10))
def test_there_are_as_many_rungs_as_the_paper_says(n, reduction):
    sizes = rung_sizes(n, reduction)
    rungs = 1
    while reduction**rungs < n:  # ceil(log n) without logarithms
        rungs += 1
    assert len(sizes) == rungs
    assert all(after == -(-before // reduction) for before, after in pairwise(sizes))
    assert 2 <= sizes[-1] <= reduction


def test_the_allocation_of_jamieson_and_talwalkar():
    """r_k = floor(B / (|S_k| ceil(log2 n))) pulls an arm in round k, on top of those before: n = 8, B = 72."""
    rungs = plan_rungs([8, 4, 2], [1.0] * 8, 72, 1, continues=True)
    assert [rung.trained for rung in rungs] == [3, 6, 12]
    assert [rung.epochs for rung in rungs] == [3, 9, 21]


@given(
    prices=st.lists(st.floats(0.5, 3), min_size=1, max_size=30),
    reduction=st.integers(2, 4),
    budget=st.floats(10, 5000),
    seeds=st.integers(2, 5),
    continues=st.booleans(),
)
def test_no_budget_is_overspent_nor_left_for_another_epoch(prices, reduction, budget, seeds, continues):
    prices.sort(reverse=True)
    sizes = rung_sizes(len(prices), reduction)
    dearest = seeds * math.fsum(prices)
    if budget / len(sizes) < dearest * (1 - 1e-6):
        with pytest.raises(ValueError, match=r"budget of .* is too small: rung 1 of"):
            plan_rungs(sizes, prices, budget, seeds, continues=continues)
        return
    try:
        rungs = plan_rungs(sizes, prices, budget, seeds, continues=continues)
    except ValueError:
        assume(continues)  # anew, a later rung may come to no more epochs than the one before: an error of its own
        raise
    spent = [rung.trained * seeds * math.fsum(prices[: rung.candidates]) for rung in rungs]
    assert math.fsum(spent) <= budget * (1 + 1e-6)
    last = seeds * math.fsum(prices[: rungs[-1].candidates])
    assert math.fsum(spent) + last > budget * (1 - 1e-6)
    lengths = [rung.epochs for rung in rungs]
    assert lengths == sorted(set(lengths))
    assert lengths[0] >= 1
    behind = 0
    for rung in rungs:
        assert rung.trained == (rung.epochs - behind if continues else rung.epochs)
        behind = rung.epochs


@pytest.mark.parametrize("strategy", ["grid", "halving", "tpe"])
@pytest.mark.parametrize("unit", ["epochs", "macs"])
def test_a_plan_stays_within_its_budget(strategy, unit):
    budget = 60 if unit == "epochs" else 1.2e11
    made = plan(strategy=strategy, unit=unit, budget=budget, trials=4)
    spent = made.epochs if unit == "epochs" else made.macs
    assert budget / 2 < spent <= budget
    assert made.trainings == 2 * sum(rung.candidates for rung in made.rungs)
    assert made.pictures == (1150, 288)
    if strategy != "tpe":
        assert made.rungs[0].candidates == len(made.trained)


def test_a_grid_plan_counts_what_it_says():
    made = plan(rate=1e9)
    epochs = made.rungs[0].epochs
    assert made.macs == epochs * 2 * 1150 * sum(candidate.macs for candidate in made.trained)
    assert made.seconds == made.macs / 1e9
    assert plan().seconds is None


def test_only_an_open_ended_schedule_is_gone_on_with():
    anew = plan(strategy="halving")
    assert not anew.continues
    assert "each rung anew" in str(anew)
    on = plan(strategy="halving", schedule="constant", warmup=0)
    assert on.continues
    assert "going on from checkpoints" in str(on)
    assert on.rungs[-1].epochs == anew.rungs[-1].epochs + on.rungs[0].epochs, "the same money takes it further"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": 7}, r"budget of 7 is too small: rung 1 of 1 would train 4 candidates from 2 seeds to 0 epochs"),
        ({"budget": -1}, "budget: expected a positive number"),
        ({"seeds": (0,)}, "seeds must be at least 2 different ones"),
        ({"seeds": (1, 1)}, "seeds must be at least 2 different ones"),
        ({"held_out": 1.5}, "held_out must lie between 0 and 1, a share of the training pictures, got 1.5"),
        ({"strategy": "random"}, "strategy must be one of .*'random'"),
        ({"unit": "hours"}, "unit must be one of .*'hours'"),
        ({"reduction": 1}, "reduction must be an int of at least 2"),
        ({"trials": 1.5}, "trials must be an int of at least 2"),
        ({"cost_tolerance": 0.001}, r"no network of the grid costs 2 .* the nearest, .*, costs"),
        ({"growth": 1.09, "tolerance": 0.001}, "no grid point"),
        ({"held_out": 1.0}, "held_out must lie between 0 and 1"),
        ({"lr": -1}, "lr must be"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        plan(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, r"seeds must be a sequence of at least 2 different ints, such as \(0, 1, 2\), got 0"),
        ({"held_out": "0.2"}, "held_out: expected a number, got '0.2'"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_named(changes, message):
    with pytest.raises(TypeError, match=message):
        plan(**changes)


def test_epochs_are_the_budgets_business():
    with pytest.raises(TypeError, match="the budget decides"):
        plan(epochs=3)
    with pytest.raises(TypeError, match="did you mean lr"):
        plan(lrr=0.1)


def test_the_baseline_is_what_growth_is_relative_to():
    wide = plan(baseline=Scaling(width=2))
    assert all(1.8 <= candidate.growth <= 2.2 for candidate in wide.trained)
    assert wide.space.baseline_macs() > 3 * plan().space.baseline_macs()


def test_what_is_ranked_by_is_never_the_test_split():
    data = digits()
    seen = ranking_data(data, 0.2)
    test = {picture.numpy().tobytes() for picture in data.test.images}
    assert not test & {picture.numpy().tobytes() for split in (seen.train, seen.test) for picture in split.images}
    given_val = data.holding_out(0.1)
    assert ranking_data(given_val, 0.2).test is given_val.val
