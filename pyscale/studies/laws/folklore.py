"""The folklore that every dimension should take an equal share of a budget, held to a fitted law."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pyscale.studies.laws.allocation import Split, best_split, cost_exponents, log_budget, named
from pyscale.studies.laws.cost import TEXTBOOK, CostLaw
from pyscale.studies.laws.error import ErrorLaw
from pyscale.studies.laws.estimates import Array, Estimate, estimate
from pyscale.studies.laws.fitting import predicted

_SLACK = 1e-9  # of a logarithm
_USUAL = math.log(4)  # a quarter or four times the cost, where networks beyond it were observed
_LARGEST_LOG = 700.0  # of a factor that is a floating-point number


@dataclass(frozen=True)
class Verdict:
    """Whether equal shares of a budget do as well as the best split found, both among networks like those observed.

    Attributes:
        budget: Cost relative to the network of all factors 1.
        rule: By dimension, the factor that an equal share buys.
        rule_error: Error of that network by the law.
        best: The best split, from the base network in the same direction, within what was observed.
        loss: Error of the rule less that of the best split; the interval is that of the difference of these two
            networks, so it may reach below 0. NaN where as many networks as parameters leave no residuals.
        beaten: Whether the whole interval of ``loss`` lies above 0.
        text: All of it in a sentence or two.
    """

    budget: float
    rule: dict[str, float]
    rule_error: Estimate
    best: Split
    loss: Estimate
    beaten: bool
    text: str
    tested: ClassVar[bool] = True

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class NotTested:
    """That nothing was observed by which equal shares of a budget could be judged.

    Attributes:
        budget: Cost relative to the network of all factors 1.
        rule: By dimension, the factor that an equal share buys.
        budgets: The budgets between which the law's networks can test the rule, the ends excluded; the two are the same
            where there are none.
        text: What is missing, in a sentence or two.
    """

    budget: float
    rule: dict[str, float]
    budgets: tuple[float, float]
    text: str
    tested: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.text


def equal_shares(error: ErrorLaw, cost: CostLaw, budget: float) -> Verdict | NotTested:
    r"""Test the folklore that every dimension should take an equal share of the budget.

    With three dimensions and MACs as d·w²·r², an equal share is the one-third power: :math:`d = s^{1/3}`,
    :math:`w = r = s^{1/6}`. Where the true exponents of cost differ from 1, 2, 2, the same direction is followed
    until the budget is spent. It is compared with the best split among networks that go the same way: no dimension to
    the other side of the base network, nor past what was observed. The answer is that of the law: one that fits worse
    (:attr:`ErrorLaw.aic`) deserves less trust.

    Where the rule's own network is no smaller or no larger than any that was observed, in whichever dimension, the law
    has not been held to anything like it, and where it is the only one of its cost there is nothing to compare it with:
    then it is not tested.

    Args:
        error: The law of error.
        cost: A law of cost with the same dimensions, each with a positive exponent.
        budget: Cost relative to that of the network of all factors 1, not 1 itself.

    Returns:
        The verdict, with both networks; :class:`NotTested` where there can be none.

    Raises:
        ValueError: The laws' dimensions differ or are not among depth, width and resolution; or the budget is 1, not
            positive, or so far from 1 that no factor is a number.

    References:
        Dollár, Singh and Girshick, "Fast and accurate model scaling", CVPR 2021, section 3 (uniform compound scaling).
    """
    target = log_shared_budget(budget)
    least, most = equal_share_budgets(error, cost)
    logs = _equal_logs(error, cost, target)
    rule = named(error, np.exp(logs))
    reason = _untestable(error, rule, target, least, most)
    if reason:
        return NotTested(float(budget), rule, (least, most), f"At {_times(budget)}: not tested: {reason}.")
    best = best_split(error, cost, budget, bounds=_one_way(error, target))
    rule_error = error.predict(**rule)
    both = np.stack([logs, np.log([factor.value for factor in best.factors.values()])])
    drawn = predicted(error.draws, both, error.form)
    loss = estimate(rule_error.value - best.error.value, drawn[:, 0] - drawn[:, 1], error.confidence)
    text = _sentence(budget, rule, rule_error, best, loss, error.confidence)
    return Verdict(float(budget), rule, rule_error, best, loss, loss.low > 0, text)


def equal_share_budgets(error: ErrorLaw, cost: CostLaw) -> tuple[float, float]:
    """Between which budgets the observed networks can test equal shares.

    Args:
        error: The law of error.
        cost: A law of cost with the same dimensions, each with a positive exponent.

    Returns:
        The least and the largest budget at which the network of equal shares lies within the range observed in every
        dimension. An end is 1 where a dimension was not scaled that way at all; the two are the same where there are no
        such budgets, as in a law of one dimension.

    Raises:
        ValueError: The laws' dimensions differ or are not among depth, width and resolution.
    """
    k, _ = cost_exponents(error, cost)
    direction = _direction(error)
    if len(direction) < 2:
        return 1.0, 1.0
    low, high = np.log([error.ranges[name] for name in error.dimensions]).T / direction
    price = float(k @ direction)
    least, most = price * float(low.max()), price * float(high.min())
    return (math.exp(least), math.exp(most)) if least < most else (1.0, 1.0)


def usual_budgets(error: ErrorLaw, cost: CostLaw) -> tuple[float, ...]:
    """A budget on each side of 1 at which equal shares can be tested: a quarter and four times, or halfway to the end.

    Args:
        error: The law of error.
        cost: A law of cost with the same dimensions, each with a positive exponent.

    Returns:
        None, one or two budgets, the lower first.

    Raises:
        ValueError: The laws' dimensions differ or are not among depth, width and resolution.
    """
    least, most = map(math.log, equal_share_budgets(error, cost))
    shrinking = max(-_USUAL, least if least <= -_USUAL else least / 2)
    growing = min(_USUAL, most if most >= _USUAL else most / 2)
    return tuple(
        math.exp(target) for target, there in ((shrinking, least < -_SLACK), (growing, most > _SLACK)) if there
    )


def log_shared_budget(budget: float) -> float:
    """Return the logarithm of a budget that can be shared.

    Raises:
        ValueError: It is not positive and finite, or is 1.
    """
    target = log_budget(budget)
    if target == 0:
        raise ValueError("budget is 1, which leaves nothing to share; expected more, or less to shrink to")
    return target


def _direction(error: ErrorLaw) -> Array:
    """Return what equal shares of one unit of ln cost add to the log factors (K,), by the textbook."""
    if foreign := [name for name in error.dimensions if name not in TEXTBOOK]:
        raise ValueError(f"error has the dimension {foreign[0]!r}; expected some of {', '.join(TEXTBOOK)}")
    return np.array([1 / TEXTBOOK[name] for name in error.dimensions])


def _equal_logs(error: ErrorLaw, cost: CostLaw, target: float) -> Array:
    """Return the log factors (K,) of the network of equal shares that costs the target."""
    k, _ = cost_exponents(error, cost)
    direction = _direction(error)
    logs = direction * target / float(k @ direction)
    if np.abs(logs).max() > _LARGEST_LOG:
        raise ValueError(f"budget is {math.exp(target):g}, whose equal shares are factors too far from 1 to be numbers")
    return np.asarray(logs)


def _one_way(error: ErrorLaw, target: float) -> dict[str, tuple[float, float]]:
    """Return the observed range by dimension, from 1 in the direction of the target."""
    if target > 0:
        return {name: (max(1.0, low), high) for name, (low, high) in error.ranges.items()}
    return {name: (low, min(1.0, high)) for name, (low, high) in error.ranges.items()}


def _untestable(error: ErrorLaw, rule: Mapping[str, float], target: float, least: float, most: float) -> str:
    """Return why nothing can be said of a budget; empty where something can."""
    if len(error.dimensions) < 2:
        return f"the law knows {error.dimensions[0]} alone, which takes all of any budget"
    if math.log(least) + _SLACK < target < math.log(most) - _SLACK:
        return ""
    networks = "; ".join(
        f"{name} {rule[name]:.3g}, observed {low:.3g} to {high:.3g}" for name, (low, high) in error.ranges.items()
    )
    possible = f"budgets between {least:.3g} and {most:.3g}" if least < most else "no budgets"
    return f"the budget lies outside the observed networks (an equal share buys {networks}), which can test {possible}"


def _sentence(
    budget: float, rule: Mapping[str, float], rule_error: Estimate, best: Split, loss: Estimate, confidence: float
) -> str:
    def listed(numbers: Mapping[str, float], style: str) -> str:
        return ", ".join(f"{name} {format(round(number, 4) + 0.0, style)}" for name, number in numbers.items())  # no -0

    best_factors = {name: factor.value for name, factor in best.factors.items()}
    shares = {name: share.value for name, share in best.shares.items()}
    interval = f"{confidence:.0%} interval {100 * loss.low:.2f} to {100 * loss.high:.2f}"
    if math.isnan(loss.low):
        interval = "no interval: as many networks as parameters"
        outcome = "without residuals nothing can be said about that difference"
    elif loss.low > 0:
        outcome = "the rule is beaten"
    else:
        outcome = "these points cannot tell the two apart"
    return (
        f"At {_times(budget)} an equal share for every dimension ({listed(rule, '.2f')}) is predicted to err "
        f"{100 * rule_error.value:.1f} %; the best split found ({listed(best_factors, '.2f')}; shares "
        f"{listed(shares, '.0%')}) errs {100 * best.error.value:.1f} %. The rule loses {100 * loss.value:.2f} points "
        f"({interval}): {outcome}."
    )


def _times(budget: float) -> str:
    return f"{budget:.3g} times the cost"
