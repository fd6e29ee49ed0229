"""Who wins, who goes on, and what is said about it: with accuracies of our choosing, so that it is known beforehand."""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from pyscale.models import Scaling, compound
from pyscale.studies import SearchResult, compare_searches, search_plan
from pyscale.studies.coefficients.space import Candidate
from pyscale.studies.coefficients.strategies import climb, estimate_parzen
from pyscale.studies.coefficients.training import Run
from pyscale.train import digits

PICTURES = 1000


def point(name, macs=100, **changes):
    """A candidate whose depth base is its name, so that ``accuracy`` can be looked up by it."""
    values = {"scaling": Scaling(name), "nominal": 2.0, "growth": 2.0, "parameters": 1, "image_size": 8}
    return Candidate(Scaling(name), macs=macs, **{**values, **changes})


def plan(points, *, strategy="halving", budget=10_000, **changes):
    made = search_plan(
        "cifar_resnet8", digits(), image_size=8, budget=budget, strategy="tpe", trials=max(2, len(points))
    )
    sizes = {"grid": [len(points)], "halving": [len(points), 3], "tpe": [len(points)]}[strategy]
    rung = made.rungs[0]
    rungs = tuple(
        replace(rung, candidates=size, epochs=10 * (k + 1), trained=10 * (k + 1)) for k, size in enumerate(sizes)
    )
    return replace(made, strategy=strategy, candidates=tuple(points), rungs=rungs, **changes)


def trainer(accuracy, calls=None, seed_spread=0.0):
    """Trains nothing: ``accuracy(candidate, rung)`` of the pictures are right, alike for all seeds but for a spread."""

    def train(candidate, rung, seed):
        if calls is not None:
            calls.append((candidate.name, rung.epochs, seed))
        value = accuracy(candidate, rung)
        diverged = math.isnan(value)
        right = np.zeros(PICTURES, dtype=bool)
        if not diverged:
            right[: round((value + seed_spread * (seed - 1)) * PICTURES)] = True
        return Run(seed, rung.epochs, right, 1.0, diverged)

    return train


def result(made, accuracy, **options):
    outcomes, skipped = climb(made, trainer(accuracy, **options))
    return SearchResult(made, tuple(outcomes), tuple(skipped), (), 0.95, None)


def test_the_best_part_goes_on_and_the_best_of_that_wins():
    """At rung 1 more is better; at rung 2 the order is turned round, among those that got there."""
    points = [point(1 + i / 10) for i in range(7)]
    calls = []
    found = result(
        plan(points), lambda c, rung: 0.5 + (c.bases.depth - 1) / 4 * (1 if rung.epochs == 10 else -1), calls=calls
    )
    assert [outcome.candidate.bases.depth for outcome in found.outcomes] == [1.4, 1.5, 1.6, 1.3, 1.2, 1.1, 1.0]
    assert [len(outcome.rungs) for outcome in found.outcomes] == [2, 2, 2, 1, 1, 1, 1]
    assert len(calls) == (7 + 3) * 3
    assert {call[0] for call in calls if call[1] == 20} == {"d1.4-w1-r1", "d1.5-w1-r1", "d1.6-w1-r1"}
    assert found.epochs == (7 * 10 + 3 * 20) * 3
    assert found.macs == found.epochs * 100 * found.plan.pictures[0]


def test_going_on_pays_for_what_is_added():
    made = plan([point(1 + i / 10) for i in range(4)])
    on = replace(made, recipe=made.recipe.but(schedule="constant", warmup=0))
    assert result(on, lambda c, rung: 0.5).epochs == (4 * 10 + 3 * 10) * 3


def test_equal_accuracies_are_won_by_the_cheaper():
    found = result(plan([point(1.0, macs=110), point(1.1, macs=90)], strategy="grid"), lambda c, rung: 0.9)
    assert found.best.candidate.macs == 90
    assert [outcome.name for outcome in found.indistinguishable] == ["d1-w1-r1"]


def test_what_diverges_comes_last_and_is_no_rival():
    found = result(
        plan([point(1.0), point(1.1), point(1.2)], strategy="grid"),
        lambda c, rung: math.nan if c.bases.depth == 1.1 else 0.3,
    )
    last = found.outcomes[-1]
    assert (last.name, last.diverged, last.accuracies) == ("d1.1-w1-r1", True, (None,) * 3)
    assert math.isnan(last.mean)
    assert [outcome.name for outcome in found.indistinguishable] == ["d1.2-w1-r1"]
    assert found.rows()[-1]["accuracy"] is None


def test_only_what_is_within_chance_cannot_be_told_apart():
    """Of 1000 pictures, all alike but for those that one has more: 4 % are told apart, one picture is not."""
    values = {1.0: 0.90, 1.1: 0.899, 1.2: 0.86}
    found = result(plan([point(v) for v in values], strategy="grid"), lambda c, rung: values[c.bases.depth])
    assert [outcome.name for outcome in found.indistinguishable] == ["d1.1-w1-r1"]
    assert "not distinguishable from d1.1-w1-r1" in str(found)
    near, far = found.differences
    assert near.gain.value == pytest.approx(0.001)
    assert far.gain.value == pytest.approx(0.04)
    assert far.gain.low > 0 > near.gain.low
    wider = replace(found, confidence=0.999999).differences[1].gain
    assert wider.low < far.gain.low < far.gain.high < wider.high


def test_the_more_rivals_the_surer_it_must_be():
    def far(rivals):
        points = [point(1.0), point(1.1), *(point(2 + i / 10) for i in range(rivals))]
        found = result(plan(points, strategy="grid"), lambda c, rung: {1.0: 0.9, 1.1: 0.89}.get(c.bases.depth, 0.5))
        return next(d for d in found.differences if d.name == "d1.1-w1-r1").gain

    assert far(20).low < far(0).low
    assert far(20).value == far(0).value


def test_a_rival_that_was_dropped_is_compared_where_it_was_dropped():
    """It lost rung 1 by a picture; that the winner is far better at rung 2 says nothing about the two."""
    values = {1.0: 0.801, 1.1: 0.801, 1.2: 0.801, 1.3: 0.80}
    found = result(
        plan([point(v) for v in values]), lambda c, rung: values[c.bases.depth] + (0.1 if rung.epochs == 20 else 0)
    )
    dropped = found.differences[-1]
    assert (dropped.name, dropped.epochs, dropped.distinguishable) == ("d1.3-w1-r1", 10, False)
    assert dropped.gain.value == pytest.approx(0.001)


def test_seeds_that_disagree_widen_the_interval():
    points = [point(1.0), point(1.1)]
    steady, shaky = (
        result(plan(points, strategy="grid"), lambda c, rung: 0.5, seed_spread=spread).best.accuracy(0.95)
        for spread in (0.0, 0.05)
    )
    assert shaky.high - shaky.low > 3 * (steady.high - steady.low)


def test_what_was_not_trained_is_reported_with_the_reason():
    points = [point(1.0), point(1.1, skipped="costs too much"), point(1.2, skipped="same", same_as="d1-w1-r1")]
    made = plan(points, strategy="grid")
    found = result(replace(made, rungs=(replace(made.rungs[0], candidates=1),)), lambda c, rung: 0.5)
    frame = found.to_pandas()
    assert list(frame["name"]) == ["d1-w1-r1", "d1.1-w1-r1", "d1.2-w1-r1"]
    assert list(frame["skipped"]) == ["", "costs too much", "same"]
    assert list(frame["macs"]) == [100] * 3
    assert [candidate.name for candidate in found.same_as(found.best)] == ["d1.2-w1-r1"]
    assert "the very same network as d1.2-w1-r1" in str(found)


def test_the_bases_found_scale_on_from_the_baseline():
    made = plan([point(1.5)], strategy="grid")
    base = Scaling(0.5, 2.0, 1.5)
    found = result(replace(made, space=replace(made.space, baseline=base)), lambda c, rung: 0.5)
    grown = compound(3, 1.5, 1.0, 1.0)
    assert found.compound(3) == Scaling(0.5 * grown.depth, 2.0, 1.5)
    assert found.compound(0) == base


# ---- The Parzen estimator ----


def parzen(accuracy, trials=6, search_seed=0, calls=None):
    made = search_plan(
        "cifar_resnet20",
        digits(),
        image_size=16,
        budget=100,
        strategy="tpe",
        trials=trials,
        search_seed=search_seed,
        cost_tolerance=0.15,
    )
    return made, *estimate_parzen(made, trainer(accuracy, calls))


def wide(candidate, rung):
    return 0.2 + 0.5 * (candidate.bases.width - 1)


def test_parzen_trains_each_network_once_and_only_where_the_cost_is_met():
    calls = []
    made, outcomes, skipped = parzen(wide, calls=calls)
    assert len(outcomes) == 6
    assert len(calls) == len(set(calls)) == 18
    assert all(abs(outcome.candidate.growth / 2 - 1) <= 0.15 for outcome in outcomes)
    assert len({(o.candidate.macs, o.candidate.parameters) for o in outcomes}) == 6
    assert all(candidate.skipped for candidate in skipped)
    means = [outcome.mean for outcome in outcomes]
    assert means == sorted(means, reverse=True)
    assert sum(outcome.epochs for outcome in outcomes) * 3 <= made.budget


def test_parzen_depends_on_its_seed_and_the_accuracies_alone():
    names = [[o.name for o in parzen(wide, trials=4, search_seed=seed)[1]] for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_optunas_voice_is_left_as_found():
    import optuna

    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parzen(wide, trials=2)
    assert optuna.logging.get_verbosity() == before


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"pip install 'pyscale\[search\]'"):
        parzen(wide)


# ---- Searches side by side ----


def searched(values, candidates=None):
    points = [point(v) for v in values] if candidates is None else candidates
    made = plan(points, strategy="grid")
    return result(made, lambda c, rung: values[c.bases.depth])


def test_what_carries_over_and_what_does_not():
    deep = searched({1.0: 0.5, 1.1: 0.6, 1.2: 0.9})
    same = searched({1.0: 0.5, 1.1: 0.6, 1.2: 0.9})
    flat = searched({1.0: 0.6, 1.1: 0.6, 1.2: 0.6})
    wide_ = searched({1.0: 0.9, 1.1: 0.6, 1.2: 0.5})
    compared = compare_searches({"deep": deep, "same": same, "flat": flat, "wide": wide_})
    standing = {(t.best_of, t.standing_in): t.standing for t in compared.transfers}
    assert len(standing) == 12
    assert standing["deep", "same"] == standing["same", "deep"] == "best"
    assert standing["deep", "flat"] == "not distinguishable"
    assert standing["deep", "wide"] == standing["wide", "deep"] == "worse"
    assert compared.depends
    assert not compare_searches({"deep": deep, "same": same}).depends
    (behind,) = [t.behind for t in compared.transfers if (t.best_of, t.standing_in) == ("deep", "wide")]
    assert behind.value == pytest.approx(0.4)
    assert list(compared.to_pandas()["alpha"]) == [1.2, 1.2, 1.0, 1.0]


def test_bases_stand_where_the_network_that_they_round_to_stands():
    here = searched({1.0: 0.9, 1.1: 0.5})
    points = [point(1.2), point(1.0, skipped="same", same_as="d1.2-w1-r1"), point(1.1, skipped="costs 3 times")]
    there = searched({1.2: 0.7}, points)
    assert [t.standing for t in compare_searches({"a": here, "b": there}).transfers] == ["best", "not tried"]
    dear = searched({1.2: 0.7}, [point(1.2), point(1.0, skipped="costs 3 times")])
    compared = compare_searches({"a": here, "b": dear})
    assert compared.transfers[0].standing == "misses the cost"
    assert compared.missed == compared.transfers[:1]
    assert not compared.worse
    assert not compared.depends, "rounding is no accuracy"


def test_a_winner_that_loses_elsewhere_may_have_won_by_luck():
    """The one search can't tell its two apart, the other can: the same bases may be best in both."""
    unsure, sure = searched({1.0: 0.6, 1.1: 0.601}), searched({1.0: 0.9, 1.1: 0.5})
    compared = compare_searches({"unsure": unsure, "sure": sure})
    assert [transfer.standing for transfer in compared.transfers] == ["worse", "not distinguishable"]
    assert [pair.outlook for pair in compared.pairs] == ["worse one way"]
    assert len(compared.worse) == 1
    assert not compared.depends


def test_one_search_is_no_comparison():
    with pytest.raises(ValueError, match="at least two searches by label, got 1"):
        compare_searches({"a": searched({1.0: 0.5})})


def test_two_lucky_winners_don_t_contradict_where_a_third_may_be_best_in_both():
    """Each one's winner is far behind in the other; what is hardly behind in either may be best in both."""
    wide_, deep = searched({1.0: 0.601, 1.1: 0.6, 1.2: 0.3}), searched({1.0: 0.3, 1.1: 0.6, 1.2: 0.601})
    compared = compare_searches({"wide": wide_, "deep": deep})
    assert [transfer.standing for transfer in compared.transfers] == ["worse", "worse"]
    assert [(pair.outlook, pair.shared) for pair in compared.pairs] == [("others in both", ("d1.1-w1-r1",))]
    assert not compared.depends
    assert "but d1.1-w1-r1 can't be told from the best in either" in str(compared)
    assert "is not shown" in str(compared)
    apart = compare_searches({"wide": wide_, "deep": searched({1.0: 0.3, 1.1: 0.5, 1.2: 0.6})})
    assert [(pair.outlook, pair.shared) for pair in apart.pairs] == [("reversed", ())]


def test_bases_may_be_best_in_both_by_the_network_that_they_round_to():
    """Where 1.1 rounds to the winner, it was as good: nothing is trained of it there."""
    rounded = searched({1.0: 0.6, 1.2: 0.3}, [point(1.0), point(1.1, skipped="same", same_as="d1-w1-r1"), point(1.2)])
    deep = searched({1.0: 0.3, 1.1: 0.6, 1.2: 0.601})
    assert [candidate.name for candidate in rounded.contenders] == ["d1-w1-r1", "d1.1-w1-r1"]
    (pair,) = compare_searches({"rounded": rounded, "deep": deep}).pairs
    assert (pair.outlook, pair.shared) == ("others in both", ("d1.1-w1-r1",))


def test_what_was_not_tried_elsewhere_may_be_best_there():
    wide_, deep = searched({1.0: 0.601, 1.1: 0.6, 1.2: 0.3}), searched({1.0: 0.3, 1.2: 0.6})
    compared = compare_searches({"wide": wide_, "deep": deep})
    assert [transfer.standing for transfer in compared.transfers] == ["worse", "worse"]
    assert [pair.outlook for pair in compared.pairs] == ["not tried"]
    assert not compared.depends


def test_the_best_in_truth_is_seldom_ruled_out():
    """Of eight equally good networks whose seeds err on the same pictures, any one is: never mind which is picked."""
    made, rng, trials = plan([point(1 + i / 10) for i in range(8)], strategy="grid"), np.random.default_rng(0), 400
    ruled_out = 0
    for _ in range(trials):
        easy = {candidate.name: rng.random(PICTURES) < 0.6 for candidate in made.candidates}

        def train(candidate, rung, seed, easy=easy):
            return Run(seed, rung.epochs, easy[candidate.name] ^ (rng.random(PICTURES) < 0.02), 1.0)

        outcomes, skipped = climb(made, train)
        found = SearchResult(made, tuple(outcomes), tuple(skipped), (), 0.95, None)
        ruled_out += "d1-w1-r1" not in {candidate.name for candidate in found.contenders}
    assert 0 < ruled_out / trials < 0.05
