"""What changed inside: curves of all networks, and one network at a time with its maps, profiles and layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pyscale.studies.captions import curves_caption, curves_in_words
from pyscale.studies.findings import Finding
from pyscale.studies.networks import Member
from pyscale.studies.report.maps import dashed, layer_in_words, map_chart, profile_chart
from pyscale.studies.report.parts import Chart, Section, render
from pyscale.studies.report.plots import HOVER, LIGHT, axis, layout, style
from pyscale.studies.report.values import DASH, compared, lines, number, similarity_of
from pyscale.studies.results import StudyResult
from pyscale.studies.similarity import Similarity
from pyscale.studies.study import LABELS


def inside_section(result: StudyResult, found: Sequence[Finding]) -> Section | None:
    """Curves of all networks, and a panel for each; None where nothing was compared."""
    members = compared(result)
    if not members:
        return None
    metrics = [m for m in result.study.metrics if any(m in by for by in result.similarities.values())]
    first = next((member for member in members if result.role(member) == "variant"), members[0])
    html = render(
        "inside.html.j2",
        terms=list(_terms(result, metrics)),
        curves=[curves_chart(result, metric) for metric in metrics],
        networks=[_panel(result, member, found) for member in members],
        chosen=first.name,
    )
    return Section("inside", "What changed inside", "What changed inside", html)


def curves_chart(result: StudyResult, metric: str) -> Chart:
    """Similarity of the key layers of every network to their counterparts along depth, and chance."""
    traces: list[dict[str, Any]] = []
    for member in compared(result):
        similarity = similarity_of(result, member, metric)
        if similarity is not None:
            traces += _curve(result, member, similarity)
    depth = axis("", tickvals=[0, 0.5, 1], ticktext=["input", "depth", "output"], range=[-0.02, 1.02])
    depth |= {"showgrid": False, "ticklabeloverflow": "allow"}
    return Chart(
        f"curves-{metric}",
        traces,
        layout(depth, axis(f"{LABELS[metric]} to the baseline", range=[-0.05, 1.05])),
        caption=curves_caption(metric),
        alt=curves_in_words(result, metric),
        height=400,
    )


def _curve(result: StudyResult, member: Member, similarity: Similarity) -> Iterator[dict[str, Any]]:
    key = similarity.key_rows
    place = (key + 0.5) / len(similarity.comparison.rows)
    values = similarity.at_counterpart()[key]
    stderr, chance = similarity.at_counterpart("stderr")[key], similarity.at_counterpart("chance")[key]
    colour, symbol = style(result, member)
    twin = result.role(member) == "twin"
    yield {
        "type": "scatter",
        "mode": "lines",
        "x": place,
        "y": chance,
        "line": dashed(LIGHT.muted if similarity.metric == "cka" else colour),
        "name": "chance",
        "legendgroup": "chance",
        "showlegend": member is compared(result)[0],
        "hoverinfo": "skip",
    }
    yield {
        "type": "scatter",
        "mode": "lines" if twin else "lines+markers",
        "name": lines(f"{member.name} (yardstick)" if twin else member.name),
        "x": place,
        "y": values,
        "line": {"color": colour, "width": 4 if twin else 1.6},
        "opacity": 0.6 if twin else 1,
        "marker": {"color": colour, "symbol": symbol, "size": 6},
        "error_y": {
            "type": "data",
            "array": 2 * stderr,
            "color": colour,
            "thickness": 1,
            "width": 2,
            "visible": not twin and bool(np.isfinite(stderr).any()),
        },
        "text": [layer_in_words(result, member, similarity, int(row)) for row in key],
        "hovertemplate": HOVER,
    }


def _panel(result: StudyResult, member: Member, found: Sequence[Finding]) -> dict[str, Any]:
    similarities = [s for metric in result.study.metrics if (s := similarity_of(result, member, metric)) is not None]
    fullest = max(similarities, key=lambda s: len(s.comparison.rows))  # another may be of some layers only
    rows, columns = fullest.comparison.rows, fullest.comparison.columns
    key = set(fullest.key_rows.tolist())
    twin = result.role(member) == "twin"
    return {
        "name": member.name,
        "note": f"{member.variant.note}: the yardstick" if twin else member.variant.note,
        "sentences": [f.text for f in found if f.network == member.name or (twin and f.topic == "yardstick")],
        "charts": [chart(result, member, s) for chart in (map_chart, profile_chart) for s in similarities],
        "columns": [name for s in similarities for name in _columns(result, s)],
        "layers": [
            {
                "name": row,
                "counterpart": columns[fullest.counterpart[i]],
                "key": i in key,
                "cells": [cell for s in similarities for cell in _cells(result, s, row)],
            }
            for i, row in enumerate(rows)
        ],
    }


def _columns(result: StudyResult, similarity: Similarity) -> list[str]:
    uncertain = ["± error", "z"] if similarity.metric == "cka" else []
    return [similarity.label, *uncertain, "chance", *(["yardstick"] if result.twins else [])]


def _cells(result: StudyResult, similarity: Similarity, layer: str) -> list[str]:
    if layer not in similarity.comparison.rows:
        return [DASH] * len(_columns(result, similarity))
    row, comparison = similarity.comparison.rows.index(layer), similarity.comparison
    column = similarity.counterpart[row]
    cells = [number(comparison.values[row, column])]
    if similarity.metric == "cka":
        cells += [number(comparison.stderr[row, column]), number(comparison.zscores[row, column], 0)]
    cells.append(number(comparison.chance[row, column]))
    yardstick = result.yardstick(similarity)
    return cells if yardstick is None else [*cells, number(yardstick[0][row])]


def _terms(result: StudyResult, metrics: Sequence[str]) -> Iterator[dict[str, str]]:
    if "cka" in metrics:
        yield {
            "name": "CKA",
            "text": "Two layers are alike if the pictures that one of them holds close together, the other does too. "
            "1 is the same geometry up to rotation and scale, 0 is none in common; this is the unbiased estimate.",
        }
    if "cca_r2" in metrics:
        yield {
            "name": "CCA (R²)",
            "text": "How much of one layer's channel means can be predicted linearly from the other's, averaged over "
            "the directions of the smaller one, faint and strong alike. A layer of few channels beside one of many is "
            "easily predicted: hence the blocks in its maps.",
        }
    yield {
        "name": "Chance",
        "text": "What unrelated layers of the same sizes would get on these pictures. For unbiased CKA it is 0; for "
        "CCA it grows with the channels, so that a value says something only beside it.",
    }
    if result.twins:
        yield {
            "name": "Yardstick",
            "text": "The baseline trained again from another seed. Two such networks are not alike everywhere either; "
            "only what lies below them was changed by scaling.",
        }
    yield {
        "name": "Corresponding layers",
        "text": "The layer of the same kind at the nearest relative depth: where one network has twice the blocks, two "
        "of its blocks stand for one. Curves and sentences are about the key layers (in residual networks the "
        "outputs of blocks, and both ends); maps and tables show all.",
    }
    yield {
        "name": "Maps",
        "text": "One cell a pair of layers, inputs at the lower left; brighter is more alike, on one scale from 0 to 1 "
        "in all maps. The line runs through corresponding layers, dots mark the baseline's layer most alike. Drag over "
        "a part to enlarge it, click twice to come back.",
    }
