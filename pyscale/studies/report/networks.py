"""The table of networks: accuracy, costs and similarity, to be sorted by any column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from pyscale.studies.captions import key_values, mean_defined
from pyscale.studies.findings import Finding
from pyscale.studies.networks import Member
from pyscale.studies.report.parts import Section, render
from pyscale.studies.report.values import (
    COSTS,
    DASH,
    accuracy_of,
    cost_of,
    number,
    percent,
    ratio_in_words,
    ratio_of,
    similarity_of,
    written,
)
from pyscale.studies.results import StudyResult
from pyscale.studies.study import LABELS


@dataclass(frozen=True)
class Cell:
    """A number in a table.

    Attributes:
        text: As it is read.
        notes: Smaller, under it.
        value: What its column is sorted by; None, which comes last, where there is none.
    """

    text: str
    notes: tuple[str, ...] = ()
    value: float | None = None


def networks_section(result: StudyResult, found: Sequence[Finding]) -> Section:
    """Every network with its accuracy, what it costs, and how alike it is to the baseline."""
    metrics = [m for m in result.study.metrics if any(m in by for by in result.similarities.values())]
    html = render(
        "networks.html.j2",
        columns=[
            "Accuracy",
            "Only it / only baseline",
            *(cost.title for cost in COSTS.values()),
            *(f"Mean {LABELS[metric]}" for metric in metrics),
        ],
        rows=[
            {
                "name": member.name,
                "note": member.variant.note,
                "shape": member.shape,
                "role": result.role(member),
                "cells": list(_cells(result, member, metrics)),
            }
            for member in result.members
        ],
        twins=bool(result.twins),
    )
    return Section("networks", "The networks", "Networks", html)


def _cells(result: StudyResult, member: Member, metrics: Sequence[str]) -> Iterator[Cell]:
    accuracy, is_baseline = accuracy_of(member), member is result.baseline
    if accuracy is None:
        yield Cell(DASH)
    else:
        interval = f"{percent(accuracy.low)} to {percent(accuracy.high)}"
        yield Cell(f"{percent(accuracy.value)} %", (interval,), accuracy.value)
    if is_baseline or member.right is None or result.baseline.right is None:
        yield Cell(DASH)
    else:
        paired = result.paired(member)
        gain = paired.only_this - paired.only_baseline
        yield Cell(f"{paired.only_this} / {paired.only_baseline}", (f"p = {paired.pvalue:.2g}",), gain)
    for name in COSTS:
        value = cost_of(member, name)
        ratio = "" if is_baseline else ratio_in_words(ratio_of(result, member, name))
        yield Cell(written(name, value), (ratio,) if ratio else (), value if isfinite(value) else None)
    for metric in metrics:
        yield _similarity(result, member, metric)


def _similarity(result: StudyResult, member: Member, metric: str) -> Cell:
    similarity = similarity_of(result, member, metric)
    if similarity is None:
        return Cell(DASH)
    key = similarity.key_rows
    mean = mean_defined(key_values(similarity))
    notes = [f"chance {number(mean_defined(similarity.at_counterpart('chance')[key]))}"]
    yardstick = result.yardstick(similarity)
    if yardstick is not None and result.role(member) != "twin":
        notes.append(f"seed to seed {number(mean_defined(yardstick[0][key]))}")
    return Cell(number(mean), tuple(notes), mean if isfinite(mean) else None)
