"""Sentences about a study, each computed from its numbers and no stronger than they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pyscale.studies.equal_budget.tables import contest_sentences
from pyscale.studies.networks import Member
from pyscale.studies.results import StudyResult
from pyscale.studies.similarity import Similarity
from pyscale.studies.weight_similarity.words import weight_sentences

SIGNIFICANCE = 0.05  # of all comparisons of accuracy together (Bonferroni)
CLEARLY = 2.0  # standard errors between a similarity and the yardstick
ABOVE_CHANCE = 3.0  # standard deviations of the permutation null

_UNDEFINED = "its layers do not vary from picture to picture"

Topic = Literal["accuracy", "cost", "yardstick", "inside", "chance", "matching", "weights", "budget"]


@dataclass(frozen=True)
class Finding:
    """One sentence or two.

    Attributes:
        topic: What it is about.
        text: For a reader who has the tables beside it.
        network: The network it is about; None where it is about several.
        metric: The similarity it is about; None where it is about none or several.
    """

    topic: Topic
    text: str
    network: str | None = None
    metric: str | None = None


def findings(result: StudyResult) -> list[Finding]:
    """What a study's numbers say, in the order a reader wants it.

    Args:
        result: What was measured.

    Returns:
        The findings: accuracy, cost, the yardstick, what changed in each variant, chance, and how well each similarity
        finds the corresponding layer; what weights say, where they were compared; at the end what came of networks
        that cost the same, where that was asked.
    """
    found = [_accuracy(result)]
    if result.variants:
        found.append(_cost(result))
    for metric in result.study.metrics:
        if result.twins:
            found.append(_yardstick(result, metric))
        found += [_inside(result, member, metric) for member in result.variants]
        found.append(_chance(result, metric))
    if result.twins:
        found.append(_matching(result))
    if result.weights:
        found += [Finding("weights", text) for text in weight_sentences(result.weights)]
    if result.equal_budget is not None:
        found += [Finding("budget", text) for text in contest_sentences(result.equal_budget)]
    return found


def below_yardstick(result: StudyResult, similarity: Similarity) -> list[int]:
    """Key rows less alike to their counterpart than another seed is, by more than two standard errors.

    Args:
        result: What was measured.
        similarity: Of one network to the baseline; of a metric with standard errors.

    Returns:
        Row indices; empty without twins or standard errors.
    """
    yardstick = result.yardstick(similarity)
    if yardstick is None:
        return []
    gap = yardstick[0] - similarity.at_counterpart()
    error = np.hypot(yardstick[1], similarity.at_counterpart("stderr"))
    return [int(i) for i in similarity.key_rows if gap[i] > CLEARLY * error[i]]


def _accuracy(result: StudyResult) -> Finding:
    base = result.baseline.trained.accuracy
    opening = (
        f"The baseline classifies {100 * base.value:.1f} % of {base.total} held-out pictures correctly "
        f"(95 % interval {100 * base.low:.1f} to {100 * base.high:.1f} %)."
    )
    if not result.variants:
        return Finding("accuracy", opening)
    paired = {member.name: result.paired(member) for member in result.variants}
    threshold = SIGNIFICANCE / len(paired)
    decided = {name: pair for name, pair in paired.items() if pair.pvalue < threshold}
    if not decided:
        fewest = min(pair.only_this + pair.only_baseline for pair in paired.values())
        most = max(pair.only_this + pair.only_baseline for pair in paired.values())
        pictures = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        return Finding(
            "accuracy",
            f"{opening} {_what_was_done(result)} bought no accuracy that these pictures can prove: each variant and "
            f"the baseline disagree on {pictures} pictures, and the smallest p of the paired tests is "
            f"{min(pair.pvalue for pair in paired.values()):.2g} ({threshold:.2g} would be needed).",
        )
    parts = [
        f"{name} is {'better' if pair.only_this > pair.only_baseline else 'worse'} than the baseline "
        f"({pair.only_this} pictures only it has right, {pair.only_baseline} only the baseline; "
        f"p = {pair.pvalue:.2g})"
        for name, pair in decided.items()
    ]
    rest = [name for name in paired if name not in decided]
    close = f" For {_join(rest)} the difference is within chance." if rest else ""
    return Finding("accuracy", f"{opening} {_sentence(_join(parts))}.{close}")


def _what_was_done(result: StudyResult) -> str:
    scaled = [member.variant.compression is None for member in result.variants]
    return "Scaling" if all(scaled) else "Scaling and compressing" if any(scaled) else "Compressing"


def _cost(result: StudyResult) -> Finding:
    def span(cost: str) -> str:
        ratios = [result.ratio(member, cost) for member in result.variants]
        low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
        return low if low == high else f"{low} to {high}"

    slowest = max(result.variants, key=lambda member: result.ratio(member, "latency"))
    heaviest = max(result.variants, key=lambda member: result.ratio(member, "parameters"))
    return Finding(
        "cost",
        f"Variants do {span('macs')} times the baseline's multiply-accumulates, but they differ "
        f"elsewhere: they have {span('parameters')} times its parameters (most in {heaviest.name}), "
        f"and take {span('latency')} times its latency (most in {slowest.name}).",
    )


def _yardstick(result: StudyResult, metric: str) -> Finding:
    twins = [result.similarities[twin.name][metric] for twin in result.twins]
    defined = [twin for twin in twins if _is_defined(twin)]
    if not defined:
        return Finding("yardstick", f"The yardstick is not defined by {twins[0].label}: {_UNDEFINED}.", metric=metric)
    row, value = min((_least(twin) for twin in defined), key=lambda least: least[1])
    text = (
        f"The yardstick: baselines that differ in nothing but the seed have a mean {twins[0].label} of "
        f"{np.mean([_key_mean(twin) for twin in defined]):.2f} between corresponding layers, "
        f"least at {row} ({value:.2f})."
    )
    if metric == result.study.metrics[0]:
        text += " Whatever scaling does shows only below that."
    return Finding("yardstick", text, metric=metric)


def _inside(result: StudyResult, member: Member, metric: str) -> Finding:
    similarity = result.similarities[member.name][metric]
    if not _is_defined(similarity):
        text = f"{_sentence(member.name)}: {similarity.label} is not defined, {_UNDEFINED}."
        return Finding("inside", text, member.name, metric)
    row, value = _least(similarity)
    counterpart = similarity.comparison.columns[similarity.counterpart[similarity.comparison.rows.index(row)]]
    where = row if row == counterpart else f"{row} (beside the baseline's {counterpart})"
    text = (
        f"{_sentence(member.name)}: mean {similarity.label} {_key_mean(similarity):.2f} "
        f"to the corresponding layers of the baseline; {where} changed most ({value:.2f})."
    )
    if result.twins and np.isfinite(similarity.at_counterpart("stderr")).any():
        text += _beside_yardstick(similarity, below_yardstick(result, similarity))
    return Finding("inside", text, member.name, metric)


def _beside_yardstick(similarity: Similarity, below: Sequence[int]) -> str:
    key = len(similarity.key_rows)
    if not below:
        return (
            f" None of the {key} key layers is less alike than another seed makes it by more than two standard errors."
        )
    verb = "layer is" if len(below) == 1 else "layers are"
    return (
        f" {len(below)} of {key} key {verb} less alike than another seed makes them, by more than two standard errors"
        f"{_which(similarity, below)}."
    )


def _which(similarity: Similarity, rows: Sequence[int], most: int = 4) -> str:
    names = [similarity.comparison.rows[i] for i in rows]
    return f": {', '.join(names)}" if len(names) <= most else f", from {names[0]} to {names[-1]}"


def _chance(result: StudyResult, metric: str) -> Finding:
    similarities = [result.similarities[member.name][metric] for member in (*result.twins, *result.variants)]
    label = similarities[0].label
    if metric == "cka":
        zscores = np.concatenate([s.at_counterpart("zscores") for s in similarities])
        zscores = zscores[np.isfinite(zscores)]
        if not zscores.size:
            return Finding("chance", f"{label} is not defined for any layer: {_UNDEFINED}.", metric=metric)
        near = int((zscores < ABOVE_CHANCE).sum())
        verdict = (
            "all corresponding layers are above it" if near == 0 else f"{near} of {zscores.size} pairs are not above it"
        )
        return Finding(
            "chance",
            f"Unrelated layers would have a {label} of 0 on average: {verdict} by at least {ABOVE_CHANCE:.0f} standard "
            f"deviations of shuffled pictures (the smallest distance is {zscores.min():.0f}).",
            metric=metric,
        )
    chance = np.concatenate([s.at_counterpart("chance") for s in similarities])
    values = np.concatenate([s.at_counterpart() for s in similarities])
    excess = (values - chance)[np.isfinite(values)]
    if not excess.size:
        return Finding("chance", f"{label} is not defined for any layer: {_UNDEFINED}.", metric=metric)
    return Finding(
        "chance",
        f"Unrelated layers would have a {label} of {np.nanmin(chance):.2f} to {np.nanmax(chance):.2f} here, because it "
        f"grows with the number of channels; corresponding layers lie {np.mean(excess):.2f} above that on average, "
        f"{excess.min():.2f} at the least.",
        metric=metric,
    )


def _matching(result: StudyResult) -> Finding:
    parts = []
    for metric in result.study.metrics:
        right = total = 0
        for twin in result.twins:
            similarity = result.similarities[twin.name][metric]
            right += count_matches(similarity)
            total += len(similarity.key_rows)
        parts.append(f"{result.similarities[result.twins[0].name][metric].label} in {right} of {total} cases")
    return Finding(
        "matching",
        "Asked which layer of another seed corresponds to a layer (key layers among themselves), the right one is "
        f"found by {_join(parts)}: how far each can be trusted on this question.",
    )


def count_matches(similarity: Similarity) -> int:
    """How many key rows are most alike, among the key columns, to their own counterpart.

    Args:
        similarity: Of two networks of one architecture.
    """
    columns = similarity.counterpart[similarity.key_rows]
    values = similarity.comparison.values[np.ix_(similarity.key_rows, columns)]
    filled = np.where(np.isnan(values), -np.inf, values)
    return int((filled.argmax(axis=1) == np.arange(len(columns))).sum())


def _is_defined(similarity: Similarity) -> bool:
    return bool(np.isfinite(similarity.at_counterpart()[similarity.key_rows]).any())


def _key_mean(similarity: Similarity) -> float:
    return float(np.nanmean(similarity.at_counterpart()[similarity.key_rows]))


def _least(similarity: Similarity) -> tuple[str, float]:
    values = similarity.at_counterpart()[similarity.key_rows]
    place = int(np.nanargmin(values))
    return similarity.comparison.rows[similarity.key_rows[place]], float(values[place])


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]
