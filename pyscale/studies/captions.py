"""What each figure of a study shows: its caption, and words with numbers for those who don't see it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pyscale.studies.networks import Member
from pyscale.studies.results import StudyResult
from pyscale.studies.similarity import Similarity, Vector
from pyscale.studies.study import LABELS

UNDEFINED = "not defined"


def mean_defined(values: NDArray[np.float64]) -> float:
    """The mean of what is defined; NaN, and no warning, where nothing is.

    Example:
        >>> mean_defined(np.array([1.0, np.nan, 2.0])), mean_defined(np.array([np.nan]))
        (1.5, nan)
    """
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else float("nan")


def span_in_words(values: NDArray[np.float64], joint: str = "to") -> str:
    """The least and the greatest of what is defined.

    Example:
        >>> span_in_words(np.array([0.25, np.nan, 0.5])), span_in_words(np.array([0.0, 0.0]))
        ('0.25 to 0.50', '0.00')
        >>> span_in_words(np.array([np.nan]))
        'not defined'
    """
    defined = values[np.isfinite(values)]
    if not defined.size:
        return UNDEFINED
    low, high = f"{defined.min():.2f}", f"{defined.max():.2f}"
    return low if low == high else f"{low} {joint} {high}"


def chance_in_words(similarities: Iterable[Similarity]) -> str:
    """The chance levels among all pairs of layers of some comparisons."""
    return span_in_words(np.concatenate([found.comparison.chance.ravel() for found in similarities]))


def key_values(similarity: Similarity) -> Vector:
    """(key rows,) the similarity of the key layers to their counterparts."""
    return similarity.at_counterpart()[similarity.key_rows]


def mean_in_words(similarity: Similarity) -> str:
    """The mean similarity of the key layers to their counterparts."""
    return number_in_words(mean_defined(key_values(similarity)))


def number_in_words(value: float) -> str:
    """Two decimals, or that it is not defined."""
    return f"{value:.2f}" if np.isfinite(value) else UNDEFINED


def map_caption(similarity: Similarity) -> str:
    """Under a map."""
    rows, columns = similarity.comparison.values.shape
    return f"{similarity.label}, all {rows} × {columns} pairs of layers; chance {chance_in_words([similarity])}."


def map_in_words(member: Member, similarity: Similarity) -> str:
    """For those who don't see a map."""
    rows, columns = similarity.comparison.values.shape
    return (
        f"Map of {similarity.label} between the {rows} layers of {member.name} and the {columns} of the baseline: from "
        f"{span_in_words(similarity.comparison.values)}, "
        f"{number_in_words(mean_defined(similarity.at_counterpart()))} on average between corresponding layers; "
        f"chance {chance_in_words([similarity])}."
    )


def profile_in_words(member: Member, similarities: Sequence[Similarity]) -> str:
    """For those who don't see the similarity along a network."""
    return (
        f"Similarity of each layer of {member.name} to its counterpart in the baseline, from input to output: "
        + "; ".join(f"{found.label} from {span_in_words(found.at_counterpart())}" for found in similarities)
        + "."
    )


def curves_caption(metric: str) -> str:
    """Under the curves of all networks."""
    return f"{LABELS[metric]} of each network to the corresponding layers of the baseline, from input to " + (
        "output, with two standard errors." if metric == "cka" else "output."
    )


def curves_in_words(result: StudyResult, metric: str) -> str:
    """For those who don't see the curves of all networks."""
    found = {name: by_metric[metric] for name, by_metric in result.similarities.items() if metric in by_metric}
    return (
        f"Mean {LABELS[metric]} to the baseline along depth: "
        + "; ".join(f"{name} {mean_in_words(similarity)}" for name, similarity in found.items())
        + f". Chance: {chance_in_words(found.values())}."
    )
