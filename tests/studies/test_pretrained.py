"""Checkpoints in a study: evaluated and compared, never trained; and the published layouts by path."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pyscale.models import Scaling, build
from pyscale.studies import Variant, estimate, run
from pyscale.studies.documents.reading import parse_study
from pyscale.studies.trained_networks import build_seeded, open_trained
from pyscale.train import evaluate, image_folder
from tests.models import layouts
from tests.studies.miniature import miniature_study

SHAPE = {"num_classes": 10, "in_channels": 1, "image_size": 8}
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two files as trainings elsewhere leave them, of a network and of one that is twice as deep."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, scaling, seed in (("base.pth", Scaling(), 5), ("deep.pth", Scaling(depth=2), 6)):
        network = build_seeded("cifar_resnet8", seed, scaling=scaling, **SHAPE)
        state = {f"module.{key}": value for key, value in network.state_dict().items()}
        torch.save({"state_dict": state, "epoch": 3}, folder / name)
    return folder


@pytest.fixture(scope="module")
def result(checkpoints, tmp_path_factory):
    study = miniature_study(
        variants=(
            Variant("deep", Scaling(depth=2), weights=str(checkpoints / "deep.pth")),
            Variant("wider", Scaling(width=1.5)),
        ),
        weights=str(checkpoints / "base.pth"),
        twin_seeds=(),
        epochs=1,
        metrics=("cka",),
    )
    return run(study, tmp_path_factory.mktemp("pretrained"), progress=False)


def test_checkpoints_are_evaluated_and_compared_as_they_are(result):
    base, deep, wider = result.members
    expected = build_seeded("cifar_resnet8", 5, **SHAPE)
    for key, value in expected.state_dict().items():
        assert torch.equal(base.network.state_dict()[key], value)
    assert base.trained.accuracy.correct == evaluate(expected, result.study.data).correct == int(base.right.sum())
    assert [len(member.trained.history) for member in (base, deep, wider)] == [0, 0, 1]
    assert np.isfinite(result.similarities["deep"]["cka"].comparison.values).all()
    assert open_trained(result.out / "runs" / "deep").recipe.scaling.depth == 2


def test_the_report_says_where_the_weights_came_from(result):
    page = (result.out / "report.html").read_text()
    assert "The baseline is a checkpoint, base.pth" in page
    assert "baseline, deep: weights from a file" in page
    networks = json.loads((result.out / "study.json").read_text())["networks"]
    assert [network["epochs"] for network in networks] == [0, 0, 1]


def test_only_what_is_trained_is_estimated(result):
    rows = estimate(result.study).rows
    assert [(row.name, row.epochs > 0) for row in rows] == [("baseline", False), ("deep", False), ("wider", True)]


def test_files_say_weights(checkpoints):
    text = f"""\
title: t
family: cifar_resnet8
image_size: 8
data: {{train: 120, test: 180}}
weights: {checkpoints / "base.pth"}
twin_seeds: []
variants:
  - {{name: same, weights: {checkpoints / "base.pth"}}}
  - {{name: deep, weights: {checkpoints / "deep.pth"}, scale: {{depth: 2}}}}
"""
    study = parse_study(text)
    assert study.members[0].weights == str(checkpoints / "base.pth")
    assert [(variant.weights[-8:], variant.scaling.depth) for variant in study.variants] == [
        ("base.pth", 1),
        ("deep.pth", 2),
    ]
    assert parse_study(study.to_yaml()).variants == study.variants
    with pytest.raises(ValueError, match=r"line 5: weights: twin_seeds: a baseline with weights is not trained"):
        parse_study(text.replace("twin_seeds: []\n", ""))
    with pytest.raises(ValueError, match=r"variants\[1\].*expected exactly one of scale"):
        parse_study(text.replace("scale: {depth: 2}", "compress: {amount: 0.5}"))
    with pytest.raises(ValueError, match="equal_budget: networks are trained alike there"):
        parse_study(text + "equal_budget: {shares: [0.5]}\n")


def test_weights_that_do_not_fit_are_named(checkpoints, tmp_path):
    study = miniature_study(
        variants=(Variant("wrong", Scaling(width=2), weights=str(checkpoints / "base.pth")),), epochs=1
    )
    with pytest.raises(ValueError, match=r"base\.pth' does not fit.*The file belongs to another width"):
        run(study, tmp_path, progress=False)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_torchvisions_layout_loads_by_path(name, tmp_path):
    """A file with exactly torchvision's keys and shapes, as its checkpoints have them."""
    entries = list(layouts.layout(name))
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.rand(shape, generator=generator) + 0.5 if shape else torch.tensor(7) for key, shape in entries}
    torch.save(state, tmp_path / "official.pth")
    network = build(name, weights=tmp_path / "official.pth")
    assert list(network.state_dict()) == list(state)
    assert all(torch.equal(network.state_dict()[key], value) for key, value in state.items())


@pytest.mark.slow
@pytest.mark.skipif("PYSCALE_DATA" not in os.environ, reason="PYSCALE_DATA is unset: no published checkpoints")
def test_published_networks_score_what_is_known_of_them():
    folder = Path(os.environ["PYSCALE_DATA"])
    files = {"cifar_resnet20": "resnet20-12fca82f.th", "cifar_resnet32": "resnet32-d509ac18.th"}
    if not all((folder / file).is_file() for file in [*files.values(), "cifar10-jpeg.zip"]):
        pytest.skip(f"{folder} lacks the checkpoints or the pictures")
    data = image_folder(folder / "cifar10-jpeg.zip").normalised_by(*IMAGENET)
    found = {name: evaluate(build(name, weights=folder / file), data) for name, file in files.items()}
    assert found["cifar_resnet20"].low < 0.81 < found["cifar_resnet20"].high  # JPEG takes ten points
    assert found["cifar_resnet32"].low < 0.83 < found["cifar_resnet32"].high
