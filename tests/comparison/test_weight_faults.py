"""Faults of the study that compared EfficientNets by their weights, each as a test that pyscale does not have it.

Its heads are 1 x 1 convolutions from p to n = 4 p channels, p = 320 for B0 to 640 for B7; it took filters for samples,
made their numbers equal with rows of zeros around them, and published the biased CKA .2153 to .1278 as a finding.
"""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn

import pyscale as ps

mpl.use("Agg")

HEADS = {"b1": 320, "b2": 352, "b3": 384, "b4": 448, "b5": 512, "b6": 576, "b7": 640}
STUDY = {"b1": 0.2153, "b2": 0.2063, "b3": 0.1975, "b4": 0.1727, "b5": 0.1550, "b6": 0.1348, "b7": 0.1278}
CHANCE = {"b1": 0.2000, "b2": 0.1907, "b3": 0.1826, "b4": 0.1690, "b5": 0.1581, "b6": 0.1491, "b7": 0.1414}


def head(p, seed):
    """Random weights of a head's shape; nothing relates two of them."""
    conv = nn.Conv2d(p, 4 * p, 1, bias=False)
    with torch.no_grad():
        conv.weight.normal_(generator=torch.Generator().manual_seed(seed))
    return conv


def padded(weight, n):
    """The study's way: rows of zeros above and below."""
    before = (n - len(weight)) // 2
    return np.pad(weight, ((before, n - len(weight) - before), (0, 0)))


def test_unequal_heads_are_refused_by_name_and_shape_and_never_padded():
    """Fault 6."""
    b0, b7 = ps.models.build("efficientnet_b0"), nn.ModuleDict({"head": head(640, 1)})
    message = (
        r"layer 'features.8.0' of model_x with weight \(1280, 320, 1, 1\).*"
        r"layer 'head' of model_y with weight \(2560, 640, 1, 1\).*never padded"
    )
    for rows in ("outputs", "inputs"):
        with pytest.raises(ValueError, match=message):
            ps.compare_weights(b0, b7, layers="features.8.0", layers_y="head", rows=rows)


def test_rows_of_zeros_would_move_the_value():
    """Fault 6: 20 filters are added to 40; zeros around the 40 pair each with another filter, columns of zeros none."""
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((60, 9))
    narrow = wide[:40]
    assert ps.cka(np.pad(narrow, ((0, 0), (2, 2))), wide[:40], estimator="biased") == pytest.approx(1, rel=1e-12)
    assert ps.cka(padded(narrow, 60), wide, estimator="biased") < ps.chance(narrow, wide[:40], estimator="biased") + 0.1


@pytest.mark.parametrize("name", HEADS)
def test_the_published_fall_is_that_of_noise(name):
    """Fault 7: independent noise of the same shapes, padded the same way, falls the same way; pyscale says so."""
    p = HEADS[name]
    n0, n = 1280, 4 * p
    x = padded(head(320, 0).weight.detach().flatten(1).numpy(), n)
    y = head(p, 1).weight.detach().flatten(1).numpy()
    assert math.sqrt(320 * p * n0 / (n * (320 + n0) * (p + n))) == pytest.approx(CHANCE[name], abs=5e-5)
    assert ps.chance(x, y, estimator="biased") == pytest.approx(CHANCE[name], abs=0.002)
    assert ps.cka(x, y, estimator="biased") == pytest.approx(CHANCE[name], abs=0.002)
    assert abs(STUDY[name] - CHANCE[name]) < 0.02
    assert abs(ps.cka(x, y)) < 4 / math.sqrt(n * (n - 3) / 2)


@pytest.mark.parametrize("rows", ["outputs", "inputs"])
def test_unrelated_weights_score_chance_and_the_chance_stands_beside_them(rows):
    """Fault 7."""
    x, y = head(320, 0), head(320, 1)
    biased = ps.compare_weights(x, y, rows=rows, estimator="biased")
    n, p = (1280, 320) if rows == "outputs" else (320, 1280)
    assert biased.chance.item() == pytest.approx(p / (p + n), abs=0.002)
    assert biased.values.item() == pytest.approx(biased.chance.item(), abs=4 * math.sqrt(2) / n)
    unbiased = ps.compare_weights(x, y, rows=rows)
    assert unbiased.chance.item() == 0
    assert abs(unbiased.values.item()) < 4 / math.sqrt(n * (n - 3) / 2)
    assert abs(unbiased.zscores.item()) < 4
    np.testing.assert_array_equal(biased.zscores, unbiased.zscores)


def test_the_cca_of_a_layer_with_itself_is_one():
    """Fault 8: there it was [3.6, .64, 1.88, .19, .001]."""
    layer = head(16, 0)
    for metric in ("cca", "cca_r2", "svcca", "pwcca"):
        assert ps.compare_weights(layer, layer, rows="outputs", metric=metric).values == pytest.approx(1, abs=1e-10)
    X = layer.weight.detach().flatten(1).numpy()
    np.testing.assert_allclose(ps.cca(X, X).correlations, np.ones(16), atol=1e-6)


def test_each_picture_shows_its_own_layer_and_kernel():
    """Fault 9: the picture of the head's RBF CKA showed the stem's values."""
    models = [nn.ModuleDict({"stem": nn.Conv2d(3, 32, 3), "head": nn.Conv2d(32, 48, 1)}) for _ in range(2)]
    figure, axes = plt.subplots(2, 2)
    shown = {}
    for row, layer in zip(axes, ("stem", "head"), strict=True):
        for ax, kernel in zip(row, ("linear", "rbf"), strict=True):
            c = ps.compare_weights(*models, layers=layer, kernel=kernel, rows="outputs")
            c.plot(ax)
            shown[layer, kernel] = c.values.item()
            assert ax.images[0].get_array().item() == shown[layer, kernel]
            assert [tick.get_text() for tick in ax.get_yticklabels()] == [layer]
            assert kernel.lower() in ax.images[0].colorbar.ax.get_ylabel().lower()
    plt.close(figure)
    assert len(set(shown.values())) == 4
