"""Two models in one number: the mean over layers of what corresponds, or of what is most alike, with its chance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyscale.comparison.counterparts import counterparts

if TYPE_CHECKING:
    from pyscale.comparison.result import Comparison


class Level(NamedTuple):
    """A mean similarity, and what unrelated activations would get."""

    value: float
    chance: float


def aligned(comparison: Comparison) -> Level:
    r"""Return the mean similarity of every row to the column it corresponds to.

    Where the two have the same layers, a layer corresponds to the one of its name; else to the one of its kind (the
    last part of its name) at the nearest relative depth, (i + ½) / n of the n layers of that kind, and where there is
    none of its kind, of all (:func:`pyscale.comparison.counterparts.counterparts`). Layers without a value are left
    out; NaN where none has one. Its chance is the mean of the same pairs' chance levels.

    References:
        Kornblith et al., "Similarity of neural network representations revisited", 2019, section 6.1: of networks of
        one architecture, the layer at the same place is the one expected to be most alike.
    """
    rows = np.arange(len(comparison.rows))
    same = sorted(comparison.rows) == sorted(comparison.columns)
    place = {name: j for j, name in enumerate(comparison.columns)}
    columns = (
        np.array([place[row] for row in comparison.rows]) if same else counterparts(comparison.rows, comparison.columns)
    )
    values, chance = comparison.values[rows, columns], comparison.chance[rows, columns]
    return Level(_mean(values), _mean(chance[np.isfinite(values)]))


def best_match(comparison: Comparison) -> Level:
    r"""Return the mean over rows of the greatest similarity to any column.

    The greatest of m values is high by chance too. Of the unbiased CKA of unrelated activations, which is 0 on average
    with the standard deviation :math:`\sigma_{ij}` over permutations of the samples (the value by its z-score), the
    chance given is an upper bound that holds however the columns depend on one another,

    .. math::
        \mathrm{E} \max_j \mathrm{CKA}_{ij} \le \max_j \sigma_{ij} \sqrt{2 \ln m},

    as for m normal variables, averaged over rows. It is NaN for other metrics, whose spread over permutations isn't
    known.

    References:
        Boucheron, Lugosi and Massart, "Concentration inequalities", 2013, theorem 2.5.
    """
    values = comparison.values
    defined = np.isfinite(values)
    rows = defined.any(axis=1)
    best = np.where(defined, values, -np.inf)[rows].max(axis=1)
    return Level(_mean(best), _mean(_greatest_by_chance(comparison)[rows]))


def _greatest_by_chance(comparison: Comparison) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return for each row a bound on the mean of the greatest of its values, were its layer unrelated to all."""
    meta = comparison.meta
    if meta.get("metric") != "cka" or meta.get("estimator") != "unbiased":
        return np.full(len(comparison.rows), math.nan)
    defined = np.isfinite(comparison.values) & np.isfinite(comparison.zscores) & (comparison.zscores != 0)
    spread = np.divide(comparison.values, comparison.zscores, out=np.zeros_like(comparison.values), where=defined)
    count = np.maximum(defined.sum(axis=1), 1)
    bound: np.ndarray[tuple[int], np.dtype[np.float64]] = np.abs(spread).max(axis=1) * np.sqrt(2 * np.log(count))
    return np.minimum(bound, 1.0)


def _mean(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Return the mean of what is defined; NaN where nothing is."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else math.nan
