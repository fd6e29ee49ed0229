"""The heat map and the page show what the result holds."""

from __future__ import annotations

import dataclasses
import math
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from torch import nn

import pyscale as ps
from tests.comparison.networks import InPlaceNet, mlp, pictures, vectors

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def result():
    c = ps.compare(mlp(4, 8, 3, seed=1), mlp(4, 8, 6, 3, seed=2), vectors(16, 16), progress=False)
    values = c.values.copy()
    values[1, 2] = np.nan
    return dataclasses.replace(c, values=values)


def bar_of(ax):
    (bar,) = (other for other in ax.figure.axes if other is not ax)
    return bar


def test_the_map_shows_every_value_and_both_models_layers(result):
    ax = result.plot()
    shown = ax.images[0].get_array()
    np.testing.assert_array_equal(shown.filled(np.nan), result.values)
    assert shown.mask[1, 2]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == result.rows
    assert [tick.get_text() for tick in ax.get_xticklabels()] == result.columns
    assert list(ax.get_yticks()) == [0, 1, 2]
    assert ax.yaxis.get_label_text() == "Sequential"


def test_the_colour_bar_names_metric_estimator_and_chance(result):
    bar = bar_of(result.plot())
    assert bar.get_ylabel() == "unbiased linear CKA\nchance 0.00"
    assert [line.get_ydata()[0] for line in bar.lines if line.get_color() == "red"] == [0.0]


def test_a_range_of_chance_levels_and_none():
    x, y = InPlaceNet(seed=1), InPlaceNet(seed=2)
    biased = ps.compare(x, y, pictures(40), estimator="biased", features="pool", progress=False)
    low, high = biased.chance.min(), biased.chance.max()
    assert bar_of(biased.plot()).get_ylabel() == f"biased linear CKA\nchance {low:.2f} to {high:.2f}"
    cca = ps.compare(x, y, pictures(40), metric="cca", features="pool", progress=False)
    assert bar_of(cca.plot()).get_ylabel() == "mean CCA\nchance not known"


def test_negative_values_have_colours_of_their_own(result):
    values = result.values.copy()
    values[0, 0] = -0.2
    image = dataclasses.replace(result, values=values).plot().images[0]
    assert image.get_clim() == (-0.2, 1.0)
    assert result.plot().images[0].get_clim() == (min(0.0, np.nanmin(result.values)), 1.0)


def test_many_layers_get_few_labels():
    model = nn.Sequential(*(nn.Tanh() for _ in range(100)))
    c = ps.compare(model, model, vectors(8), progress=False)
    ax = c.plot()
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert len(labels) <= 40
    assert labels == [c.rows[int(i)] for i in ax.get_yticks()]


def test_given_axes_are_used_and_the_diagonal_outlined(result):
    _, ax = plt.subplots()
    assert result.plot(ax) is ax
    assert not ax.patches
    assert len(result.plot(plt.subplots()[1], diagonal=True).patches) == 3


def test_a_result_of_nan_can_be_drawn(result):
    nothing = dataclasses.replace(result, values=np.full((3, 5), math.nan), chance=np.full((3, 5), math.nan))
    assert nothing.plot().images[0].get_array().mask.all()
    assert "none finite" in repr(nothing)


class Page(HTMLParser):
    """Tags, references and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.sources += [value for key, value in attrs if key in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_needs_no_other_file_and_escapes_names(result, tmp_path):
    path = tmp_path / "page.html"
    strange = dataclasses.replace(result, rows=["<script>", "b", "c"])
    strange.to_html(path)
    text = path.read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.sources) == 1
    assert page.sources[0].startswith("data:image/png;base64,")
    assert "<script>" not in text
    assert "<script>" in page.words
    best = int(np.nanargmax(result.values[0]))
    assert f"{result.values[0, best]:.4g}" in page.words
    assert "chance 0.00" in text
    assert result.meta["date"] in page.words
    assert len(text) < 300_000
    assert plt.get_fignums() == []
