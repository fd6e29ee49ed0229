"""Which ways of making a network cheaper are set side by side, at which budgets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from pyscale.models.shares import shares_of
from pyscale.studies.budgets import CLOSEST, RESOURCES, Budget, Compression, Resource

Way = Literal["scaled", "channels", "weights", "deep"]

WAYS: dict[Way, str] = {
    "scaled": "scaled-down networks",
    "channels": "networks with channels pruned",
    "weights": "networks with weights pruned",
    "deep": "deeply compressed networks",
}
"""The ways to a cheaper network, and what they are called in print."""


@dataclass(frozen=True)
class Contender:
    """One way at one budget.

    Attributes:
        way: How the network is made.
        budget: What it may cost.
    """

    way: Way
    budget: Budget

    @property
    def name(self) -> str:
        """For rows and folders."""
        return f"{self.way}-{self.budget.resource}-{self.budget.limit:g}"


@dataclass(frozen=True, kw_only=True)
class EqualBudgets:
    """Networks that cost the same, made from one original in different ways, and compared with it.

    Every contender is made once for each seed of the study: compressed from the original of that seed, or scaled down
    and trained from that seed. A compressed network is trained as the original was and then fine-tuned; a scaled one is
    given the same number of passes over the pictures in one training, so that none has seen more of them.

    Args:
        shares: Budgets as shares of what the original costs, each below 1.
        resources: Which costs are held equal.
        ways: Which networks take part. A way that cannot meet a budget takes no part in it, which the result says.
        rule: Along which scaled networks shrink, as for :func:`pyscale.studies.scaled_budgets.scaled_to_budget`.
        bits: Of a shared weight's code in deeply compressed networks.
        epochs: Of fine-tuning after pruning.
        sharing_epochs: Of fine-tuning shared values.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> [contender.name for contender in EqualBudgets(shares=(0.5,), resources=("bytes",)).contenders()]
        ['scaled-bytes-0.5', 'channels-bytes-0.5', 'weights-bytes-0.5', 'deep-bytes-0.5']
    """

    shares: tuple[float, ...] = (0.5, 0.25)
    resources: tuple[Resource, ...] = ("macs", "bytes", "latency")
    ways: tuple[Way, ...] = get_args(Way)
    rule: str = "closest"
    bits: int = 6
    epochs: int = 2
    sharing_epochs: int = 1

    def __post_init__(self) -> None:
        known = {"resources": tuple(RESOURCES), "ways": get_args(Way)}
        for name in ("shares", "resources", "ways"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise ValueError(f"{name} must be some, none twice, got {given!r}")
            if name in known and not set(given) <= set(known[name]):
                raise ValueError(f"{name} must be some of {known[name]}, got {given!r}")
        if not all(0 < share < 1 for share in self.shares):
            raise ValueError(f"shares must lie between 0 and 1, got {self.shares!r}")
        if self.rule != CLOSEST:
            shares_of(self.rule)
        Compression(amount=0, bits=self.bits, epochs=self.epochs, sharing_epochs=self.sharing_epochs)

    @property
    def passes(self) -> int:
        """Epochs of fine-tuning that a deeply compressed network has, and every scaled one is given."""
        return self.epochs + (self.sharing_epochs if "deep" in self.ways else 0)

    def contenders(self) -> Iterator[Contender]:
        """Every way at every budget, those that cannot meet it included."""
        for resource in self.resources:
            for share in self.shares:
                for way in self.ways:
                    yield Contender(way, Budget(resource, share))

    def unable(self, contender: Contender) -> str | None:
        """Why a way has no part in a question whatever the network; None where it has one."""
        if contender.way == "scaled":
            return None
        granularity: Literal["weight", "channel"] = "channel" if contender.way == "channels" else "weight"
        return Compression(granularity=granularity, amount=0).cannot_limit(contender.budget.resource)

    def compression(self, contender: Contender) -> Compression:
        """How a contender that is not scaled is made of the original."""
        return Compression(
            granularity="channel" if contender.way == "channels" else "weight",
            budget=contender.budget,
            bits=self.bits if contender.way == "deep" else None,
            epochs=self.passes if contender.way != "deep" else self.epochs,
            sharing_epochs=self.sharing_epochs,
        )
