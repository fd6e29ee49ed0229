"""What scaling bought: accuracy beside each cost, the costs beside one another, and how training went."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from pyscale.studies.findings import Finding
from pyscale.studies.networks import Member
from pyscale.studies.report.parts import Chart, Section, render
from pyscale.studies.report.plots import HOVER, LIGHT, axis, layout, style
from pyscale.studies.report.values import (
    COSTS,
    accuracy_of,
    cost_of,
    lines,
    number,
    ratio_in_words,
    ratio_of,
    written,
)
from pyscale.studies.results import StudyResult
from pyscale.train import Accuracy

COST_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")


def costs_section(result: StudyResult, found: Sequence[Finding]) -> Section | None:
    """Accuracy over each cost, to choose from; the ratios; the losses."""
    plotted = {name: chart for name in COSTS if (chart := accuracy_chart(result, name)) is not None}
    charts = [chart for chart in (ratios_chart(result), training_chart(result)) if chart is not None]
    if not plotted and not charts:
        return None
    options = [{"value": name, "title": COSTS[name].title, "chart": chart} for name, chart in plotted.items()]
    return Section("costs", "What it bought", "What it bought", render("costs.html.j2", options=options, charts=charts))


def accuracy_chart(result: StudyResult, cost: str) -> Chart | None:
    """Accuracy over one cost, with 95 % intervals; None where no network has both."""
    shown = [(m, a) for m in result.members if (a := accuracy_of(m)) is not None and isfinite(cost_of(m, cost))]
    if not shown:
        return None
    how = COSTS[cost]
    costs = [cost_of(member, cost) for member, _ in shown]
    alt = "; ".join(f"{m.name} {written(cost, c)}, {a}" for (m, a), c in zip(shown, costs, strict=True))
    wide = min(costs) > 0 and max(costs) > 10 * min(costs)
    x = axis(how.axis, type="log" if wide else "linear", showgrid=False)
    return Chart(
        f"accuracy-{cost}",
        [_accuracy_trace(result, member, accuracy, cost) for member, accuracy in shown],
        layout(x, axis("held-out accuracy, %")),
        caption=f"Accuracy beside {how.axis}, with 95 % intervals.",
        alt=f"Accuracy over {how.axis}: {alt}.",
    )


def _accuracy_trace(result: StudyResult, member: Member, accuracy: Accuracy, cost: str) -> dict[str, Any]:
    value = cost_of(member, cost)
    colour, symbol = style(result, member)
    ratio = ratio_in_words(ratio_of(result, member, cost))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": lines(member.name),
        "x": [value * COSTS[cost].scale],
        "y": [100 * accuracy.value],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [100 * (accuracy.high - accuracy.value)],
            "arrayminus": [100 * (accuracy.value - accuracy.low)],
            "color": colour,
            "thickness": 1.4,
            "width": 4,
        },
        "marker": {"color": colour, "symbol": symbol, "size": 9},
        "text": [
            lines(
                member.name,
                f"accuracy {accuracy}",
                f"{COSTS[cost].title} {written(cost, value)}" + (f" ({ratio})" if ratio else ""),
            )
        ],
        "hovertemplate": HOVER,
    }


def ratios_chart(result: StudyResult) -> Chart | None:
    """Every cost of every network as a multiple of the baseline's."""
    traces: list[dict[str, Any]] = []
    for (name, cost), symbol in zip(COSTS.items(), COST_SYMBOLS, strict=True):
        ratios = {m.name: r for m in result.members if isfinite(r := ratio_of(result, m, name))}
        colour = LIGHT.networks[len(traces)]
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": cost.title,
                "x": list(ratios.values()),
                "y": [lines(network) for network in ratios],
                "marker": {"symbol": symbol, "size": 9, "color": colour},
                "text": [lines(network, f"{cost.title} {ratio_in_words(r)}") for network, r in ratios.items()],
                "hovertemplate": HOVER,
            }
        )
    if not any(trace["x"] for trace in traces):
        return None
    names = [lines(member.name) for member in result.members]
    y = axis("", categoryorder="array", categoryarray=names[::-1], type="category")
    in_words = "; ".join(
        f"{m.name} " + ", ".join(f"{cost.title} {number(ratio_of(result, m, name))}" for name, cost in COSTS.items())
        for m in result.members
    )
    return Chart(
        "ratios",
        traces,
        layout(axis("times the baseline’s", rangemode="tozero"), y),
        caption="What the networks cost, as multiples of the baseline.",
        alt=f"Costs as multiples of the baseline's: {in_words}.",
        height=170 + 30 * len(names),
    )


def training_chart(result: StudyResult) -> Chart | None:
    """The training loss of every network after each epoch; None where no network kept it."""
    traces, last = [], []
    for member in result.members:
        history = getattr(member.trained, "history", None)
        if history is None or "train_loss" not in history.columns:
            continue
        losses = history.column("train_loss")
        colour, symbol = style(result, member)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": lines(member.name),
                "x": list(range(1, len(losses) + 1)),
                "y": list(losses),
                "line": {"color": colour, "width": 1.5},
                "marker": {"color": colour, "symbol": symbol, "size": 6},
                "text": [lines(member.name, f"epoch {i}: loss {loss:.3g}") for i, loss in enumerate(losses, 1)],
                "hovertemplate": HOVER,
            }
        )
        last.append(f"{member.name} {losses[-1]:.2g}")
    if not traces:
        return None
    longest = max(len(trace["x"]) for trace in traces)
    return Chart(
        "training",
        traces,
        layout(axis("epoch", dtick=max(1, longest // 8), showgrid=False), axis("training loss", rangemode="tozero")),
        caption="Loss on the training pictures while they were learned.",
        alt=f"Training loss in the last epoch: {'; '.join(last)}.",
    )
