"""Charts of the layers of one network: all pairs as a map, and their similarity along the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyscale.studies.captions import map_caption, map_in_words, profile_in_words
from pyscale.studies.charts import stages
from pyscale.studies.networks import Member
from pyscale.studies.report.parts import Chart
from pyscale.studies.report.plots import HOVER, LIGHT, axis, colour_scale, layout, style
from pyscale.studies.report.values import lines, number
from pyscale.studies.results import StudyResult
from pyscale.studies.similarity import Similarity

LEAST_NAMED = 0.08  # of the layers, for a stage to be named along an axis


def map_chart(result: StudyResult, member: Member, similarity: Similarity) -> Chart:
    """Similarity of every layer (upward) to every layer of the baseline (rightward), on the scale 0 to 1.

    A pair's text is put together by the page from ``pairs``: ``rows``, ``columns`` (names), ``values``, ``stderr``,
    ``chance``, ``zscores`` (matrices, or one number where all pairs have the same), ``yardstick`` (a number a row).
    """
    comparison, key = similarity.comparison, similarity.key_rows
    yardstick = None if result.role(member) == "twin" else result.yardstick(similarity)
    best = similarity.best[key]
    heat: dict[str, Any] = {
        "type": "heatmap",
        "zmin": 0,
        "zmax": 1,
        "colorscale": colour_scale(),
        "colorbar": {"thickness": 12, "outlinewidth": 0, "tickvals": [0, 0.5, 1], "len": 1},
        "hovertemplate": HOVER,
        "hoverongaps": False,
        "name": lines(similarity.label),
    }
    path = {"type": "scatter", "mode": "lines", "x": similarity.counterpart[key], "y": key, "hoverinfo": "skip"}
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": best[best >= 0],
        "y": key[best >= 0],
        "marker": {"color": "white", "size": 5, "line": {"color": "black", "width": 1}},
        "hoverinfo": "skip",
    }
    cased = [{**path, "line": {"color": colour, "width": width}} for colour, width in (("black", 3), ("white", 1.3))]
    return Chart(
        f"map-{member.name}-{similarity.metric}",
        [heat, *cased, dots],
        layout(
            axis("baseline", **_stage_ticks(comparison.columns), fixedrange=False, showgrid=False),
            axis(member.name, **_stage_ticks(comparison.rows), fixedrange=False, showgrid=False, tickangle=-90),
            showlegend=False,
            plot_bgcolor=LIGHT.grid,
            dragmode="zoom",
        ),
        caption=map_caption(similarity),
        alt=map_in_words(member, similarity),
        height=None,
        pairs={
            "label": similarity.label,
            "network": member.name,
            "rows": list(comparison.rows),
            "columns": list(comparison.columns),
            "values": comparison.values,
            "yardstick": None if yardstick is None else yardstick[0],
            **{name: _thrifty(getattr(comparison, name)) for name in ("stderr", "chance", "zscores")},
        },
    )


def profile_chart(result: StudyResult, member: Member, similarity: Similarity) -> Chart:
    """Layer by layer: similarity to the counterpart and to the best match, the yardstick, and chance."""
    comparison, key = similarity.comparison, similarity.key_rows
    everywhere = np.arange(len(comparison.rows))
    values, stderr, best = similarity.at_counterpart(), similarity.at_counterpart("stderr"), similarity.best
    most = np.where(best >= 0, comparison.values[everywhere, best], np.nan)
    texts = [layer_in_words(result, member, similarity, row) for row in range(len(comparison.rows))]
    yardstick = None if result.role(member) == "twin" else result.yardstick(similarity)
    colour = style(result, member)[0]

    def trace(name: str, rows: NDArray[np.int64], y: NDArray[np.float64], **options: Any) -> dict[str, Any]:
        text = [texts[i] for i in rows]
        point = {"type": "scatter", "name": name, "x": rows, "y": y[rows], "text": text, "hovertemplate": HOVER}
        return {**point, "mode": "lines", **options}

    traces = [trace("chance", everywhere, similarity.at_counterpart("chance"), line=dashed(LIGHT.muted))]
    if yardstick is not None:
        traces.append(trace("seed to seed", key, yardstick[0], line={"color": LIGHT.muted, "width": 4}, opacity=0.55))
    small = {"color": colour, "size": 4}
    traces += [
        trace("every layer", everywhere, values, mode="markers", marker=small, opacity=0.5),
        trace("best match", key, most, line={"color": colour, "width": 1, "dash": "dot"}),
        trace(
            "corresponding layer",
            key,
            values,
            mode="lines+markers",
            line={"color": colour, "width": 1.8},
            marker={"color": colour, "size": 6},
            error_y={"type": "data", "array": 2 * stderr[key], "color": colour, "thickness": 1, "width": 2},
        ),
    ]
    return Chart(
        f"profile-{member.name}-{similarity.metric}",
        traces,
        layout(
            axis("layers, from input to output", **_stage_ticks(comparison.rows), showgrid=False),
            axis(similarity.label, range=[-0.05, 1.05]),
        ),
        caption=f"{similarity.label} along the network, layer by layer"
        + (", with two standard errors." if np.isfinite(stderr).any() else "."),
        alt=profile_in_words(member, [similarity]),
    )


def layer_in_words(result: StudyResult, member: Member, similarity: Similarity, row: int) -> str:
    """What the page says of one layer beside its counterpart, as text for Plotly."""
    comparison, best = similarity.comparison, int(similarity.best[row])
    column = similarity.counterpart[row]
    said = [
        f"{member.name}: {comparison.rows[row]}",
        f"baseline: {comparison.columns[column]}",
        f"{similarity.label} {number(comparison.values[row, column], 3)}, "
        f"standard error {number(comparison.stderr[row, column], 3)}",
        f"chance {number(comparison.chance[row, column], 3)}, z-score {number(comparison.zscores[row, column], 1)}",
    ]
    if best >= 0:
        said.append(f"best match {comparison.columns[best]}, {number(comparison.values[row, best], 3)}")
    yardstick = None if result.role(member) == "twin" else result.yardstick(similarity)
    if yardstick is not None:
        said.append(f"seed to seed {number(yardstick[0][row], 3)}")
    return lines(*said)


def dashed(colour: str) -> dict[str, Any]:
    """The line of a chance level."""
    return {"color": colour, "width": 1.2, "dash": "dash"}


def _thrifty(matrix: NDArray[np.float64]) -> NDArray[np.float64] | float:
    """A matrix, or the one number that all its cells hold."""
    first = matrix.flat[0]
    same = np.isnan(matrix) if np.isnan(first) else matrix == first
    return float(first) if same.all() else matrix


def _stage_ticks(names: Sequence[str]) -> dict[str, Any]:
    """The long runs of layers, named at their middle."""
    shown = [run for run in stages(names) if run[2] - run[1] + 1 >= LEAST_NAMED * len(names)]
    return {
        "tickvals": [(first + last) / 2 for _, first, last in shown],
        "ticktext": [lines(name) for name, _, _ in shown],
        "range": [-0.5, len(names) - 0.5],
    }
