"""The top of the page: what was asked, what was found, and the numbers that matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite
from pathlib import Path

from pyscale.studies.captions import key_values, mean_defined
from pyscale.studies.findings import Finding
from pyscale.studies.report.values import accuracy_of, counted, percent, ratio_of, similarity_of
from pyscale.studies.results import StudyResult


def lede(result: StudyResult) -> str:
    """What was asked, in two sentences."""
    study, data = result.study, result.study.data
    words = {1: "one variant", 2: "two variants", 3: "three variants", 4: "four variants", 5: "five variants"}
    count = len(result.variants)
    asked = f"{study.family} and {words.get(count, f'{count} variants')} of it" if count else f"{study.family} alone"
    epochs = counted(result.baseline.trained.recipe.epochs, "epoch")
    trained = f"The baseline was trained {epochs} on {len(data.labels('train'))} pictures of {data.name}; every"
    held_out = "others" if study.weights is None else "held-out pictures"
    if study.weights is not None:
        trained = f"The baseline is a checkpoint, {Path(study.weights).name}; on {data.name}, every"
    return (
        f"{asked}: what do they cost, what do they get right, and what changed inside? {trained} "
        f"network was measured on {len(data.labels('test'))} {held_out} and compared, layer by layer, with the "
        "baseline."
    )


def tiles(result: StudyResult) -> Iterator[dict[str, str]]:
    """The numbers that matter, each with what it is."""
    accuracy = accuracy_of(result.baseline)
    if accuracy is not None:
        interval = f"95\N{NO-BREAK SPACE}% interval {percent(accuracy.low)} to {percent(accuracy.high)}"
        yield {"value": f"{percent(accuracy.value)} %", "label": f"baseline accuracy, held-out; {interval}"}
    ratios = [r for member in result.variants if isfinite(r := ratio_of(result, member, "macs"))]
    if ratios:
        yield {"value": f"× {min(ratios):.2f}–{max(ratios):.2f}", "label": "multiply-accumulates of the variants"}
    metric = result.study.metrics[0]
    for members, label in ((result.twins, "from seed to seed"), (result.variants, "from baseline to variants")):
        similarities = [s for member in members if (s := similarity_of(result, member, metric)) is not None]
        means = [mean for s in similarities if isfinite(mean := mean_defined(key_values(s)))]
        if means:
            low, high = f"{min(means):.2f}", f"{max(means):.2f}"
            chance = mean_defined(similarities[0].at_counterpart("chance")[similarities[0].key_rows])
            yield {
                "value": low if low == high else f"{low}–{high}",
                "label": f"mean {similarities[0].label} {label}; chance {chance:.2f}",
            }


def short_findings(result: StudyResult, found: Sequence[Finding]) -> list[str]:
    """The findings about all networks; of those about a similarity, the first one's."""
    first = result.study.metrics[0]
    of_all = (f for f in found if f.network is None and f.topic not in ("budget", "weights"))  # these have sections
    return [f.text for f in of_all if f.metric in (None, first)]
