"""Commands about checkpoints and many models: what they print and write, and what they refuse."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch

import pyscale as ps
from pyscale.models import compound
from pyscale.studies.trained_networks import build_seeded
from tests.cli.test_commands import SMALL, one_thread, run  # noqa: F401  # one_thread is for these tests too

SHAPE = {"num_classes": 10, "in_channels": 1, "image_size": 8}
MODELS = ["cifar_resnet8", "cifar_resnet8:width=0.5", "cifar_resnet8:resolution=1.5"]


@pytest.fixture
def checkpoint(tmp_path):
    network = build_seeded("cifar_resnet8", 9, **SHAPE)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w.pth")
    return tmp_path / "w.pth"


def test_compare_many_gives_what_the_library_gives_at_every_models_resolution():
    printed = json.loads(
        run("compare-many", *MODELS, *SMALL, "--names", "a,b,c", "--batch-size", "90", "--json").stdout
    )
    assert printed["names"] == ["a", "b", "c"]
    nets = [build_seeded("cifar_resnet8", 0, **SHAPE)]
    nets += [
        build_seeded("cifar_resnet8", 0, scaling=ps.models.Scaling(**s), **SHAPE)
        for s in ({"width": 0.5}, {"resolution": 1.5})
    ]
    digits = ps.train.digits()
    loaders = {
        n: digits.resized(net.image_size).loader("test", 90, shuffle=True) for n, net in zip("abc", nets, strict=True)
    }
    found = ps.compare_many(dict(zip("abc", nets, strict=True)), loaders, progress=False)
    np.testing.assert_allclose(printed["aligned"], found.aligned, atol=1e-9)
    np.testing.assert_allclose(printed["best_match"], found.best_match, atol=1e-9)


def test_compare_many_writes_every_kind_of_file_and_a_table(tmp_path):
    files = [tmp_path / "new" / f"c{suffix}" for suffix in (".npz", ".html", ".png", ".csv")]
    outs = [part for file in files for part in ("--out", file)]
    result = run("compare-many", *MODELS[:2], *SMALL, "--layers", "*.relu", *outs)
    found = ps.Comparisons.load(files[0])
    assert found.names == MODELS[:2]
    assert files[1].read_text().startswith("<!doctype html>")
    assert files[2].read_bytes().startswith(b"\x89PNG")
    lines = list(csv.DictReader(io.StringIO(files[3].read_text())))
    assert float(lines[1]["aligned"]) == pytest.approx(found.aligned[0, 1])
    assert f"{found.best_match[1, 0]:.4f}" in result.stdout
    assert "2 models, 359 samples in 6 batches" in result.stdout


def test_compare_many_takes_stores_alone_and_beside_networks(tmp_path):
    pytest.importorskip("numcodecs", reason="numcodecs is not installed: pip install 'pyscale[store]'")
    loader = ps.train.digits().loader("test", 90, shuffle=True)
    for seed in range(2):
        ps.extract(build_seeded("cifar_resnet8", seed, **SHAPE), loader, tmp_path / f"{seed}.zarr", progress=False)
    stores = [tmp_path / f"{seed}.zarr" for seed in range(2)]
    options = ["--names", "one,two", "--batch-size", "90", "--json"]
    alone = json.loads(run("compare-many", *stores, *options).stdout)
    beside = json.loads(run("compare-many", "cifar_resnet8", stores[1], *SMALL, *options).stdout)
    np.testing.assert_allclose(alone["aligned"], beside["aligned"], atol=1e-6)


def test_compare_many_wants_names_that_tell_apart():
    assert "stands for several models" in run("compare-many", MODELS[0], MODELS[0], *SMALL, code=2).stderr
    assert "expected 2 names" in run("compare-many", *MODELS[:2], "--names", "a", code=2).stderr
    assert "expected a file ending in" in run("compare-many", *MODELS[:2], "--out", "a.txt", code=2).stderr


def test_a_checkpoint_is_part_of_a_models_name(checkpoint):
    (said,) = json.loads(run("evaluate", f"cifar_resnet8:weights={checkpoint}", *SMALL[:2], "--json").stdout)
    expected = ps.train.evaluate(build_seeded("cifar_resnet8", 9, **SHAPE), ps.train.digits())
    assert said["accuracy"]["correct"] == expected.correct
    arguments = [
        f"cifar_resnet8:weights={checkpoint}",
        "cifar_resnet8",
        "--image-size",
        "8",
        "--layers",
        "conv1",
        "--json",
    ]
    (value,) = json.loads(run("compare", *arguments, "--seed", "9").stdout)["values"]
    assert value[0] == pytest.approx(1, abs=1e-6)
    both = [arguments[0], "cifar_resnet8", "--weights-x", checkpoint]
    assert "names" in run("compare", *both, code=2).stderr
    assert "the path of one checkpoint" in run("evaluate", "cifar_resnet8:weights=", code=2).stderr
    assert "no such file" in run("evaluate", "cifar_resnet8:weights=nowhere.pth", *SMALL[:2], code=2).stderr


def test_pictures_are_normalised_as_a_checkpoint_was_trained(checkpoint):
    model = [f"cifar_resnet8:weights={checkpoint}", "--image-size", "8"]
    (said,) = json.loads(run("evaluate", *model, "--mean", "0.9", "--std", "0.1", "--json").stdout)
    data = ps.train.digits().normalised_by([0.9], [0.1])
    assert said["accuracy"]["correct"] == ps.train.evaluate(build_seeded("cifar_resnet8", 9, **SHAPE), data).correct
    assert "359" in run("evaluate", *model).stdout
    assert "expected numbers" in run("evaluate", *model, "--mean", "a", code=2).stderr
    assert "one number a channel" in run("evaluate", *model, "--mean", "0.5,0.5", code=2).stderr


def test_data_sets_of_hugging_face_are_opened(tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install 'pyscale[hub]'")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    split = datasets.Dataset.from_dict({"img": pixels.tolist(), "fine": [0, 1] * 6})
    datasets.DatasetDict(train=split, test=split).save_to_disk(tmp_path / "d")
    options = ["--data", f"hf:{tmp_path / 'd'},image=img,label=fine", "--image-size", "8", "--json"]
    (said,) = json.loads(run("evaluate", "cifar_resnet8", *options).stdout)
    assert said["accuracy"]["total"] == 12
    split = split.rename_columns({"img": "image", "fine": "label"})
    datasets.DatasetDict(train=split, test=split).save_to_disk(tmp_path / "plain")
    options[1] = tmp_path / "plain"
    (said,) = json.loads(run("evaluate", "cifar_resnet8", *options).stdout)
    assert said["accuracy"]["total"] == 12
    assert "expected hf:PATH" in run("evaluate", "cifar_resnet8", "--data", "hf:x,width=3", code=2).stderr


def test_compound_scaling_stops_at_a_resolution(tmp_path):
    options = ["--subset", "50", "--epochs", "1", "--threads", "1", "--out", tmp_path, "--json"]
    printed = json.loads(run("train", "cifar_resnet8", "--phi", "0,0,4", "--max-resolution", "1.25", *options).stdout)
    expected = compound((0, 0, 4), max_resolution=1.25)
    assert printed["model"]["scaling"]["resolution"] == expected.resolution == 1.25
    assert "give --phi" in run("train", "cifar_resnet8", "--max-resolution", "2", code=2).stderr
