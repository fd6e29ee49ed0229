"""Budgets of latency on a machine whose speed changes: what is found, what it costs when timed again, who is ranked."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace

import pytest
import torch

from pyscale.compress import prune
from pyscale.models import Scaling, build
from pyscale.studies import Budget, BudgetError, Compression, EqualBudgets, run, running
from pyscale.studies.amounts import least_amount, limit_of
from pyscale.studies.equal_budget.contest import PLAN_FILE
from pyscale.studies.equal_budget.figure import draw_equal_budget
from pyscale.studies.equal_budget.tables import contest_sentences, contestant_rows, standing_rows
from pyscale.studies.report import render_report
from pyscale.studies.report.equal_budget import alike_chart
from pyscale.studies.scaled_budgets import scaled_to_budget
from tests.models.machines import Machine, on, work_of
from tests.studies.miniature import miniature_study
from tests.studies.test_report import Page

SHAPE = {"num_classes": 10, "in_channels": 1, "image_size": 8}
ASKED = EqualBudgets(shares=(0.5,), resources=("latency",), ways=("scaled", "channels"), epochs=1, sharing_epochs=1)


def net(scaling=None):
    return build("cifar_resnet8", scaling=scaling or Scaling(), **SHAPE)


def work_share(network):
    return work_of(network) / work_of(net())


SPEEDS = {
    "slower": lambda seconds: 1.0 if seconds < 0.7 else 3.0,
    "faster": lambda seconds: 3.0 if seconds < 1.3 else 1.0,
    "waves": lambda seconds: 3.0 if int(seconds / 0.35) % 2 else 1.0,
}
WIDE = Scaling(width=1.5)


@pytest.mark.parametrize(("speed", "baseline"), [*((name, Scaling()) for name in SPEEDS), ("slower", WIDE)])
def test_the_largest_scaled_network_within_a_share_is_found(monkeypatch, speed, baseline):
    """On these machines time is a multiple of parameters, whose count is the oracle."""
    with on(Machine(SPEEDS[speed]), monkeypatch):
        found = scaled_to_budget("cifar_resnet8", Budget("latency", 0.4), "w", baseline=baseline, **SHAPE)
    by_parameters = scaled_to_budget("cifar_resnet8", Budget("parameters", 0.4), "w", baseline=baseline, **SHAPE)
    assert net(found).architecture == net(by_parameters).architecture


@pytest.mark.parametrize("speed", SPEEDS)
def test_the_least_amount_of_pruning_is_found(monkeypatch, speed):
    original, asked = net(), Compression(granularity="channel", budget=Budget("latency", 0.5))
    with on(Machine(SPEEDS[speed]), monkeypatch):
        limit = limit_of(asked.budget, original)
        amount = least_amount(original, asked, limit)
    share = work_share(prune(original, amount, granularity="channel"))
    less = work_share(prune(original, amount - 0.995 / 64, granularity="channel"))
    assert limit == 0.5
    assert share <= 0.5 * 1.001
    assert share > 0.49 or less > 0.5


def test_a_share_out_of_reach_is_told(monkeypatch):
    asked = Compression(granularity="channel", budget=Budget("latency", 1e-4))
    with on(Machine(), monkeypatch), pytest.raises(BudgetError, match=r"even without 99\.5 % of its channels"):
        least_amount(net(), asked, 1e-4)
    with on(Machine(), monkeypatch), pytest.raises(BudgetError, match=r"costs more than 0\.01 % of the baseline"):
        scaled_to_budget("cifar_resnet8", Budget("latency", 1e-4), "w", **SHAPE)


def study():
    return miniature_study(metrics=("cka",), variants=(), epochs=1, equal_budget=ASKED)


def table(out, name):
    with (out / name).open(newline="") as file:
        return list(csv.DictReader(file))


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study of latency on a machine that slows down while networks are chosen, and again while they are timed."""
    machine = Machine(lambda seconds: 1.0 + 2.0 * (int(seconds / 3) % 2))
    with pytest.MonkeyPatch.context() as patch, on(machine, patch):
        return run(study(), tmp_path_factory.mktemp("latency"), progress=False, device="cpu")


def test_what_was_used_is_a_share_measured_in_turns(whole):
    rows = table(whole.out, "equal_budget_networks.csv")
    networks = [row for row in rows if row["way"] != "original"]
    assert [row["way"] for row in networks] == ["scaled", "scaled", "channels", "channels"]
    for row, each in zip(networks, whole.equal_budget.contestants, strict=True):
        used = float(row["used"])
        assert used == pytest.approx(work_of(each.member.network) / work_of(each.original.network), rel=1e-6)
        assert 0.3 < used <= 0.5 * 1.001
        assert row["within_budget"] == "True"
    (said, *_) = [text for text in texts(whole.out) if text.startswith("At 50 % of the original's latency")]
    assert "Most accuracy is kept by" in said
    assert "over the budget" not in said


def test_ratios_to_the_baseline_are_measured_in_turns_too(whole, monkeypatch):
    """Each time the other seed's network is timed alone, this machine is slow: 14 passes of either, one to count."""
    step = work_of(whole.baseline.network)
    machine = Machine(lambda seconds: 1.0 if (seconds / step + 0.5) % (14 + 3 * 14) < 14 else 3.0)
    with on(machine, monkeypatch):
        (baseline, twin), _ = running._timed([whole.baseline, *whole.twins], None)
    assert twin.cost.latency == pytest.approx(3 * baseline.cost.latency)
    assert (baseline.latency_share, twin.latency_share) == pytest.approx((1.0, 1.0))
    assert [float(row["latency_ratio"]) for row in table(whole.out, "networks.csv")] == pytest.approx([1.0, 1.0])


def texts(out):
    document = json.loads((out / "study.json").read_text())
    return [finding["text"] for finding in document["findings"] if finding["topic"] == "budget"]


def found_by_the_clock(out):
    amounts = [json.loads(path.read_text())["amount"] for path in sorted(out.glob("runs/channels*/compression.json"))]
    return json.loads((out / PLAN_FILE).read_text())["scaled"], amounts


@pytest.mark.slow
def test_killed_and_taken_up_on_a_slower_machine_it_ends_the_same(whole, tmp_path, monkeypatch):
    def kill(step):
        if step.title == "make channels-latency-0.5-seed1":
            raise Killed

    with on(Machine(), monkeypatch), pytest.raises(Killed):
        run(study(), tmp_path, progress=False, device="cpu", on_step=kill)
    plan, (amount,) = found_by_the_clock(tmp_path)
    with on(Machine(lambda seconds: 5.0 + math.sin(40 * seconds)), monkeypatch):
        again = run(study(), tmp_path, progress=False, device="cpu")
    assert found_by_the_clock(tmp_path)[0] == plan
    assert found_by_the_clock(tmp_path)[1][0] == amount
    assert plan == found_by_the_clock(whole.out)[0]
    for one, other in zip(whole.equal_budget.contestants[:3], again.equal_budget.contestants, strict=False):
        state, undisturbed = other.member.network.state_dict(), one.member.network.state_dict()
        assert all(torch.equal(state[key], value) for key, value in undisturbed.items()), one.member.name


def costing(contest, shares):
    """The same contest, its networks with these shares of their originals' latency when timed again."""
    contestants = [
        replace(each, latency_share=shares[each.contender.way][each.member.seed]) for each in contest.contestants
    ]
    return replace(contest, contestants=tuple(contestants))


OVER = {"scaled": (0.49, 0.52), "channels": (1.4, 1.6)}
ONE_OVER = {"scaled": (0.48, 0.6), "channels": (0.5, 0.5)}


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        (OVER, "networks with channels pruned (which use 150 %, over the budget when timed again) change"),
        (ONE_OVER, "scaled-down networks (which use 54 %, 60 % for seed 1 over the budget when timed again) change"),
        ({"scaled": (0.6, 0.6), "channels": (0.7, 0.8)}, "None of them is within the budget, so none is said to lead."),
    ],
)
def test_timed_again_and_over_the_budget_it_is_told_and_not_ranked(whole, shares, said):
    sentence = contest_sentences(costing(whole.equal_budget, shares))[0]
    assert said in sentence
    assert "so none is said to lead" in sentence
    assert "Most" not in sentence


def test_what_is_over_stays_in_the_tables_and_charts(whole):
    contest = costing(whole.equal_budget, OVER)
    assert {row["way"]: row["within_budget"] for row in standing_rows(contest)} == {"scaled": True, "channels": False}
    assert [row["within_budget"] for row in contestant_rows(contest)] == ["", "", True, True, False, False]
    chart = alike_chart(contest, "latency")
    scaled, channels = chart.data[:2]
    assert (scaled["marker"]["symbol"], channels["marker"]["symbol"]) == (["circle"], ["square-open"])
    assert "over the budget when timed again" in channels["text"][0]
    assert "over the budget" not in scaled["text"][0]
    assert "Hollow: over the budget" in chart.caption
    assert "Hollow" not in alike_chart(whole.equal_budget, "latency").caption
    assert "channels-latency-0.5 accuracy" in (picture := draw_equal_budget(contest)).alt
    assert picture.alt.count("over the budget when timed again") == 1
    assert picture.pngs != draw_equal_budget(costing(contest, {**OVER, "channels": (1.4, 0.5)})).pngs


@pytest.mark.slow
def test_the_report_says_who_is_over(whole):
    page = Page(render_report(replace(whole, equal_budget=costing(whole.equal_budget, OVER)), []))
    assert re.search(r"150 %\s+over the budget when timed again", page.text)
    assert not re.search(r"\b5[01] %\s+over the budget", page.text)
