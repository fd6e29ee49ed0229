"""The largest scaled network that a budget allows, whatever the budget is of and whatever is scaled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from pyscale.models import Architecture, Network, Scaling, build, fast_compound, profile, scale_to
from pyscale.models.shares import RULES
from pyscale.studies.amounts import cost_of
from pyscale.studies.budgets import CLOSEST, Budget, BudgetError, Resource

_SMALLEST, _LARGEST = -12, 10  # exponents of 2
_STEPS = 20  # halvings between two of them
_LATENCY_STEPS = 6


def scaled_to_budget(
    family: str,
    budget: Budget,
    rule: str = "dWr",
    *,
    baseline: Scaling | None = None,
    num_classes: int,
    in_channels: int,
    image_size: int | None,
) -> Scaling:
    """The largest network along d w² r² = s, smaller or larger than the baseline, that keeps a budget.

    MACs and parameters of an unscaled baseline are :func:`pyscale.models.scale_to`'s. Bytes of files, latencies, and
    what starts from a scaled baseline, are found here the same way: by bisection over true costs. Latency is a share,
    measured in turns with the baseline (:func:`pyscale.models.timing.latency_share`), each architecture once.

    Args:
        family: As for :func:`pyscale.models.build`.
        budget: The most it may cost.
        rule: How the dimensions share the growth, as for :func:`pyscale.models.fast_compound`; ``"closest"`` takes,
            of all rules that have names, the one whose network comes nearest to the budget. Small networks have wide
            steps, since channels are rounded to multiples of 8: one rule alone may leave half of a budget unused.
        baseline: What is scaled; None is the family's own network.
        num_classes: As for :func:`pyscale.models.build`.
        in_channels: As for :func:`pyscale.models.build`.
        image_size: As for :func:`pyscale.models.build`.

    Returns:
        The factors on the family, those of the baseline included.

    Raises:
        ValueError: If no network along the rule keeps the budget, or the rule changes nothing of it.

    Example:
        >>> shape = {"num_classes": 10, "in_channels": 3, "image_size": 32}
        >>> half = scaled_to_budget("cifar_resnet20", Budget("bytes", 0.5), "w", **shape)
        >>> 0.6 < half.width < 0.8, half.depth
        (True, 1.0)
    """
    baseline = Scaling() if baseline is None else baseline
    shape: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    costs = _Costs(family, budget.resource, baseline, shape)
    limit = budget.of(costs.of(baseline))
    if rule != CLOSEST:
        return _along(rule, budget, limit, costs)
    found: dict[Scaling, float] = {}
    for name in RULES:
        try:
            scaling = _along(name, budget, limit, costs)
        except ValueError:  # along this one there is none
            continue
        found[scaling] = costs.of(scaling)
    if not found:
        raise BudgetError(
            f"the smallest network along any rule costs more than {budget}, or rules change nothing of it"
        )
    return max(found, key=lambda scaling: found[scaling])


@dataclass
class _Costs:
    """What scaled networks of a family cost before they are trained: no weight is zero then."""

    family: str
    resource: Resource
    baseline: Scaling
    shape: dict[str, Any]
    known: dict[Architecture, float] = field(default_factory=dict)

    @cached_property
    def original(self) -> Network:
        """The baseline, which latencies are shares of."""
        return self._drawn(self.baseline)

    def of(self, scaling: Scaling) -> float:
        """In the unit of :func:`cost_of`; found out once for each architecture, so that a clock is asked once."""
        with torch.device("meta"):
            counted = build(self.family, scaling=scaling, **self.shape)
        if counted.architecture not in self.known:
            self.known[counted.architecture] = self._found(counted, scaling)
        return self.known[counted.architecture]

    def _found(self, counted: Network, scaling: Scaling) -> float:
        if self.resource in ("macs", "parameters"):
            return float(getattr(profile(counted, repeats=0), self.resource))
        network = self.original if counted.architecture == self.original.architecture else self._drawn(scaling)
        return cost_of(network, self.resource, sparse=False, original=self.original)

    def _drawn(self, scaling: Scaling) -> Network:
        with torch.random.fork_rng(devices=[]):
            return build(self.family, scaling=scaling, **self.shape).eval()


def _along(rule: str, budget: Budget, limit: float, costs: _Costs) -> Scaling:
    """The largest network along one rule that costs no more than a limit."""
    baseline = costs.baseline
    if baseline == Scaling() and budget.resource in ("macs", "parameters"):
        budgets: dict[str, Any] = {budget.resource: limit}
        return scale_to(costs.family, rule=rule, **budgets, **costs.shape)

    def scaling(exponent: float) -> Scaling:
        along = fast_compound(2.0**exponent, rule)
        factors = ("depth", "width", "resolution")
        return Scaling(*(getattr(baseline, factor) * getattr(along, factor) for factor in factors))

    def within(exponent: float) -> bool:
        return costs.of(scaling(exponent)) <= limit

    inside = 0
    while within(inside):
        if inside == _LARGEST:
            raise BudgetError(f"rule {rule!r} reaches no network that costs more than {budget}")
        inside += 1
    while not within(inside):
        inside -= 1
        if inside < _SMALLEST:
            raise BudgetError(f"the smallest network along rule {rule!r} costs more than {budget}")
    return scaling(_bisect(within, inside, inside + 1, _LATENCY_STEPS if budget.resource == "latency" else _STEPS))


def _bisect(holds: Callable[[float], bool], inside: float, outside: float, steps: int) -> float:
    """The end, after some halvings, of where something holds that does at ``inside`` and not at ``outside``."""
    for _ in range(steps):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return inside
