"""At equal budgets: what scaling down, pruning and compressing keep, beside the original from another seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

from pyscale.studies.budgets import RESOURCES, Resource
from pyscale.studies.equal_budget.contenders import SEEDS_INTERVAL, EqualBudgetResult, Interval, Standing
from pyscale.studies.equal_budget.question import WAYS
from pyscale.studies.equal_budget.tables import over_budget, within_budget
from pyscale.studies.findings import Finding
from pyscale.studies.report.parts import Chart, Section, render
from pyscale.studies.report.plots import HOVER, LIGHT, SYMBOLS, axis, layout
from pyscale.studies.report.values import DASH, lines
from pyscale.studies.results import StudyResult
from pyscale.studies.theme import MARKERS

Write = Callable[[Interval], str]


def equal_budget_section(result: StudyResult, found: Sequence[Finding]) -> Section | None:
    """The question's sentences, its table, and two charts a resource; None where it was not asked."""
    contest = result.equal_budget
    if contest is None:
        return None
    standings = list(contest.standings())
    asked = [r for r in contest.asked.resources if any(s.contender.budget.resource == r for s in standings)]
    charts = [
        chart for resource in asked for chart in (accuracy_chart(contest, resource), alike_chart(contest, resource))
    ]
    html = render(
        "equal_budget.html.j2",
        sentences=[finding.text for finding in found if finding.topic == "budget"],
        interval=SEEDS_INTERVAL,
        rows=[_row(standing) for standing in standings],
        charts=charts,
    )
    return Section("equal-budget", "At equal budgets", "Equal budgets", html)


def accuracy_chart(contest: EqualBudgetResult, resource: Resource) -> Chart:
    """Held-out accuracy over what was spent of a resource."""
    original = 100 * contest.original_accuracy.mean
    return _chart(contest, resource, "accuracy", "held-out accuracy, %", original, "originals", _percent)


def alike_chart(contest: EqualBudgetResult, resource: Resource) -> Chart:
    """Mean CKA to the original over what was spent of a resource."""
    yardstick = sum(contest.yardstick) / len(contest.yardstick) if contest.yardstick else None
    return _chart(contest, resource, "similarity", "mean CKA to the original", yardstick, "seed to seed", _cka)


def _chart(
    contest: EqualBudgetResult,
    resource: Resource,
    measure: str,
    title: str,
    reference: float | None,
    reference_name: str,
    write: Write,
) -> Chart:
    own = [s for s in contest.standings() if s.contender.budget.resource == resource]
    factor = 100 if measure == "accuracy" else 1
    traces = [
        _trace(place, label, [s for s in own if s.contender.way == way], measure, factor, write)
        for place, (way, label) in enumerate(WAYS.items())
        if any(s.contender.way == way for s in own)
    ]
    spent = f"spent, share of the original's {RESOURCES[resource]}"
    if reference is not None:
        traces.append(_reference([s.used.mean for s in own], reference, reference_name))
    numbers = "; ".join(", ".join((f"{s.contender.name} {write(getattr(s, measure))}", *_over(s))) for s in own)
    hollow = "" if all(within_budget(s) for s in own) else " Hollow: over the budget, and not ranked."
    beside = "" if reference is None else f" Dashed: {reference_name}, {reference:.3g}."
    return Chart(
        f"equal-{resource}-{measure}",
        traces,
        layout(axis(spent, type="log", showgrid=False), axis(title, range=_within(traces, 100 if factor > 1 else 1))),
        caption=f"{title[0].upper()}{title[1:]}, over the share of the original's {RESOURCES[resource]} spent; "
        f"{SEEDS_INTERVAL}.{beside}{hollow}",
        alt=f"{title} at equal {RESOURCES[resource]}: {numbers}.{beside}",
    )


def _trace(place: int, label: str, curve: list[Standing], measure: str, factor: float, write: Write) -> dict[str, Any]:
    colour = LIGHT.networks[place % len(LIGHT.networks)]
    values: list[Interval] = [getattr(standing, measure) for standing in curve]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": lines(label),
        "x": [standing.used.mean for standing in curve],
        "y": [factor * value.mean for value in values],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [_reach(value.high - value.mean, factor) for value in values],
            "arrayminus": [_reach(value.mean - value.low, factor) for value in values],
            "color": colour,
            "thickness": 1.4,
            "width": 4,
        },
        "line": {"color": colour, "width": 1.5},
        "marker": {"color": colour, "symbol": [_symbol(place, standing) for standing in curve], "size": 9},
        "text": [
            lines(label, f"{write(value)}", _spent(standing), *_over(standing))
            for value, standing in zip(values, curve, strict=True)
        ],
        "hovertemplate": HOVER,
    }


def _symbol(place: int, standing: Standing) -> str:
    """Hollow for a way over its budget."""
    symbol = SYMBOLS[MARKERS[place % len(MARKERS)]]
    return symbol if within_budget(standing) else f"{symbol}-open"


def _spent(standing: Standing) -> str:
    budget = standing.contender.budget
    return (
        f"spent {100 * standing.used.mean:.0f} % of the original's {RESOURCES[budget.resource]}; "
        f"budget {100 * budget.limit:g} %"
    )


def _within(traces: list[dict[str, Any]], most: float) -> list[float]:
    """The values and intervals with some room, but nothing beyond what a value can be."""
    low, high = most, 0.0
    for trace in traces:
        spread = trace.get("error_y", {"array": [0.0] * len(trace["y"]), "arrayminus": [0.0] * len(trace["y"])})
        low = min(low, *(y - e for y, e in zip(trace["y"], spread["arrayminus"], strict=True)))
        high = max(high, *(y + e for y, e in zip(trace["y"], spread["array"], strict=True)))
    room = 0.04 * most
    return [max(low - room, -room), min(high + room, most + room)]


def _reference(x: list[float], value: float, name: str) -> dict[str, Any]:
    """A dashed line across: what the original has itself."""
    ends = [min(x), max(max(x), 1.0)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": lines(name),
        "x": ends,
        "y": [value, value],
        "line": {"color": LIGHT.muted, "width": 1.2, "dash": "dash"},
        "text": [lines(name, f"{value:.3g}")] * 2,
        "hovertemplate": HOVER,
    }


def _row(standing: Standing) -> dict[str, Any]:
    return {
        "budget": _budget(standing),
        "way": WAYS[standing.contender.way],
        "cells": [
            {"value": standing.used.mean, "text": f"{100 * standing.used.mean:.0f} %", "notes": _over(standing)},
            _cell(standing.accuracy, _percent),
            _cell(standing.change, _points),
            _cell(standing.similarity, _cka),
        ],
    }


def _budget(standing: Standing) -> str:
    budget = standing.contender.budget
    return f"{100 * budget.limit:g} % of {RESOURCES[budget.resource]}"


def _over(standing: Standing) -> list[str]:
    return [] if within_budget(standing) else [over_budget(standing)]


def _cell(interval: Interval, write: Write) -> dict[str, Any]:
    mean, *spread = write(interval).partition(" (")
    note = spread[1].rstrip(")") if spread[1] else ""
    return {"value": interval.mean if isfinite(interval.mean) else None, "text": mean, "notes": [note] if note else []}


def _reach(difference: float, factor: float) -> float:
    return factor * difference if isfinite(difference) else 0.0


def _written(interval: Interval, style: str, factor: float = 1.0) -> str:
    if not isfinite(interval.mean):
        return DASH
    mean = format(factor * interval.mean, style)
    if not isfinite(interval.low):
        return mean
    return f"{mean} ({format(factor * interval.low, style)} to {format(factor * interval.high, style)})"


def _percent(interval: Interval) -> str:
    return _written(interval, ".1f", 100)


def _points(interval: Interval) -> str:
    return _written(interval, "+.1f", 100)


def _cka(interval: Interval) -> str:
    return _written(interval, ".3f")
