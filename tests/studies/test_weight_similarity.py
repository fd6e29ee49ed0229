"""Weights of single layers from network to network: values at chance where nothing is alike, 1 where all is."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from pyscale.models import build
from pyscale.studies import NamedNetwork, Part, WeightSimilarity, findings, run
from pyscale.studies.weight_similarity.measuring import compare_named
from pyscale.studies.weight_similarity.words import weight_sentences
from tests.studies.miniature import miniature_study

STEM = Part(name="stem", layer="conv1", rows="inputs")
HEAD = Part(name="head", layer="linear", rows="outputs")


def asked(**changes):
    options = {"parts": (STEM, HEAD), "baseline": NamedNetwork(family="cifar_resnet8")}
    options["others"] = (NamedNetwork(family="cifar_resnet14"), NamedNetwork(family="cifar_resnet20"))
    return WeightSimilarity(**{**options, **changes})


def biased_cka(x, y):
    k, g = ((m - m.mean(0)) @ (m - m.mean(0)).T for m in (x, y))
    return (k * g).sum() / np.sqrt((k * k).sum() * (g * g).sum())


def test_untrained_networks_are_at_chance():
    rows = compare_named(asked(), seed=0)
    assert [(row.network, row.part, row.metric) for row in rows[:4]] == [
        ("cifar_resnet14", "stem", "cka"),
        ("cifar_resnet14", "stem", "cka_biased"),
        ("cifar_resnet14", "stem", "cca_r2"),
        ("cifar_resnet14", "head", "cka"),
    ]
    for row in rows:
        assert row.state == "untrained"
        if row.metric == "cka":
            assert row.chance == 0
            assert abs(row.zscore) < 3.5
        elif row.metric == "cka_biased":
            assert 0.2 < row.chance < 0.9
            assert abs(row.value - row.chance) < 0.15
    (said,) = [text for text in weight_sentences(rows) if text.startswith("CKA is")]
    assert "none of 4 is more than 3 deviations off" in said
    assert "untrained, and that is the point" in list(weight_sentences(rows))[-1]


def test_values_are_those_of_the_formula(tmp_path):
    paths = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        network = build("cifar_resnet8")
        torch.save(network.state_dict(), tmp_path / f"{seed}.pth")
        paths.append(
            (NamedNetwork(family="cifar_resnet8", weights=str(tmp_path / f"{seed}.pth"), name=f"n{seed}"), network)
        )
    (x, one), (y, other) = paths
    (row, *_) = compare_named(asked(baseline=x, others=(y,), metrics=("cka_biased",), parts=(STEM,)), seed=0)
    matrices = [n.conv1.weight.detach().double().reshape(16, 27).T.numpy() for n in (one, other)]
    assert row.value == pytest.approx(biased_cka(*matrices), abs=1e-6)
    assert (row.state, row.rows, row.columns) == ("from a file", 27, 16)


def test_rows_that_differ_are_not_padded():
    others = (NamedNetwork(family="lenet5"),)
    question = asked(
        baseline=NamedNetwork(family="lenet_300_100"), others=others, parts=(Part(name="out", layer="ip2"),)
    )
    rows = compare_named(question, seed=0)
    assert all(np.isnan(row.value) and row.rows == 0 and "300" in row.note and "500" in row.note for row in rows)
    assert any(text.startswith("No rows in common with lenet_300_100") for text in weight_sentences(rows))


def test_cca_at_its_ceiling_is_said():
    network = NamedNetwork(family="cifar_resnet20", name="other")
    question = asked(others=(network,), parts=(HEAD,), metrics=("cca_r2",))
    (row,) = compare_named(question, seed=0)  # 10 classes and 64 columns
    assert row.value == pytest.approx(1)
    assert row.chance == 1
    assert row.note == "1 whatever the weights: 10 rows are too few for 64 and 64 columns"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parts": ()}, "parts: expected some"),
        ({"parts": (STEM, STEM)}, r"parts: .* got \['stem', 'stem'\]"),
        ({"others": ()}, "baseline and others go together"),
        ({"metrics": ("cosine",)}, "metrics must be some of"),
        ({"others": (NamedNetwork(family="cifar_resnet8"),)}, "others: .* name of its own"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        asked(**changes)


def test_a_study_compares_its_own_networks(tmp_path):
    question = WeightSimilarity(parts=(STEM, HEAD))
    study = miniature_study(
        variants=(), epochs=1, cca_layers=("relu", "linear"), compare_weights=question, logger=("csv",)
    )
    result = run(study, tmp_path, progress=False, device="cpu")
    with (tmp_path / "weights.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == ["baseline-seed1"] * 6
    assert float(rows[0]["value"]) == result.weights[0].value
    assert rows[0]["state"] == "of the study"
    texts = [finding.text for finding in findings(result) if finding.topic == "weights"]
    report = (tmp_path / "report.html").read_text()
    assert "Weights of single layers" in report
    assert texts[0] in report
    twin = result.similarities["baseline-seed1"]
    assert twin["cca_r2"].comparison.rows == ["relu", "linear"]
    assert len(twin["cka"].comparison.rows) > 10
    assert (tmp_path / "runs" / "baseline" / "logs" / "csv" / "version_0" / "metrics.csv").exists()
