"""Networks that cost the same: a small contest run whole, and the sums and sentences on numbers known beforehand."""

from __future__ import annotations

import csv
import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pyscale.studies import Budget, EqualBudgetResult, EqualBudgets, run
from pyscale.studies.equal_budget.contenders import Absentee, Contestant, over_seeds, paired_difference
from pyscale.studies.equal_budget.contest import PLAN_FILE
from pyscale.studies.equal_budget.question import Contender
from pyscale.studies.equal_budget.tables import contest_sentences, standing_rows
from pyscale.studies.trained_networks import open_trained
from tests import oracles
from tests.studies import invented
from tests.studies.miniature import miniature_study
from tests.studies.test_report import Page
from tests.studies.test_resume import ROOT

ASKED = EqualBudgets(shares=(0.6,), resources=("macs", "bytes"), epochs=1, sharing_epochs=1)


def study(**changes):
    options = {"metrics": ("cka",), "variants": (), "epochs": 2, "equal_budget": ASKED}
    return miniature_study(**{**options, **changes})


@pytest.fixture(scope="module")
def contest(tmp_path_factory):
    return run(study(), tmp_path_factory.mktemp("contest"), progress=False, device="cpu")


def table(contest, name):
    with (contest.out / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_way_stands_in_the_table(contest):
    rows = table(contest, "equal_budget.csv")
    assert [(row["resource"], row["way"], row["n"]) for row in rows] == [
        ("macs", "scaled", "2"),
        ("macs", "channels", "2"),
        ("macs", "weights", "0"),
        ("macs", "deep", "0"),
        *(("bytes", way, "2") for way in ("scaled", "channels", "weights", "deep")),
    ]
    assert all("dense kernels" in row["no_part"] and not row["accuracy"] for row in rows[2:4])
    assert all(row["within_budget"] == "True" for row in rows if row["n"] == "2")
    assert {row["interval"] for row in rows} == {"95 % Student t over seeds"}


def test_means_are_those_of_the_networks(contest):
    networks = table(contest, "equal_budget_networks.csv")
    originals = {row["seed"]: row for row in networks if row["way"] == "original"}
    assert len(originals) == 2
    for row in table(contest, "equal_budget.csv"):
        own = [n for n in networks if (n["resource"], n["way"]) == (row["resource"], row["way"])]
        if not own:
            continue
        accuracies = [float(n["accuracy"]) for n in own]
        changes = [float(n["accuracy"]) - float(originals[n["seed"]]["accuracy"]) for n in own]
        assert float(row["accuracy"]) == pytest.approx(np.mean(accuracies))
        assert float(row["change"]) == pytest.approx(np.mean(changes), abs=1e-12)
        half = 12.7062047 * np.std(changes, ddof=1) / math.sqrt(2)  # t of 1 degree of freedom
        assert float(row["change_high"]) == pytest.approx(min(float(row["change"]) + half, 1), rel=1e-6, abs=1e-9)
        assert 0 <= float(row["accuracy_low"]) <= float(row["accuracy_high"]) <= 1
        assert float(row["similarity_high"]) <= 1
        column = {"macs": "macs", "bytes": "file_bytes"}[row["resource"]]
        used = [float(n[column]) / float(originals[n["seed"]][column]) for n in own]
        assert float(row["used"]) == pytest.approx(np.mean(used))
        assert max(used) <= 0.6


def test_all_have_seen_the_pictures_equally_often(contest):
    epochs = {c.member.name: len(c.member.trained.history) for c in contest.equal_budget.contestants}
    original = len(contest.baseline.trained.history)
    for name, count in epochs.items():
        assert count + (0 if name.startswith("scaled") else original) == original + ASKED.passes


def activations(network, images, layer):
    seen = []
    name, _, call = layer.partition("#")
    handle = network.get_submodule(name).register_forward_hook(lambda *a: seen.append(a[-1].detach().clone()))
    network(images)
    handle.remove()
    return seen[int(call or 0)].double().numpy().reshape(len(images), -1)


@pytest.mark.parametrize("name", ["channels-macs-0.6-seed1", "deep-bytes-0.6-seed0"])
def test_similarity_is_to_the_original_of_the_seed(contest, name):
    (found,) = [c for c in contest.equal_budget.contestants if c.member.name == name]
    runs = contest.out / "runs"
    original = "baseline" if name.endswith("seed0") else "baseline-seed1"
    net, base = open_trained(runs / name), open_trained(runs / original)
    data = study().data
    orders = data.loader("test", 45, shuffle=True, seed=0).indices()
    images = (data.test.images - data.mean[0]) / data.std[0]
    layers = ["relu", *(f"layer{i}.0.relu#1" for i in (1, 2, 3)), "linear"]
    values = [
        oracles.minibatch_cka([(activations(net, images[o], row), activations(base, images[o], row)) for o in orders])
        for row in layers
    ]
    assert found.similarity == pytest.approx(np.mean(values), abs=1e-5)


def test_it_is_in_the_findings_the_json_and_a_figure(contest):
    document = json.loads((contest.out / "study.json").read_text())
    texts = [finding["text"] for finding in document["findings"] if finding["topic"] == "budget"]
    assert any(text.startswith("At 60 % of the original's multiply-accumulates, ") for text in texts)
    assert any("with weights pruned have no part in the question of multiply-accumulates" in text for text in texts)
    assert len(document["equal_budget"]["networks"]) == 2 + 2 * 6
    for theme in ("", "-dark"):
        assert (contest.out / "figures" / f"equal_budget{theme}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_report_shows_it_with_the_yardstick(contest):
    page = Page((contest.out / "report.html").read_text())
    text = page.text
    assert "At equal budgets" in text
    for sentence in contest_sentences(contest.equal_budget):
        assert " ".join(sentence.split()) in text
        assert text.count(" ".join(sentence.split())) == 1, "said twice"
    charts = {name: chart for name, chart in page.charts.items() if name.startswith("equal-")}
    assert set(charts) == {f"equal-{r}-{m}" for r in ("macs", "bytes") for m in ("accuracy", "similarity")}
    drawn = charts["equal-bytes-similarity"]["data"]
    assert len(drawn) == 4 + 1  # the ways, and the yardstick
    assert drawn[-1]["y"] == pytest.approx([np.mean(contest.equal_budget.yardstick)] * 2)
    for name, chart in charts.items():
        low, high = chart["layout"]["yaxis"]["range"]
        most = 100 if name.endswith("accuracy") else 1
        assert -0.05 * most <= low < high <= 1.05 * most
        assert all(low <= y <= high for trace in chart["data"] for y in trace["y"])
    standings = [s for s in contest.equal_budget.standings() if s.contender.budget.resource == "bytes"]
    assert [trace["y"][0] for trace in drawn[:-1]] == pytest.approx([s.similarity.mean for s in standings])


def test_run_again_it_trains_nothing_and_says_the_same(contest):
    before = (contest.out / "equal_budget_networks.csv").read_text()
    files = {path: path.stat().st_mtime_ns for path in (contest.out / "runs").rglob("*.p[ts]*")}
    again = run(study(), contest.out, progress=False, device="cpu")
    assert {path: path.stat().st_mtime_ns for path in (contest.out / "runs").rglob("*.p[ts]*")} == files

    def timeless(text):
        return [{k: v for k, v in row.items() if k != "latency_seconds"} for row in csv.DictReader(text.splitlines())]

    assert timeless((again.out / "equal_budget_networks.csv").read_text()) == timeless(before)


SCRIPT = """
import sys
from pyscale.studies import run
from tests.studies.test_equal_budget import study
run(study(), sys.argv[1], progress=False, device="cpu")
"""


@pytest.mark.slow
def test_killed_again_and_again_it_comes_to_the_same_networks(contest, tmp_path):
    names = {path.name for path in (contest.out / "runs").iterdir()}
    kills = 0
    while not (tmp_path / "equal_budget.csv").exists():
        process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=ROOT)
        begun = len(list(tmp_path.glob("runs/*")))
        while process.poll() is None and len(list(tmp_path.glob("runs/*"))) < begun + 3:
            time.sleep(0.01)
        if begun + 3 <= len(names):
            process.send_signal(signal.SIGKILL)
            kills += 1
        assert process.wait() in (0, -signal.SIGKILL)
    assert kills >= 3
    for name in names:
        state, again = (open_trained(out / "runs" / name).state_dict() for out in (contest.out, tmp_path))
        assert all(torch.equal(state[key], value) for key, value in again.items()), name


def test_another_question_in_the_same_folder_is_refused(contest):
    with pytest.raises(ValueError, match=f"{PLAN_FILE} is the plan of another question"):
        run(study(equal_budget=EqualBudgets(shares=(0.5,))), contest.out, progress=False, device="cpu")


@pytest.mark.parametrize(
    ("values", "half"),
    [([0.9, 0.8], 12.7062047 * 0.0707106781 / math.sqrt(2)), ([1, 2, 3, 4], 3.18244631 * 1.29099445 / 2)],
)
def test_an_interval_is_students(values, half):
    found = over_seeds(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert (found.high - found.mean, found.mean - found.low) == pytest.approx((half, half))
    assert found.n == len(values)


def test_one_seed_has_no_interval():
    found = over_seeds([0.5])
    assert found.mean == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def invented_contest(changes, similarities, absentees=()):
    """Two originals with half of 100 answers right, and ways with these changes and similarities at half the MACs."""
    originals = tuple(person(f"original{seed}", 50, seed, 1000) for seed in (0, 1))
    contestants = [
        Contestant(
            Contender(way, Budget("macs", 0.5)),
            person(f"{way}{seed}", 50 + change, seed, 450),
            originals[seed],
            similarities[way][seed],
        )
        for way, both in changes.items()
        for seed, change in enumerate(both)
    ]
    asked = EqualBudgets(shares=(0.5,), resources=("macs",))
    return EqualBudgetResult(asked, originals, tuple(contestants), tuple(absentees), (0.8,))


def person(name, right, seed, macs):
    member = invented.member(name, [True] * right + [False] * (100 - right), macs=macs)
    return SimpleNamespace(
        name=name,
        seed=seed,
        trained=member.trained,
        cost=member.cost,
        file_bytes=1,
        network=SimpleNamespace(parameters=list),
    )


def test_a_lead_that_seeds_explain_is_not_called_one():
    contest = invented_contest(
        {"scaled": (0, -10), "channels": (-1, 0)}, {"scaled": (0.5, 0.51), "channels": (0.9, 0.91)}
    )
    (said, passes, yardstick) = contest_sentences(contest)
    assert "have had 3 more passes over the pictures than the originals" in passes
    assert (
        "Most accuracy is kept by networks with channels pruned on average, but scaled-down networks are no further"
        in said
    )
    assert (
        "Most like the original inside are networks with channels pruned, ahead of scaled-down networks by 0.40" in said
    )
    assert "2 seeds, intervals are 95 % Student t over seeds" in said
    assert "0.80 between their key layers" in yardstick


def test_differences_are_taken_seed_by_seed():
    contest = invented_contest({"scaled": (3, -7), "channels": (1, -9)}, {"scaled": (0.5, 0.9), "channels": (0.4, 0.8)})
    one, other = contest.at("macs", 0.5)
    lead = paired_difference(one, other, "change")
    assert (lead.mean, lead.low, lead.high) == pytest.approx((0.02, 0.02, 0.02))
    assert "ahead of networks with channels pruned by +2.0 (+2.0 to +2.0) points" in contest_sentences(contest)[0]


def test_who_is_over_budget_is_marked_and_who_is_absent_named():
    absent = Absentee(Contender("deep", Budget("macs", 0.5)), "because")
    contest = invented_contest({"scaled": (0, 0)}, {"scaled": (0.5, 0.5)}, [absent])
    rows = {row["way"]: row for row in standing_rows(contest)}
    assert (rows["scaled"]["used"], rows["scaled"]["within_budget"]) == (0.45, True)
    assert (rows["deep"]["n"], rows["deep"]["no_part"]) == (0, "because")
    assert contest_sentences(contest)[-1] == (
        "Deeply compressed networks have no part in the question of multiply-accumulates: because."
    )


def test_leaders_are_chosen_among_those_within_the_budget():
    ways = {"scaled": (0, -1), "channels": (-9, -9), "weights": (5, 6), "deep": (-2, -3)}
    alike = {"scaled": (0.5, 0.5), "channels": (0.7, 0.71), "weights": (1, 1), "deep": (0.9, 0.92)}
    contest = invented_contest(ways, alike)
    heavy = tuple(
        replace(each, member=person(each.member.name, 55, each.member.seed, 501))
        if each.contender.way == "weights"
        else each
        for each in contest.contestants
    )
    said = contest_sentences(replace(contest, contestants=heavy))[0]
    assert "networks with weights pruned (which use 50 %, over the budget) change" in said
    assert (
        "Of those within the budget, most accuracy is kept by scaled-down networks, ahead of deeply compressed" in said
    )
    assert "Most like the original inside are deeply compressed networks" in said
    assert "Of those" not in contest_sentences(contest)[0]
    assert "Most accuracy is kept by networks with weights pruned" in contest_sentences(contest)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": ()}, "shares must be some"),
        ({"shares": (0.5, 0.5)}, "shares must be some, none twice"),
        ({"shares": (1.0,)}, "shares must lie between 0 and 1"),
        ({"resources": ("joules",)}, "resources must be some of"),
        ({"ways": ("magic",)}, "ways must be some of"),
        ({"rule": "d2"}, "d2"),
        ({"bits": 9}, "bits must be from 1 to 8"),
        ({"epochs": 0}, "epochs must be at least 1"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EqualBudgets(**options)
