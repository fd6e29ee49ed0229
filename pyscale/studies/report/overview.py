"""Networks beside networks: how alike corresponding layers are on average, and how alike the best matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import isfinite, nan
from typing import Any

import numpy as np

from pyscale.studies.captions import key_values, mean_defined
from pyscale.studies.findings import Finding
from pyscale.studies.report.networks import Cell
from pyscale.studies.report.parts import Chart, Section, render
from pyscale.studies.report.plots import HOVER, LIGHT, axis, colour_scale, layout
from pyscale.studies.report.values import lines, number
from pyscale.studies.results import StudyResult
from pyscale.studies.similarity import Similarity, as_similarity
from pyscale.studies.study import LABELS

Pairs = Mapping[tuple[str, str], Mapping[str, Similarity]]


@dataclass(frozen=True)
class PairSummary:
    """Two networks in a few numbers, over the key layers of the first.

    Attributes:
        network: Its layers are the rows.
        other: Its layers are the columns.
        aligned: Mean similarity to the corresponding layer.
        best: Mean similarity to the layer most alike: the greatest of many, so above ``aligned`` by chance too.
        chance: Mean level of unrelated layers at the corresponding ones.
        yardstick: Mean similarity from seed to seed at the same layers; NaN where there is none.
        found: How many layers are most alike to the corresponding one, of all layers of the other network.
        layers: How many have a value.
    """

    network: str
    other: str
    aligned: float
    best: float
    chance: float
    yardstick: float
    found: int
    layers: int


def compared_pairs(result: StudyResult) -> Pairs:
    """All comparisons of a study by the names of rows and columns, those that rows have in common together."""
    baseline, names = result.baseline.name, [member.name for member in result.members]
    pairs: dict[tuple[str, str], dict[str, Similarity]] = {}
    for network, other in product(names, names):
        if other == baseline and result.similarities.get(network):
            pairs[network, other] = dict(result.similarities[network])
        elif network != other and result.all_pairs:
            pairs[network, other] = {
                metric: as_similarity(comparisons[network, other], metric, result.study.key_layers)
                for metric, comparisons in result.all_pairs.items()
            }
    return pairs


def summarize(result: StudyResult, pair: tuple[str, str], similarity: Similarity) -> PairSummary:
    """Reduce a comparison to the numbers of an overview."""
    key = similarity.key_rows
    best, values = similarity.best[key], similarity.comparison.values[key]
    most = np.where(best >= 0, values[np.arange(len(key)), best], np.nan)
    is_twin = any(twin.name == pair[0] for twin in result.twins)
    yardstick = None if is_twin or pair[1] != result.baseline.name else result.yardstick(similarity)
    return PairSummary(
        *pair,
        aligned=mean_defined(key_values(similarity)),
        best=mean_defined(most),
        chance=mean_defined(similarity.at_counterpart("chance")[key]),
        yardstick=nan if yardstick is None else mean_defined(yardstick[0][key]),
        found=int((best == similarity.counterpart[key]).sum()),
        layers=int((best >= 0).sum()),
    )


def overview_section(result: StudyResult, found: Sequence[Finding]) -> Section | None:
    """A table of all pairs, and a chart for each similarity; None where nothing was compared."""
    return overview(result, compared_pairs(result))


def overview(result: StudyResult, pairs: Pairs) -> Section | None:
    """The section about some pairs: with one network in common a chart of dots, else a map of networks."""
    metrics = [metric for metric in result.study.metrics if any(metric in found for found in pairs.values())]
    if not metrics:
        return None
    summaries = {
        metric: [summarize(result, pair, found[metric]) for pair, found in pairs.items() if metric in found]
        for metric in metrics
    }
    draw = dots_chart if len({other for _, other in pairs}) == 1 else networks_chart
    html = render(
        "overview.html.j2",
        charts=[draw(metric, summaries[metric]) for metric in metrics],
        columns=[
            f"{LABELS[metric]}{title}"
            for metric in metrics
            for title in (
                " to the corresponding layer",
                ", seed to seed",
                ", chance",
                " to the best match",
                ": best match corresponds",
            )
        ],
        rows=[
            {
                "network": network,
                "other": other,
                "cells": [cell for metric in metrics for cell in _cells(summaries[metric], (network, other))],
            }
            for network, other in pairs
        ],
    )
    return Section("overview", "Networks beside networks", "Overview", html)


def _cells(summaries: Sequence[PairSummary], pair: tuple[str, str]) -> list[Cell]:
    for one in summaries:
        if (one.network, one.other) == pair:
            numbers = (one.aligned, one.yardstick, one.chance, one.best)
            share = one.found / one.layers if one.layers else None
            return [
                *(Cell(number(value), (), value if isfinite(value) else None) for value in numbers),
                Cell(f"{one.found} of {one.layers}", (), share),
            ]
    return [Cell(number(nan)) for _ in range(5)]


def dots_chart(metric: str, summaries: Sequence[PairSummary]) -> Chart:
    """One line a network: corresponding layers, best match, yardstick and chance on the scale 0 to 1."""
    names = [lines(one.network) for one in summaries]
    marks = (
        ("chance", "chance", "line-ns", 10, LIGHT.muted),
        ("yardstick", "seed to seed", "diamond-tall-open", 13, LIGHT.muted),
        ("best", "best match", "circle-open", 13, LIGHT.networks[0]),
        ("aligned", "corresponding layer", "circle", 7, LIGHT.networks[0]),
    )
    texts = [_in_words(metric, one) for one in summaries]
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": title,
            "x": [getattr(one, field) for one in summaries],
            "y": names,
            "marker": {"symbol": symbol, "size": size, "color": colour, "line": {"width": 2, "color": colour}},
            "text": texts,
            "hovertemplate": HOVER,
        }
        for field, title, symbol, size, colour in marks
        if any(isfinite(getattr(one, field)) for one in summaries)
    ]
    y = axis("", categoryorder="array", categoryarray=names[::-1], type="category")
    label = LABELS[metric]
    return Chart(
        f"overview-{metric}",
        traces,
        layout(axis(f"mean {label}", range=[-0.05, 1.05]), y),
        caption=f"{label} to the baseline, the mean over the key layers.",
        alt=f"Mean {label} to the baseline: {_all_in_words(summaries)}.",
        height=150 + 32 * len(names),
    )


def networks_chart(metric: str, summaries: Sequence[PairSummary]) -> Chart:
    """A map of networks: the mean similarity of corresponding layers, rows against columns."""
    rows = list(dict.fromkeys(one.network for one in summaries))
    others = list(dict.fromkeys(one.other for one in summaries))
    columns = [*(name for name in others if name not in rows), *(name for name in rows if name in others)]
    rows = rows[::-1]  # the first at the top
    values = np.full((len(rows), len(columns)), np.nan)
    texts = [["itself" if row == column else "not compared" for column in columns] for row in rows]
    for one in summaries:
        i, j = rows.index(one.network), columns.index(one.other)
        values[i, j], texts[i][j] = one.aligned, _in_words(metric, one)
    label = LABELS[metric]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": [lines(name) for name in columns],
        "y": [lines(name) for name in rows],
        "z": values.tolist(),
        "zmin": 0,
        "zmax": 1,
        "colorscale": colour_scale(),
        "colorbar": {"title": {"text": label}, "thickness": 12, "outlinewidth": 0},
        "text": texts,
        "hovertemplate": HOVER,
        "hoverongaps": False,
        "xgap": 2,
        "ygap": 2,
    }
    return Chart(
        f"overview-{metric}",
        [trace],
        layout(axis("", type="category"), axis("", type="category"), plot_bgcolor=LIGHT.grid),
        caption=f"Mean {label} of each network's key layers (rows) to the corresponding layers of another (columns).",
        alt=f"Mean {label} of corresponding layers: {_all_in_words(summaries)}.",
        height=None,
    )


def _in_words(metric: str, one: PairSummary) -> str:
    return lines(
        f"{one.network} beside {one.other}",
        f"{LABELS[metric]} {number(one.aligned)} to the corresponding layer",
        f"{number(one.best)} to the best match, which corresponds for {one.found} of {one.layers}",
        f"seed to seed {number(one.yardstick)}, chance {number(one.chance)}",
    )


def _all_in_words(summaries: Sequence[PairSummary]) -> str:
    return "; ".join(
        f"{one.network} beside {one.other} {number(one.aligned)}, best match {number(one.best)}, "
        f"seed to seed {number(one.yardstick)}, chance {number(one.chance)}"
        for one in summaries
    )
