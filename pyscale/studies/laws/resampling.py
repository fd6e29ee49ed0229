"""The bootstrap of all laws: residuals about the fitted curve, or whole points, are drawn again and fitted anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pyscale.studies.laws.estimates import Array, Resampling

_MOST_TRIES = 100  # resamples of cases drawn for one that determines the law


def bootstrap(
    refit: Callable[[Array, Array], Array],
    logs: Array,
    y: Array,
    curve: Array,
    parameters: int,
    *,
    resampling: Resampling,
    draws: int,
    seed: int,
    determined: Callable[[Array], bool],
    linear: bool = False,
) -> Array:
    """Return parameters fitted to resampled data (draws, P), or (0, P) where no degrees of freedom are left.

    Args:
        refit: Takes log factors (n, K) and values (n,), returns parameters (P,); of a linear law it takes many values
            (n, draws) at once and returns (P, draws).
        logs: Log factors (n, K).
        y: Values (n,).
        curve: What the law fitted to the data themselves says of them (n,).
        parameters: P.
        resampling: "residuals": about the fitted curve, widened by sqrt(n/(n - P)); "cases": whole points.
        draws: How often.
        seed: Of the resampling.
        determined: Whether points with these log factors determine the law.
        linear: Whether the law is linear in its parameters, with a free constant: its residuals then have mean 0, where
            those of others are centred.
    """
    n = len(y)
    if n <= parameters:
        return np.empty((0, parameters))
    rng = np.random.default_rng(seed)
    if resampling == "cases":
        return np.array([refit(logs[i], y[i]) for i in _resampled_cases(logs, draws, rng, determined)])
    residuals = y - curve
    residuals = (residuals if linear else residuals - residuals.mean()) * np.sqrt(n / (n - parameters))
    if linear:
        return np.asarray(refit(logs, curve[:, None] + rng.choice(residuals, (n, draws))).T)
    return np.array([refit(logs, curve + rng.choice(residuals, n)) for _ in range(draws)])


def _resampled_cases(
    logs: Array, draws: int, rng: np.random.Generator, determined: Callable[[Array], bool]
) -> Iterator[NDArray[np.int64]]:
    """Yield indices of resampled points, those of resamples that don't determine the law drawn again."""
    for _ in range(draws):
        for _ in range(_MOST_TRIES):
            i = rng.integers(len(logs), size=len(logs))
            if determined(logs[i]):
                yield i
                break
        else:
            raise ValueError('resampling is "cases", but too few resamples determine the law; use "residuals"')
