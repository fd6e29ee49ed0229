"""What came of networks that cost the same: how much they keep, and how like the original they stay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from pyscale.studies.budgets import Resource
from pyscale.studies.equal_budget.question import Contender, EqualBudgets
from pyscale.studies.networks import Member

CONFIDENCE = 0.95
SEEDS_INTERVAL = "95 % Student t over seeds"


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and where the mean of all seeds would lie.

    Attributes:
        mean: Of the values seen.
        low: Lower end of the 95 % Student t interval; NaN for one seed.
        high: Upper end.
        n: How many values there were.
    """

    mean: float
    low: float
    high: float
    n: int


def over_seeds(values: Sequence[float], least: float = -math.inf, most: float = math.inf) -> Interval:
    r"""Mean and 95 % Student t interval: :math:`\bar x \pm t_{n-1, .975}\, s / \sqrt n`, s with n - 1 below.

    Args:
        values: One a seed; each is the result of a whole training, so they are independent.
        least: What no mean can be below: the interval of a few seeds would reach there.
        most: What none can be above.

    Returns:
        The interval; NaN ends for a single seed, which says nothing about others.

    Example:
        >>> over_seeds([1.0, 2.0, 3.0])
        Interval(mean=2.0, low=-0.48413..., high=4.48413..., n=3)
        >>> over_seeds([0.7, 0.9], most=1).high
        1
    """
    from scipy.stats import t

    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Interval(mean, math.nan, math.nan, n)
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return Interval(mean, max(mean - half, least), min(mean + half, most), n)


@dataclass(frozen=True, eq=False)
class Contestant:
    """One network at a budget, from one seed.

    Attributes:
        contender: Its way and budget.
        member: The network and its costs.
        original: The network of the same seed that it stands in for.
        similarity: Mean CKA between its key layers and the original's.
        latency_share: Of the original's latency, measured in turns with it; NaN before that, and where the budget is of
            something else.
    """

    contender: Contender
    member: Member
    original: Member
    similarity: float
    latency_share: float = math.nan

    @property
    def change(self) -> float:
        """Accuracy less the original's."""
        return self.member.trained.accuracy.value - self.original.trained.accuracy.value

    @property
    def used(self) -> float:
        """What it costs of its budget's resource, as a share of the original."""
        resource = self.contender.budget.resource
        if resource == "latency":
            return self.latency_share
        return _cost(self.member, resource) / _cost(self.original, resource)


@dataclass(frozen=True)
class Absentee:
    """A way that has no part in a question.

    Attributes:
        contender: Its way and budget.
        reason: Why.
        seed: For which seed; None is for all.
    """

    contender: Contender
    reason: str
    seed: int | None = None


@dataclass(frozen=True, eq=False)
class Standing:
    """One way at one budget, over seeds.

    Attributes:
        contender: Its way and budget.
        contestants: Its networks.
    """

    contender: Contender
    contestants: tuple[Contestant, ...]

    @property
    def accuracy(self) -> Interval:
        """Held-out accuracy."""
        return over_seeds([each.member.trained.accuracy.value for each in self.contestants], 0, 1)

    @property
    def change(self) -> Interval:
        """Accuracy less that of the original from the same seed."""
        return over_seeds([each.change for each in self.contestants], -1, 1)

    @property
    def similarity(self) -> Interval:
        """Mean CKA of key layers to the original from the same seed."""
        return over_seeds([each.similarity for each in self.contestants], most=1)

    @property
    def used(self) -> Interval:
        """What they cost of the resource, as a share of the original."""
        return over_seeds([each.used for each in self.contestants])


@dataclass(frozen=True, eq=False)
class EqualBudgetResult:
    """Everything measured of networks that cost the same.

    Attributes:
        asked: What was asked for.
        originals: The networks that the others stand in for, one a seed.
        contestants: The others.
        absentees: Who has no part, and why.
        yardstick: Mean CKA of key layers between each two originals; empty for one.
    """

    asked: EqualBudgets
    originals: tuple[Member, ...]
    contestants: tuple[Contestant, ...]
    absentees: tuple[Absentee, ...]
    yardstick: tuple[float, ...]

    def with_members(self, originals: Sequence[Member], members: Sequence[Member]) -> EqualBudgetResult:
        """The same of networks that were timed: originals by seed, the others in their order."""
        of_seed = {member.seed: member for member in originals[: len(self.originals)]}
        contestants = tuple(
            replace(each, member=member, original=of_seed[member.seed])
            for each, member in zip(self.contestants, members, strict=True)
        )
        return replace(self, originals=tuple(of_seed.values()), contestants=contestants)

    def standings(self) -> Iterator[Standing]:
        """Every way that has a network at a budget, in the order of the question."""
        for contender in self.asked.contenders():
            own = tuple(each for each in self.contestants if each.contender == contender)
            if own:
                yield Standing(contender, own)

    def at(self, resource: Resource, share: float) -> list[Standing]:
        """The standings at one budget."""
        return [
            s for s in self.standings() if (s.contender.budget.resource, s.contender.budget.limit) == (resource, share)
        ]

    @property
    def original_accuracy(self) -> Interval:
        """Of the originals, over seeds."""
        return over_seeds([original.trained.accuracy.value for original in self.originals], 0, 1)


def pairs(originals: Sequence[Member]) -> list[tuple[Member, Member]]:
    """Each two originals once: what differs between them is the seed."""
    return list(combinations(originals, 2))


def paired_difference(one: Standing, other: Standing, measure: str) -> Interval:
    """How much one way has over another, seed by seed, so that a seed's luck with its original counts for neither.

    Args:
        one: A way.
        other: Another way.
        measure: ``"change"`` or ``"similarity"``.

    Returns:
        The difference over the seeds that both have.
    """
    theirs = {each.member.seed: getattr(each, measure) for each in other.contestants}
    return over_seeds(
        [getattr(each, measure) - theirs[each.member.seed] for each in one.contestants if each.member.seed in theirs]
    )


def _cost(member: Member, resource: Resource) -> float:
    if resource == "bytes":
        assert member.file_bytes is not None
        return member.file_bytes
    if resource == "parameters":
        return float(sum(int(parameter.count_nonzero()) for parameter in member.network.parameters()))
    return float(getattr(member.cost, resource))
