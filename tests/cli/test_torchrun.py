"""Commands under torchrun: the processes share the work, one is heard, and files are written once."""

from __future__ import annotations

import json

import numpy as np
import pytest

import pyscale as ps
from tests.cli.test_study import TEXT
from tests.distributed.launching import torchrun

pytestmark = pytest.mark.slow

PAIR = ("cifar_resnet8:width=0.25", "cifar_resnet8:width=0.5")


def run(*arguments):
    return torchrun(2, "pyscale", *arguments).stdout


def test_compare_prints_one_result_that_is_that_of_both(tmp_path):
    out = tmp_path / "c.npz"
    printed = json.loads(run("compare", *PAIR, "--max-batches", "3", "--json", "--out", out))
    assert printed["meta"]["processes"] == 2
    assert printed["meta"]["batches"] == 3
    saved = ps.Comparison.load(out)
    np.testing.assert_array_equal(saved.values, np.array(printed["values"], dtype=np.float64))


def test_stores_are_written_and_compared_together(tmp_path):
    pytest.importorskip("numcodecs")
    for name, model in zip("xy", PAIR, strict=True):
        printed = json.loads(run("extract", model, tmp_path / f"{name}.zarr", "--max-batches", "3", "--json"))
        assert printed["samples"] == 180  # batches of nearly equal size
    found = json.loads(run("compare-stores", tmp_path / "x.zarr", tmp_path / "y.zarr", "--batch-size", "64", "--json"))
    assert (found["meta"]["processes"], found["meta"]["batches"]) == (2, 3)


def test_train_leaves_one_run(tmp_path):
    out = tmp_path / "run"
    printed = json.loads(run("train", "cifar_resnet8", "--subset", "60", "--epochs", "1", "--out", out, "--json"))
    assert printed["accuracy"]["total"] == 359
    assert {"weights.pt", "result.json", "model.json"} <= {file.name for file in out.iterdir()}


def test_study_shares_the_networks_and_reports_once(tmp_path):
    file = tmp_path / "twins.yaml"
    file.write_text(TEXT)
    printed = json.loads(run("study", file, "--out", tmp_path / "out", "--device", "cpu", "--json"))
    assert set(printed["accuracy"]) == {"baseline", "baseline-seed1"}
    assert (tmp_path / "out" / "twins" / "report.html").exists()


def test_other_commands_are_one_process_own():
    printed = json.loads(run("profile", "cifar_resnet8", "--json"))
    assert printed
