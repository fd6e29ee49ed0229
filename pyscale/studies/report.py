"""The report of a study: one HTML page that needs no other file."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pyscale.comparison.dependencies import import_report_dependency
from pyscale.studies.figures import Picture
from pyscale.studies.findings import Finding
from pyscale.studies.networks import Member
from pyscale.studies.results import StudyResult

SHORT_TOPICS = ("accuracy", "cost", "yardstick", "chance", "matching")
FILES = (
    ("study.json", "everything on this page as numbers, whole matrices included"),
    ("networks.csv", "accuracy and cost, one line a network"),
    ("layers.csv", "similarity, chance and yardstick, one line a layer"),
    ("comparisons/", "the matrices: pyscale.Comparison.load reads them"),
    ("figures/", "the pictures, for light and dark pages"),
    ("runs/", "weights and histories; `pyscale compare` takes these folders as models"),
)
DASH = "–"


def render_report(result: StudyResult, found: Sequence[Finding], pictures: Sequence[Picture]) -> str:
    """Render the page.

    Args:
        result: What was measured.
        found: Its findings.
        pictures: Its figures; they are embedded.

    Returns:
        HTML that loads nothing.

    Raises:
        ImportError: If Jinja2 is missing.
    """
    jinja2 = import_report_dependency("jinja2")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pyscale.studies"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page: str = environment.get_template("report.html.j2").render(report_context(result, found, pictures))
    return page


def report_context(result: StudyResult, found: Sequence[Finding], pictures: Sequence[Picture]) -> dict[str, Any]:
    """What the template shows, as plain values."""
    shown = [_figure(picture) for picture in pictures]
    first = result.study.metrics[0]
    return {
        "study": result.study,
        "provenance": result.provenance,
        "lede": _lede(result),
        "tiles": list(_tiles(result)),
        "short": [f for f in found if f.topic in SHORT_TOPICS and f.metric in (None, first)],
        "networks": [_network(result, member) for member in result.members],
        "bought_figures": [f for f in shown if f["network"] is None and not f["name"].startswith("curves_")],
        "curve_figures": [f for f in shown if f["name"].startswith("curves_")],
        "terms": list(_terms(result)),
        "insides": [_inside(result, member, found, shown) for member in result.members[1:]],
        "limits": list(_limits(result)),
        "facts": list(_facts(result)),
        "files": FILES,
    }


def _lede(result: StudyResult) -> str:
    study, data = result.study, result.study.data
    ways = {1: "one way", 2: "two ways", 3: "three ways", 4: "four ways", 5: "five ways"}
    count = len(result.variants)
    epochs = result.baseline.trained.recipe.epochs
    return (
        f"{study.family} was scaled in {ways.get(count, f'{count} ways')}. Every network was trained alike, "
        f"{epochs} epochs on {len(data.labels('train'))} pictures of {data.name}; then each was measured on "
        f"{len(data.labels('test'))} others and compared, layer by layer, with the network it was scaled from."
    )


def _tiles(result: StudyResult) -> Iterator[dict[str, str]]:
    yield {"value": f"{100 * result.baseline.trained.accuracy.value:.1f} %", "label": "baseline accuracy, held-out"}
    if result.variants:
        ratios = [result.ratio(member, "macs") for member in result.variants]
        yield {"value": f"× {min(ratios):.2f}–{max(ratios):.2f}", "label": "multiply-accumulates of the variants"}
    metric = result.study.metrics[0]
    for members, label in ((result.twins, "from seed to seed"), (result.variants, "from baseline to variants")):
        if members:
            similarities = [result.similarities[member.name][metric] for member in members]
            means = [float(np.nanmean(found.at_counterpart()[found.key_rows])) for found in similarities]
            low, high = f"{min(means):.2f}", f"{max(means):.2f}"
            yield {
                "value": low if low == high else f"{low}–{high}",
                "label": f"mean {similarities[0].label} {label}",
            }


def _network(result: StudyResult, member: Member) -> dict[str, Any]:
    accuracy, cost = member.trained.accuracy, member.cost
    paired = None if member is result.baseline else result.paired(member)
    written = {
        "parameters": f"{cost.parameters:,}".replace(",", "\N{THIN SPACE}"),
        "macs": f"{cost.macs / 1e6:.2f} M",
        "latency": f"{1e3 * cost.latency:.2f} ms",
        "bytes": f"{cost.bytes / 2**20:.2f} MiB",
    }
    return {
        "role": result.role(member),
        "name": member.name,
        "note": member.variant.note,
        "shape": member.shape,
        "accuracy": f"{100 * accuracy.value:.1f} %",
        "interval": f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f}",
        "paired": DASH if paired is None else f"{paired.only_this} / {paired.only_baseline}",
        "pvalue": "" if paired is None else f"p = {paired.pvalue:.2g}",
        "costs": {
            name: {"value": value, "ratio": "" if paired is None else f"× {result.ratio(member, name):.2f}"}
            for name, value in written.items()
        },
    }


def _inside(
    result: StudyResult, member: Member, found: Sequence[Finding], figures: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    similarities = list(result.similarities[member.name].values())
    columns = [name for s in similarities for name in _columns(s.metric, s.label, bool(result.twins))]
    key = set(similarities[0].key_rows.tolist())
    twin = result.role(member) == "twin"
    return {
        "name": member.name,
        "note": f"{member.variant.note}: the yardstick" if twin else member.variant.note,
        "sentences": [f.text for f in found if f.network == member.name or (twin and f.topic == "yardstick")],
        "figures": [figure for figure in figures if figure["network"] == member.name],
        "columns": columns,
        "layers": [
            {
                "name": row,
                "counterpart": similarities[0].comparison.columns[similarities[0].counterpart[i]],
                "key": i in key,
                "cells": [cell for s in similarities for cell in _cells(result, s, i)],
            }
            for i, row in enumerate(similarities[0].comparison.rows)
        ],
    }


def _columns(metric: str, label: str, yardstick: bool) -> list[str]:
    uncertain = ["± error", "z"] if metric == "cka" else []
    return [label, *uncertain, "chance", *(["yardstick"] if yardstick else [])]


def _cells(result: StudyResult, similarity: Any, row: int) -> list[str]:
    column, comparison = similarity.counterpart[row], similarity.comparison
    cells = [_number(comparison.values[row, column])]
    if similarity.metric == "cka":
        cells += [_number(comparison.stderr[row, column]), _number(comparison.zscores[row, column], 0)]
    cells.append(_number(comparison.chance[row, column]))
    yardstick = result.yardstick(similarity)
    return cells if yardstick is None else [*cells, _number(yardstick[0][row])]


def _terms(result: StudyResult) -> Iterator[dict[str, str]]:
    first = next(iter(result.similarities.values()))
    if "cka" in first:
        yield {
            "name": "CKA",
            "text": "Two layers are alike if the pictures that one of them holds close together, the other does too. "
            "1 is the same geometry up to rotation and scale, 0 is none in common; this is the unbiased estimate.",
        }
    if "cca_r2" in first:
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
        "in all maps. The line runs through corresponding layers, dots mark the baseline's layer most alike.",
    }


def _limits(result: StudyResult) -> Iterator[str]:
    study, base = result.study, result.baseline.trained.accuracy
    yield (
        f"With {base.total} held-out pictures one picture is {100 / base.total:.2f} points of accuracy, and the 95 % "
        f"interval of the baseline is {100 * (base.high - base.low):.1f} points wide."
    )
    yield (
        "Each variant was trained from one seed. Intervals and standard errors cover the choice of pictures, not of "
        f"seeds; {'only the yardstick covers those' if result.twins else 'nothing here covers those'}."
    )
    source = study.data.image_size
    largest = max(member.network.image_size for member in result.members)
    if isinstance(source, int) and largest > source:
        yield (
            f"The pictures have {source} × {source} pixels. Networks that take more see them resampled: more "
            "pixels, no more detail."
        )
    yield (
        f"Latency is the median of one picture at a time on {_count(study.threads, 'thread')} of this machine. It is "
        "not proportional to multiply-accumulates: small layers wait for the framework."
    )
    for name, by_metric in result.similarities.items():
        for similarity in by_metric.values():
            for note in similarity.notes:
                yield f"{name}, {similarity.label}: {note}."


def _facts(result: StudyResult) -> Iterator[tuple[str, str]]:
    study, provenance = result.study, result.provenance
    machine, software, seconds = provenance["machine"], provenance["software"], provenance["seconds"]
    yield "Date", provenance["date"]
    yield (
        "Machine",
        f"{machine['processor']}, {_count(machine['cores'], 'core')}, kernels in {machine['instruction_set']}, "
        f"{machine['system']}",
    )
    yield "Software", ", ".join(f"{name} {version}" for name, version in software.items())
    yield "Seeds", f"{study.seed}; yardstick {', '.join(map(str, study.twin_seeds)) or 'none'}"
    yield "Recipe", ", ".join(f"{name} {value}" for name, value in result.baseline.trained.recipe.to_dict().items())
    comparison = next(iter(result.similarities.values()))[study.metrics[0]].comparison
    yield (
        "Comparison",
        f"{comparison.meta['samples']} held-out pictures in {comparison.meta['batches']} shuffled minibatches",
    )
    taken = provenance["taken_up"]
    yield (
        "Durations",
        f"training {_seconds(seconds['training'])}{', some of it in an earlier run' if taken else ''}; "
        f"comparing {_seconds(seconds['comparing'])}; timing {_seconds(seconds['timing'])}; "
        f"{_count(provenance['threads'], 'thread')}",
    )


def _figure(picture: Picture) -> dict[str, Any]:
    sources = {theme: f"data:image/png;base64,{base64.b64encode(png).decode()}" for theme, png in picture.pngs.items()}
    names = ("name", "caption", "alt", "width", "height", "network")
    return {**{name: getattr(picture, name) for name in names}, "sources": sources}


def _number(value: float, digits: int = 2) -> str:
    return DASH if math.isnan(value) else f"{value:.{digits}f}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{int(seconds // 60)} min {round(seconds % 60):d} s"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
