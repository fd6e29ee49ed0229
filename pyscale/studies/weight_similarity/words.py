"""What similarities of weights say, in a sentence for each that is no stronger than the numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pyscale.studies.weight_similarity.measuring import WeightRow
from pyscale.studies.weight_similarity.question import WEIGHT_LABELS

_CLEARLY = 3.0  # standard deviations of the permutation null


def weight_sentences(rows: Sequence[WeightRow]) -> Iterator[str]:
    """Say how far values are from chance, where there is nothing to see, and what untrained weights are there for.

    Args:
        rows: At least one.
    """
    parts = ", ".join(dict.fromkeys(row.part for row in rows))
    others = list(dict.fromkeys(row.network for row in rows))
    yield f"Weights of {rows[0].baseline} beside those of {', '.join(others)} ({parts})."
    for metric, label in WEIGHT_LABELS.items():
        of_metric = [row for row in rows if row.metric == metric and math.isfinite(row.value)]
        told = [row for row in of_metric if not row.note]
        if told:
            values, chances = (_span([getattr(row, field) for row in told]) for field in ("value", "chance"))
            yield f"{label} is {values} where unrelated weights of these shapes get {chances}{_beyond(told)}."
        if len(told) < len(of_metric):
            where = ", ".join(dict.fromkeys(row.part for row in of_metric if row.note))
            yield (
                f"{label} of {where} is 1 whatever the weights, and so is chance: a matrix with no more rows than "
                "columns predicts any other. It says nothing of these layers."
            )
    apart = list(dict.fromkeys((row.part, row.network) for row in rows if not row.rows))
    if apart:
        named = "; ".join(
            f"{part} of {', '.join(network for other, network in apart if other == part)}"
            for part in dict.fromkeys(part for part, _ in apart)
        )
        yield f"No rows in common with {rows[0].baseline}, so no value, and none is padded: {named}."
    if all(row.state == "untrained" for row in rows):
        yield (
            "These networks are untrained, and that is the point: this is what no similarity looks like. Biased CKA "
            "makes a trend of widths alone, which its chance level follows. Checkpoint files by path show trained ones."
        )


def _span(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    low, high = (text.replace("-0.000", "0.000") for text in (low, high))
    return low if low == high else f"{low} to {high}"


def _beyond(rows: Sequence[WeightRow]) -> str:
    """How many are further from chance than a permutation gets, where that is known."""
    known = [row for row in rows if math.isfinite(row.zscore)]
    if not known:
        return ""
    beyond = sum(abs(row.zscore) > _CLEARLY for row in known)
    return (
        f"; {beyond or 'none'} of {len(known)} {'is' if beyond <= 1 else 'are'} more than {_CLEARLY:g} deviations off"
    )
