"""A whole study, end to end: every number in its files is computed again from its weights."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
import torch

import pyscale as ps
from pyscale.studies.trained_networks import open_trained
from tests import oracles
from tests.studies.miniature import TITLE, miniature_study

NAMES = ["baseline", "baseline-seed1", "wider", "deeper", "finer"]


@pytest.fixture(scope="module")
def document(miniature):
    return json.loads((miniature.out / "study.json").read_text(), parse_constant=pytest.fail)


def network(miniature, name):
    return open_trained(miniature.out / "runs" / name)


def similarity(document, name, metric):
    (found,) = [s for s in document["similarities"] if (s["network"], s["metric"]) == (name, metric)]
    return found


def rows(miniature, name):
    with (miniature.out / name).open(newline="") as file:
        return list(csv.DictReader(file))


def pictures(net, order=None):
    """The held-out pictures at the network's resolution, normalised by the training pictures, and their labels."""
    data = miniature_study().data.resized(net.image_size)
    images = (data.test.images - data.mean[0]) / data.std[0]
    order = slice(None) if order is None else order
    return images[order], data.test.labels[order]


def activations(net, images, layer):
    """The output of one call of one layer, copied out of a hook before anything can overwrite it."""
    name, _, call = layer.partition("#")
    seen = []
    handle = net.get_submodule(name).register_forward_hook(lambda *a: seen.append(a[-1].detach().clone()))
    with torch.no_grad():
        net(images)
    handle.remove()
    return seen[int(call or 0)].double().numpy()


def batch_orders(size=45):
    """The comparison's minibatches: one shuffled order for both networks."""
    return miniature_study().data.loader("test", size, shuffle=True, seed=0).indices()


def hand_counted_macs(side, planes, blocks, classes=10):
    """A CIFAR ResNet's multiply-accumulates: 9 c_in c_out a pixel and convolution, then the classifier."""
    macs, before = side * side * 9 * 1 * planes[0], planes[0]
    for stage, width in enumerate(planes):
        side = side if stage == 0 else math.ceil(side / 2)
        macs += side * side * 9 * (before * width + (2 * blocks - 1) * width * width)
        before = width
    return macs + planes[-1] * classes


def test_all_files_are_there(miniature):
    figures = {f"{name}{theme}.png" for theme in ("", "-dark") for name in (
        "accuracy", "cost", "accuracy_at_cost", "training", "curves_cka", "curves_cca_r2",
        *(f"{kind}_{name}{metric}" for name in NAMES[1:] for kind, metric in (
            ("map", "_cka"), ("map", "_cca_r2"), ("profile", ""))),
    )}  # fmt: skip
    assert {path.name for path in (miniature.out / "figures").iterdir()} == figures
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (miniature.out / "figures").iterdir())
    assert {path.name for path in miniature.out.iterdir()} == {
        "report.html", "study.json", "networks.csv", "layers.csv", "figures", "comparisons", "runs",
    }  # fmt: skip


def test_json_says_what_was_run(document):
    assert document["schema"] == "pyscale.study/1"
    assert document["study"] == json.loads(json.dumps(miniature_study().to_dict()))
    assert [net["name"] for net in document["networks"]] == NAMES
    assert [net["role"] for net in document["networks"]] == ["baseline", "twin", "variant", "variant", "variant"]
    assert [net["epochs"] for net in document["networks"]] == [3] * 5
    assert document["provenance"]["taken_up"] == []
    assert document["provenance"]["software"]["torch"] == torch.__version__
    assert all(finding["text"] for finding in document["findings"])


def test_costs_are_those_counted_by_hand(document):
    shapes = {
        "baseline": (8, (16, 32, 64), 1),
        "wider": (8, (24, 48, 96), 1),
        "deeper": (8, (16, 32, 64), 2),
        "finer": (12, (16, 32, 64), 1),
    }
    base = hand_counted_macs(*shapes["baseline"])
    for net in document["networks"]:
        macs = hand_counted_macs(*shapes.get(net["name"], shapes["baseline"]))
        assert net["cost"]["macs"] == macs
        assert net["ratio"]["macs"] == pytest.approx(macs / base, rel=1e-12)
        assert net["cost"]["latency"] > 0
        assert net["ratio"]["latency"] > 0


@pytest.mark.parametrize("name", NAMES)
def test_accuracy_is_that_of_the_weights(miniature, document, name):
    net = network(miniature, name)
    images, labels = pictures(net)
    with torch.no_grad():
        right = (net(images).argmax(1) == labels).numpy()
    (found,) = [n for n in document["networks"] if n["name"] == name]
    assert (found["accuracy"]["correct"], found["accuracy"]["total"]) == (right.sum(), 180)
    base = network(miniature, "baseline")
    with torch.no_grad():
        base_right = (base(pictures(base)[0]).argmax(1) == labels).numpy()
    if name == "baseline":
        assert found["versus_baseline"] is None
    else:
        assert found["versus_baseline"]["only_this"] == (right & ~base_right).sum()
        assert found["versus_baseline"]["only_baseline"] == (base_right & ~right).sum()


@pytest.mark.parametrize(
    ("name", "row", "column"),
    [
        ("baseline-seed1", "layer2.0.relu#1", "layer2.0.relu#1"),
        ("wider", "layer1.0.conv2", "layer3.0.bn1"),
        ("deeper", "layer3.1.relu#1", "linear"),
        ("finer", "conv1", "layer1.0.relu"),
    ],
)
def test_cka_is_that_of_the_formula(miniature, document, name, row, column):
    net, base = network(miniature, name), network(miniature, "baseline")
    batches = []
    for order in batch_orders():
        x = activations(net, pictures(net, order)[0], row)
        y = activations(base, pictures(base, order)[0], column)
        batches.append((x.reshape(len(x), -1), y.reshape(len(y), -1)))
    found = similarity(document, name, "cka")
    i, j = found["rows"].index(row), found["columns"].index(column)
    assert found["values"][i][j] == pytest.approx(oracles.minibatch_cka(batches), abs=1e-5)
    assert found["chance"][i][j] == 0
    assert found["batches"] == 4


@pytest.mark.parametrize(
    ("name", "row", "column"),
    [("wider", "layer3.0.relu#1", "layer2.0.relu#1"), ("finer", "linear", "linear"), ("deeper", "relu", "bn1")],
)
def test_cca_is_that_of_the_formula(miniature, document, name, row, column):
    def pooled(net, layer):
        z = activations(net, pictures(net)[0], layer)
        return z.mean(axis=(2, 3)) if z.ndim == 4 else z

    x, y = pooled(network(miniature, name), row), pooled(network(miniature, "baseline"), column)
    found = similarity(document, name, "cca_r2")
    i, j = found["rows"].index(row), found["columns"].index(column)
    assert found["values"][i][j] == pytest.approx((oracles.canonical_correlations(x, y) ** 2).mean(), abs=1e-4)
    rank = max(oracles.orthonormal_basis(x).shape[1], oracles.orthonormal_basis(y).shape[1])
    assert found["chance"][i][j] == pytest.approx(rank / 179, rel=1e-9)


def test_tables_agree_with_the_json(miniature, document):
    for row, net in zip(rows(miniature, "networks.csv"), document["networks"], strict=True):
        assert row["network"] == net["name"]
        assert int(row["macs"]) == net["cost"]["macs"]
        assert float(row["accuracy"]) == net["accuracy"]["value"]
        assert float(row["accuracy_low"]) == net["accuracy"]["low"]
    layers = rows(miniature, "layers.csv")
    assert len(layers) == sum(len(s["rows"]) for s in document["similarities"])
    for row in layers:
        found = similarity(document, row["network"], row["metric"])
        i = found["rows"].index(row["layer"])
        j = found["columns"].index(row["baseline_layer"])
        assert found["counterpart"][i] == j
        assert number(row["value"]) == found["values"][i][j]
        assert number(row["stderr"]) == found["stderr"][i][j]
        assert number(row["chance"]) == found["chance"][i][j]
        assert number(row["best_value"]) == max((v for v in found["values"][i] if v is not None), default=None)
        assert row["key"] == str(i in found["key_rows"])


def number(text):
    return float(text) if text else None


def test_comparisons_load(miniature, document):
    for found in document["similarities"]:
        comparison = ps.Comparison.load(miniature.out / "comparisons" / f"{found['network']}.{found['metric']}.npz")
        assert comparison.rows == found["rows"]
        np.testing.assert_array_equal(comparison.values, np.array(found["values"], dtype=float))


def test_the_title_survives(document):
    assert document["study"]["title"] == TITLE
