"""`extract` and `compare-stores`: what they print and write, and the exit codes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pyscale as ps
from pyscale.cli.program import program


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(*arguments, code=0):
    result = CliRunner().invoke(program, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    found = []
    for seed in (0, 1):
        path = folder / f"{seed}.zarr"
        options = ["--image-size", "8", "--max-batches", "2", "--layers", "conv1", "--layers", "layer3.*", "--json"]
        found.append((path, json.loads(run("extract", "cifar_resnet8", path, "--seed", seed, *options).stdout)))
    return found


def test_extract_says_what_it_wrote(stores):
    path, said = stores[0]
    store = ps.open_store(path)
    assert said["samples"] == store.samples == 120
    assert [layer["layer"] for layer in said["layers"]] == list(store.layers)
    assert said["layers"][0] == {"layer": "conv1", "shape": [120, 16, 8, 8], "dtype": "float32"}


def test_compare_stores_gives_what_compare_gives(stores, tmp_path):
    out = tmp_path / "result.npz"
    said = json.loads(run("compare-stores", stores[0][0], stores[1][0], "--batch-size", 60, "-o", out, "--json").stdout)
    options = ["--image-size", "8", "--max-batches", "2", "--layers", "conv1", "--layers", "layer3.*", "--json"]
    same = json.loads(run("compare", "cifar_resnet8", "cifar_resnet8", *options).stdout)
    assert said["rows"] == same["rows"]
    itself = run("compare-stores", stores[0][0], stores[0][0], "--batch-size", 60, "--json").stdout
    assert np.array_equal(json.loads(itself)["values"], same["values"])
    assert np.allclose(ps.Comparison.load(out).values, said["values"])


def test_pictures_are_normalised_as_compare_normalises_them(stores, tmp_path):
    options = ["--image-size", "8", "--max-batches", "2", "--layers", "layer3.*", "--json"]
    normal = ["--mean", "0.9", "--std", "0.1"]
    for model in ("cifar_resnet8", "cifar_resnet14"):
        run("extract", model, tmp_path / f"{model}.zarr", *options, *normal)
    pair = [tmp_path / "cifar_resnet8.zarr", tmp_path / "cifar_resnet14.zarr"]
    found = json.loads(run("compare-stores", *pair, "--batch-size", 60, "--json").stdout)["values"]
    same = json.loads(run("compare", "cifar_resnet8", "cifar_resnet14", *options, *normal).stdout)["values"]
    own_mean = json.loads(run("compare", "cifar_resnet8", "cifar_resnet14", *options).stdout)["values"]
    assert np.array_equal(found, same)
    assert not np.allclose(found, own_mean)


def test_tables_are_printed(stores):
    assert "120 samples in 2 batches" in run("compare-stores", stores[0][0], stores[1][0], "--batch-size", 60).stdout
    printed = run("extract", "cifar_resnet8", stores[0][0], "--image-size", 8, "--max-batches", 2, "--layers", "conv1",
                  "--layers", "layer3.*").stdout  # fmt: skip
    assert "120 x 16 x 8 x 8" in printed


def test_mistakes_are_usage(stores, tmp_path):
    assert "no store at" in run("compare-stores", stores[0][0], tmp_path / "none", code=2).stderr
    assert "expected a file ending in" in run("compare-stores", *[stores[0][0]] * 2, "-o", "x.txt", code=2).stderr
    other = run("extract", "cifar_resnet8", stores[0][0], "--image-size", 8, "--max-batches", 2, code=2).stderr
    assert "is a complete store with other layers" in other
