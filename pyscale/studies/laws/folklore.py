"""The folklore that every dimension should take an equal share of a budget, held to a fitted law."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pyscale.studies.laws.allocation import Split, best_split, cost_exponents, log_budget, named, outside
from pyscale.studies.laws.cost import TEXTBOOK, CostLaw
from pyscale.studies.laws.error import ErrorLaw
from pyscale.studies.laws.estimates import Estimate, estimate
from pyscale.studies.laws.fitting import predicted


@dataclass(frozen=True)
class Verdict:
    """Whether equal shares of a budget do as well as the best split found.

    Attributes:
        budget: Cost relative to the network of all factors 1.
        rule: By dimension, the factor that an equal share buys.
        rule_error: Error of that network by the law.
        best: The best split, from the base network in the same direction.
        loss: Error of the rule less that of the best split; the interval is that of the difference of these two
            networks, so it may reach below 0.
        beaten: Whether the whole interval of ``loss`` lies above 0.
        extrapolated: Whether the rule's network lies outside the factors that the law was fitted to.
        text: All of it in a sentence or two.
    """

    budget: float
    rule: dict[str, float]
    rule_error: Estimate
    best: Split
    loss: Estimate
    beaten: bool
    extrapolated: bool
    text: str


def equal_shares(error: ErrorLaw, cost: CostLaw, budget: float) -> Verdict:
    r"""Test the folklore that every dimension should take an equal share of the budget.

    With three dimensions and MACs as d·w²·r², an equal share is the one-third power: :math:`d = s^{1/3}`,
    :math:`w = r = s^{1/6}`. Where the true exponents of cost differ from 1, 2, 2, the same direction is followed
    until the budget is spent. It is compared with the best split among networks that go the same way: no dimension to
    the other side of the base network, nor past both the rule's network and the ends of what was observed. The answer
    is that of the law: one that fits worse (:attr:`ErrorLaw.aic`) deserves less trust.

    Args:
        error: The law of error.
        cost: A law of cost with the same dimensions, each with a positive exponent.
        budget: Cost relative to that of the network of all factors 1, not 1 itself.

    Returns:
        The verdict, with both networks.

    Raises:
        ValueError: The laws' dimensions differ or are not among depth, width and resolution; or the budget is 1, not
            positive.

    References:
        Dollár, Singh and Girshick, "Fast and accurate model scaling", CVPR 2021, section 3 (uniform compound scaling).
    """
    if foreign := [name for name in error.dimensions if name not in TEXTBOOK]:
        raise ValueError(f"error has the dimension {foreign[0]!r}; expected some of {', '.join(TEXTBOOK)}")
    k, _ = cost_exponents(error, cost)
    target = log_budget(budget)
    if target == 0:
        raise ValueError("budget is 1, which leaves nothing to share; expected more, or less to shrink to")
    direction = np.array([1 / TEXTBOOK[name] for name in error.dimensions])
    logs = direction * target / float(k @ direction)
    rule = named(error, np.exp(logs))
    one_way = {
        name: (1.0, max(rule[name], high)) if target > 0 else (min(rule[name], low), 1.0)
        for name, (low, high) in error.ranges.items()
    }
    best = best_split(error, cost, budget, bounds=one_way)
    rule_error = error.predict(**rule)
    both = np.stack([logs, np.log([factor.value for factor in best.factors.values()])])
    drawn = predicted(error.draws, both, error.form)
    loss = estimate(rule_error.value - best.error.value, drawn[:, 0] - drawn[:, 1], error.confidence)
    beaten, extrapolated = loss.low > 0, outside(error, logs)
    text = _sentence(budget, rule, rule_error, best, loss, beaten, extrapolated, error.confidence)
    return Verdict(float(budget), rule, rule_error, best, loss, beaten, extrapolated, text)


def _sentence(
    budget: float,
    rule: dict[str, float],
    rule_error: Estimate,
    best: Split,
    loss: Estimate,
    beaten: bool,
    extrapolated: bool,
    confidence: float,
) -> str:
    def listed(numbers: Mapping[str, float], style: str) -> str:
        return ", ".join(f"{name} {format(number, style)}" for name, number in numbers.items())

    best_factors = {name: factor.value for name, factor in best.factors.items()}
    shares = {name: share.value for name, share in best.shares.items()}
    outcome = (
        "the rule is beaten"
        if beaten
        else "these points cannot tell the two apart"
        if not math.isnan(loss.low)
        else "without residuals nothing can be said about that difference"
    )
    return (
        f"At {budget:g} times the cost an equal share for every dimension ({listed(rule, '.2f')}) is predicted to err "
        f"{100 * rule_error.value:.1f} %{', extrapolated' if extrapolated else ''}; the best split found "
        f"({listed(best_factors, '.2f')}; shares {listed(shares, '.0%')}) errs {100 * best.error.value:.1f} %. "
        f"The rule loses {100 * loss.value:.2f} points ({confidence:.0%} interval {100 * loss.low:.2f} to "
        f"{100 * loss.high:.2f}): {outcome}."
    )
