"""Numbers with their intervals, and the checks that all laws share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyscale.comparison.dependencies import import_report_dependency

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]
Resampling = Literal["residuals", "cases"]

DIMENSIONS = ("depth", "width", "resolution")
_ALONE = 0.01  # least spread of a dimension that the others must leave it, as a share of the largest


@dataclass(frozen=True)
class Estimate:
    """A number and its bootstrap interval.

    Attributes:
        value: The estimate from the data as they are.
        low: Lower end; NaN where as many points as parameters leave no residuals to resample.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high


def estimate(value: float, draws: Array, confidence: float) -> Estimate:
    """Return a value with the percentile interval of its bootstrap draws; none: NaN."""
    if not len(draws):
        return Estimate(float(value), math.nan, math.nan)
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(value), float(low), float(high))


def parameter_table(parameters: Mapping[str, Estimate]) -> pd.DataFrame:
    """Return estimates as a table with columns ``value``, ``low``, ``high``, one row a parameter."""
    pandas = import_report_dependency("pandas")
    rows = [(e.value, e.low, e.high) for e in parameters.values()]
    table: pd.DataFrame = pandas.DataFrame(rows, index=list(parameters), columns=["value", "low", "high"])
    return table


def checked_points(name: str, values: ArrayLike, factors: Mapping[str, ArrayLike]) -> tuple[Array, Array]:
    """Return observed values (n,) and the logarithms of the factors (n, K).

    Raises:
        TypeError: The values are no numbers, or the factors do not go by dimension.
        ValueError: Lengths differ, or a number is not finite, or a factor not positive; the message names it.
    """
    if not isinstance(factors, Mapping):
        raise TypeError(f"factors is a {type(factors).__name__}; expected lists of factors by dimension")
    try:
        y = np.asarray(values, dtype=np.float64)
    except TypeError as error:
        raise TypeError(f"{name} is a {type(values).__name__}; expected a list of numbers") from error
    if y.ndim != 1 or not np.isfinite(y).all():
        raise ValueError(f"{name} must be a list of finite numbers, got {values!r}")
    if not factors:
        raise ValueError("factors is empty; expected one list of factors for each dimension, by its name")
    for dimension, column in factors.items():
        x = np.asarray(column, dtype=np.float64)
        if x.shape != y.shape:
            raise ValueError(f"factors[{dimension!r}] has shape {x.shape}; expected {y.shape}, one for each of {name}")
        if not (np.isfinite(x).all() and (x > 0).all()):
            raise ValueError(f"factors[{dimension!r}] must be positive and finite, got {column!r}")
    return y, np.log(np.column_stack([np.asarray(column, dtype=np.float64) for column in factors.values()]))


def check_told_apart(dimensions: tuple[str, ...], logs: Array, least_values: int, parameters: int) -> None:
    """Raise ValueError where points cannot determine a law.

    Args:
        dimensions: Their names.
        logs: Logarithms of the factors (n, K).
        least_values: How many different factors each dimension must take.
        parameters: Of the law.
    """
    if len(logs) < parameters:
        raise ValueError(f"{len(logs)} points are fewer than the law's {parameters} parameters; measure more")
    for dimension, column in zip(dimensions, logs.T, strict=True):
        different = len(np.unique(column.round(9)))
        if different < least_values:
            raise ValueError(
                f"factors[{dimension!r}] takes {different} different values; this law needs at least {least_values}"
            )
    spread = np.linalg.svd((logs - logs.mean(axis=0)) / logs.std(axis=0), compute_uv=False)
    if spread[-1] < _ALONE * spread[0]:
        raise ValueError(
            f"factors: {', '.join(dimensions)} grow together in all points, so that what each does can't be told "
            f"apart; vary one of them alone"
        )


def check_bootstrap(resampling: str, draws: int, confidence: float) -> None:
    """Raise ValueError for options of the bootstrap that make no sense."""
    if resampling not in ("residuals", "cases"):
        raise ValueError(f'resampling must be "residuals" or "cases", got {resampling!r}')
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws must be an integer of at least 1, got {draws!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}")


def log_factors(dimensions: tuple[str, ...], factors: Mapping[str, Any]) -> Array:
    """Return the logarithms (K,) of one factor for each dimension, 1 where none is given.

    Raises:
        ValueError: A name is no dimension of the law, or a factor not positive and finite.
    """
    if foreign := [name for name in factors if name not in dimensions]:
        raise ValueError(f"{foreign[0]} is no dimension of this law; expected {', '.join(dimensions)}")
    for name, factor in factors.items():
        if not (np.ndim(factor) == 0 and math.isfinite(factor) and factor > 0):
            raise ValueError(f"{name} must be one positive and finite factor, got {factor!r}")
    return np.log([float(factors.get(name, 1.0)) for name in dimensions])
