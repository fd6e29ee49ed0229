"""How a network's error falls as it is scaled: power laws with a floor, fitted with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from pyscale.ops.gram import check_choice
from pyscale.studies.laws.estimates import (
    Array,
    Estimate,
    Resampling,
    check_bootstrap,
    check_told_apart,
    checked_points,
    estimate,
    log_factors,
    parameter_table,
)
from pyscale.studies.laws.fitting import Form, at_bounds, fitted, parameter_names, predicted
from pyscale.studies.laws.resampling import bootstrap

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ErrorLaw:
    r"""A fitted law of error, :math:`e_\infty + \sum_i a_i x_i^{-b_i}` or :math:`e_\infty + a \prod_i x_i^{-b_i}`.

    Attributes:
        form: "sum" or "product".
        dimensions: What the factors x are called, in order.
        parameters: "e_inf", "a_<dimension>" (in a product the one "a") and "b_<dimension>", each with its interval.
        spread: Standard deviation of the residuals, in the unit of the errors; NaN without degrees of freedom.
        points: How many networks it was fitted to.
        ranges: Least and largest factor of each dimension among them: beyond, the law is extrapolated.
        at_bound: Parameters that ended at a bound (0, or the steepest exponent): of those the data say no more.
        confidence: Of all intervals.
        draws: Bootstrap parameters (draws, parameters), from which intervals of whatever follows are made.
    """

    form: Form
    dimensions: tuple[str, ...]
    parameters: dict[str, Estimate]
    spread: float
    points: int
    ranges: dict[str, tuple[float, float]]
    at_bound: tuple[str, ...]
    confidence: float
    draws: Array = field(repr=False)

    @property
    def theta(self) -> Array:
        """The parameters' values (parameters,)."""
        return np.array([parameter.value for parameter in self.parameters.values()])

    @property
    def exponents(self) -> dict[str, Estimate]:
        """The b by dimension."""
        return {name: self.parameters[f"b_{name}"] for name in self.dimensions}

    @property
    def aic(self) -> float:
        """Akaike's criterion, n ln(RSS/n) + 2 P; NaN without degrees of freedom.

        Of two forms fitted to the same points, the one with the lower describes them better.
        """
        squares = self.spread**2 * (self.points - len(self.parameters))
        return self.points * math.log(squares / self.points) + 2 * len(self.parameters) if squares > 0 else math.nan

    def predict(self, **factors: float) -> Estimate:
        """Return the error of a network, with the interval of the *curve* (another training scatters by ``spread``).

        Args:
            factors: One for each dimension; 1 where none is given.

        Raises:
            ValueError: A name is no dimension of the law, or a factor not positive.
        """
        logs = log_factors(self.dimensions, factors)[None, :]
        value = float(predicted(self.theta, logs, self.form)[0])
        return estimate(value, predicted(self.draws, logs, self.form)[:, 0], self.confidence)

    def to_pandas(self) -> pd.DataFrame:
        """Return the parameters as a table: ``value``, ``low``, ``high``.

        Raises:
            ImportError: pandas is missing: ``pip install 'pyscale[report]'``.
        """
        return parameter_table(self.parameters)


def fit_error_law(
    errors: ArrayLike,
    factors: Mapping[str, ArrayLike],
    *,
    form: Form = "sum",
    resampling: Resampling = "residuals",
    draws: int = 400,
    confidence: float = 0.95,
    seed: int = 0,
) -> ErrorLaw:
    r"""Fit a law of error to networks scaled in one dimension or several.

    .. math::
        \text{sum: } e_\infty + \sum_i a_i x_i^{-b_i} \qquad \text{product: } e_\infty + a \prod_i x_i^{-b_i},
        \qquad e_\infty, a, b \ge 0

    In one dimension the two are the same. In a sum every dimension runs into its own diminishing returns, so that the
    best use of a budget is some of each; in a product the best use of any budget is all of it in one dimension.

    Least squares on the errors (SciPy's ``least_squares``), from several starting exponents. Intervals are those of the
    percentile bootstrap: residuals are resampled about the curve, which keeps the design (networks were chosen, not
    drawn), or cases. They tell how far the law is determined by these points, provided it is the right law; with hardly
    more points than parameters they are too narrow.

    Args:
        errors: Shares of wrong answers, in [0, 1], one for each of n networks.
        factors: By dimension, n positive factors; or any other size that is scaled, such as ``{"macs": [...]}``.
        form: "sum" or "product".
        resampling: "residuals", or "cases", for networks that were themselves drawn.
        draws: Number of bootstrap fits.
        confidence: Coverage of the intervals, in (0, 1).
        seed: Of the resampling.

    Returns:
        The law. With as many points as parameters its intervals are NaN.

    Raises:
        ValueError: There are fewer points than parameters (1 + 2 K of a sum over K dimensions, 2 + K of a product); a
            dimension takes too few different values (3, in a product of several 2), or all grow together; an error
            lies outside [0, 1] or a factor is not positive; an option is unknown.
        ImportError: SciPy is missing: ``pip install 'pyscale[train]'``.

    Example:
        >>> width = [0.25, 0.5, 1.0, 2.0, 4.0]
        >>> law = fit_error_law([0.1 + 0.2 / w for w in width], {"width": width}, draws=10)
        >>> {name: round(parameter.value, 3) for name, parameter in law.parameters.items()}
        {'e_inf': 0.1, 'a_width': 0.2, 'b_width': 1.0}

    References:
        Rosenfeld et al., "A constructive prediction of the generalization error across scales", ICLR 2020, equation 5,
        for the sum; Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 9.4, for resampling
        residuals or cases.
    """
    check_choice("form", form, ("sum", "product"))
    check_bootstrap(resampling, draws, confidence)
    y, logs = checked_points("errors", errors, factors)
    if (y < 0).any() or (y > 1).any():
        raise ValueError(f"errors must be shares in [0, 1], not percent; got {y.min():g} to {y.max():g}")
    dimensions = tuple(factors)
    K = len(dimensions)
    form = "sum" if K == 1 else form
    names = parameter_names(dimensions, form)
    least_values = 3 if form == "sum" else 2

    def determined(points: Array) -> bool:
        try:
            check_told_apart(dimensions, points, least_values, len(names))
        except ValueError:
            return False
        return True

    check_told_apart(dimensions, logs, least_values, len(names))
    theta = fitted(logs, y, form)
    curve = predicted(theta, logs, form)
    resampled = bootstrap(
        lambda points, values: fitted(points, values, form, theta),
        logs,
        y,
        curve,
        len(names),
        resampling=resampling,
        draws=draws,
        seed=seed,
        determined=determined,
    )
    freedom = len(y) - len(names)
    squares = float(((curve - y) ** 2).sum())
    return ErrorLaw(
        form=form,
        dimensions=dimensions,
        parameters={
            name: estimate(value, resampled[:, i], confidence)
            for i, (name, value) in enumerate(zip(names, theta, strict=True))
        },
        spread=math.sqrt(squares / freedom) if freedom else math.nan,
        points=len(y),
        ranges={name: tuple(np.exp([u.min(), u.max()]).tolist()) for name, u in zip(dimensions, logs.T, strict=True)},
        at_bound=at_bounds(theta, y, names, K),
        confidence=confidence,
        draws=resampled,
    )
