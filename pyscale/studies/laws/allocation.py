"""Which dimension of a network is worth its cost, and how a budget is best split among them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pyscale.studies.laws.cost import CostLaw
from pyscale.studies.laws.error import ErrorLaw
from pyscale.studies.laws.estimates import Array, Estimate, estimate, log_factors
from pyscale.studies.laws.fitting import Form, falling_terms, split_parameters

Bounds = Mapping[str, tuple[float, float]]

_HALVINGS = 200
_SAME = 1e-9  # relative


@dataclass(frozen=True)
class BestDimension:
    """What each dimension gains for its cost, at one network.

    Attributes:
        at: The network's factors.
        error: Its error by the law.
        gains: By dimension, the fall of the error per relative cost, -∂error/∂ln(cost): 1 % more cost spent in this
            dimension lowers the error by a hundredth of it.
        best: The dimension that gains most.
        support: The share of bootstrap draws in which that dimension gains most; NaN without draws.
        extrapolated: Whether the network lies outside the factors that the law was fitted to.
    """

    at: dict[str, float]
    error: Estimate
    gains: dict[str, Estimate]
    best: str
    support: float
    extrapolated: bool

    def __str__(self) -> str:
        at = ", ".join(f"{name} {factor:.3g}" for name, factor in self.at.items())
        gains = ", ".join(f"{name} {_points(gain)}" for name, gain in self.gains.items())
        sure = "no residuals say how surely" if math.isnan(self.support) else f"in {self.support:.0%} of draws"
        beyond = ", extrapolated: outside the observed networks" if self.extrapolated else ""
        return (
            f"At {at}{beyond}: {self.best} is the best dimension to scale ({sure}); points of error that the cost "
            f"raised by 1 % takes off: {gains}"
        )


@dataclass(frozen=True)
class Split:
    """The best use of a budget.

    Attributes:
        budget: Cost relative to the network of all factors 1.
        factors: By dimension, the factor of the network with least error by the law.
        shares: By dimension, the share of the budget that it takes, k ln x / ln budget; NaN for a budget of 1.
        error: By the law, at ``factors``.
        at_bound: Dimensions whose factor is at an end of what was allowed.
    """

    budget: float
    factors: dict[str, Estimate]
    shares: dict[str, Estimate]
    error: Estimate
    at_bound: tuple[str, ...]


def best_dimension(error: ErrorLaw, cost: CostLaw, **factors: float) -> BestDimension:
    r"""Which dimension to scale next, at one network.

    .. math::
        -\frac{\partial e}{\partial \ln \text{cost}}\bigg|_i = \frac{a_i b_i x_i^{-b_i}}{k_i} \quad \text{(sum)},
        \qquad \frac{b_i (e - e_\infty)}{k_i} \quad \text{(product)}.

    Args:
        error: The law of error.
        cost: A law of cost with the same dimensions, each with a positive exponent.
        factors: The network's, one for each dimension; 1 where none is given.

    Returns:
        The gains with their intervals, and the dimension that gains most.

    Raises:
        ValueError: The laws' dimensions differ, an exponent of cost is not positive, or a factor makes no sense or is
            so far outside the observed ones that the law would have more than all answers wrong.
    """
    k, k_draws = cost_exponents(error, cost)
    logs = log_factors(error.dimensions, factors)
    value = _gains(error.theta, logs, k, error.form)
    drawn = _gains(error.draws, logs, k_draws, error.form)
    best = int(value.argmax())
    return BestDimension(
        at=named(error, np.exp(logs)),
        error=_possible(error, factors),
        gains=_estimates(error, value, drawn),
        best=error.dimensions[best],
        support=float((drawn.argmax(axis=1) == best).mean()) if len(drawn) else math.nan,
        extrapolated=outside(error, logs),
    )


def best_split(error: ErrorLaw, cost: CostLaw, budget: float, *, bounds: Bounds | None = None) -> Split:
    r"""The factors of least error at a given cost.

    Minimises :math:`e(x)` subject to :math:`\prod_i x_i^{k_i} = \text{budget}`. In a sum all gains are then equal
    (:func:`best_dimension`), but in dimensions at a bound; in a product one dimension after another goes to its bound.

    Args:
        error: The law of error.
        cost: A law of cost with the same dimensions, each with a positive exponent.
        budget: Cost relative to that of the network of all factors 1; below 1 it is one to shrink to.
        bounds: By dimension, the least and largest factor allowed; None, and dimensions not named, are the range that
            the law was fitted to.

    Returns:
        The split. Its intervals come from the optimum of every bootstrap draw.

    Raises:
        ValueError: The laws' dimensions differ, the budget is not positive, or no factors within the bounds cost it, or
            none that by the law has any answers right.
    """
    k, k_draws = cost_exponents(error, cost)
    target = log_budget(budget)
    low, high = _log_bounds(error, bounds)
    least, most = float(k @ low), float(k @ high)
    slack = 1e-9 * max(1.0, abs(least), abs(most))
    if not least - slack <= target <= most + slack:
        raise ValueError(
            f"budget is {budget:g}, but factors within bounds cost {math.exp(least):.3g} to {math.exp(most):.3g} times "
            f"the base; widen bounds (beyond what was observed the law is extrapolated)"
        )
    u = _optimum(error.theta[None, :], k[None, :], target, low, high, error.form)[0]
    drawn = _optimum(error.draws, k_draws, target, low, high, error.form)
    factors = _estimates(error, np.exp(u), np.exp(drawn))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (k * u / target, k_draws * drawn / target) if target else (u * math.nan, drawn * math.nan)
    return Split(
        budget=float(budget),
        factors=factors,
        shares=_estimates(error, *shares),
        error=_possible(error, {name: factor.value for name, factor in factors.items()}),
        at_bound=tuple(
            name
            for name, v, *ends in zip(error.dimensions, u, low, high, strict=True)
            if min(abs(v - end) for end in ends) < _SAME
        ),
    )


def cost_exponents(error: ErrorLaw, cost: CostLaw) -> tuple[Array, Array]:
    """Return the exponents of cost (K,), and for each draw of the law of error (draws, K)."""
    for name, law, kind in (("error", error, ErrorLaw), ("cost", cost, CostLaw)):
        if not isinstance(law, kind):
            raise TypeError(f"{name} is a {type(law).__name__}; expected the {kind.__name__} that a fit returned")
    if set(cost.dimensions) != set(error.dimensions):
        raise ValueError(
            f"cost has dimensions {', '.join(cost.dimensions)}; expected those of error, {', '.join(error.dimensions)}"
        )
    k = np.array([cost.exponents[name].value for name in error.dimensions])
    if (k <= 0).any():
        name = error.dimensions[int(k.argmin())]
        raise ValueError(f"cost does not grow with {name} (exponent {k.min():.3g}), so {name} has no price in it")
    if not len(cost.draws):
        return k, np.tile(k, (len(error.draws), 1))
    columns = [1 + cost.dimensions.index(name) for name in error.dimensions]
    return k, cost.draws[np.arange(len(error.draws)) % len(cost.draws)][:, columns]


def _possible(error: ErrorLaw, factors: Mapping[str, float]) -> Estimate:
    """Return the error of a network; ValueError where the law, followed too far, has more than all answers wrong."""
    found = error.predict(**factors)
    if found.value > 1:
        network = ", ".join(f"{name} {factor:.3g}" for name, factor in factors.items())
        observed = ", ".join(f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in error.ranges.items())
        raise ValueError(
            f"factors: {network} is too far from the observed networks ({observed}): the law would have "
            f"{found.value:.0%} of the answers wrong"
        )
    return found


def _points(gain: Estimate) -> str:
    interval = "" if math.isnan(gain.low) else f" ({gain.low:.3f} to {gain.high:.3f})"
    return f"{gain.value:.3f}{interval}"


def _gains(theta: Array, logs: Array, k: Array, form: Form) -> Array:
    """Return -∂error/∂ln(cost) (..., K) by dimension."""
    _, _, b = split_parameters(theta, logs.shape[-1])
    return np.asarray(b * falling_terms(theta, logs[None, :], form)[..., 0, :] / k)


def _optimum(theta: Array, k: Array, target: float, low: Array, high: Array, form: Form) -> Array:
    """Return the log factors (B, K) of least error that cost the target, for parameters (B, P) and exponents (B, K).

    Every dimension is scaled as long as it gains more than a price λ; the price is halved in on until the budget is
    spent. Where the cost jumps at that price (equal gains over a range), the two ends are mixed.
    """
    _, a, b = split_parameters(theta, len(low))
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.log(a * b / k) if form == "sum" else np.log(b / k)  # ln of the gain at factor 1
        steepness = b if form == "sum" else np.zeros_like(b)

        def wanted(price: Array) -> Array:
            over = first - price[:, None]
            u = np.where(
                steepness > 0, over / np.where(steepness > 0, steepness, 1), np.where(over > 0, np.inf, -np.inf)
            )
            return np.asarray(np.clip(np.nan_to_num(u, nan=-np.inf), low, high))

        cheap, dear = (np.full(len(theta), end) for end in (-1e3, 1e3))
        for _ in range(_HALVINGS):
            middle = (cheap + dear) / 2
            affordable = (k * wanted(middle)).sum(axis=1) <= target
            dear, cheap = np.where(affordable, middle, dear), np.where(affordable, cheap, middle)
    less, more = wanted(dear), wanted(cheap)
    spent, could = (k * less).sum(axis=1), (k * more).sum(axis=1)
    rest = np.divide(target - spent, could - spent, out=np.zeros_like(spent), where=could > spent)
    return np.asarray(less + np.clip(rest, 0, 1)[:, None] * (more - less)) + 0.0  # no -0


def log_budget(budget: float) -> float:
    """Return its logarithm; ValueError where it is not positive and finite."""
    if not (math.isfinite(budget) and budget > 0):
        raise ValueError(f"budget must be a positive multiple of the base network's cost, got {budget!r}")
    return math.log(budget)


def _log_bounds(error: ErrorLaw, bounds: Bounds | None) -> tuple[Array, Array]:
    allowed = {**error.ranges, **(bounds or {})}
    if foreign := [name for name in allowed if name not in error.dimensions]:
        raise ValueError(f"bounds has {foreign[0]!r}; expected some of {', '.join(error.dimensions)}")
    for name, (low, high) in allowed.items():
        if not 0 < low <= high < math.inf:
            raise ValueError(f"bounds[{name!r}] must be a positive range (least, largest), got {(low, high)!r}")
    ends = np.log([allowed[name] for name in error.dimensions])
    return ends[:, 0], ends[:, 1]


def outside(error: ErrorLaw, logs: Array) -> bool:
    """Return whether log factors (K,) lie beyond those that the law was fitted to."""
    low, high = _log_bounds(error, None)
    return bool(((logs < low - _SAME) | (logs > high + _SAME)).any())


def named(error: ErrorLaw, values: Array) -> dict[str, float]:
    """Return values (K,) by dimension."""
    return dict(zip(error.dimensions, values.tolist(), strict=True))


def _estimates(error: ErrorLaw, values: Array, draws: Array) -> dict[str, Estimate]:
    return {name: estimate(values[i], draws[:, i], error.confidence) for i, name in enumerate(error.dimensions)}
