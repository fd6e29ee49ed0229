"""What a network of a study may cost, and how a trained one is compressed to stay within it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pyscale.compress import Schedule

Resource = Literal["macs", "parameters", "bytes", "latency"]
Granularity = Literal["weight", "channel"]
Scope = Literal["global", "layer"]

RESOURCES: dict[Resource, str] = {
    "macs": "multiply-accumulates",
    "parameters": "parameters",
    "bytes": "bytes on disk",
    "latency": "latency",
}
"""What can be limited, and what it is called in print."""


CLOSEST = "closest"
"""The rule of scaling that takes whichever rule comes nearest to a budget."""


class BudgetError(ValueError):
    """No network made in the way that was asked for is within its budget."""


@dataclass(frozen=True)
class Budget:
    """The most that a network may cost.

    Args:
        resource: ``"macs"``, ``"parameters"`` (those that are not zero, once weights are pruned), ``"bytes"`` (of the
            file that holds the network) or ``"latency"`` (measured).
        limit: Below 1 a share of what the baseline costs, else the cost itself; of latency always a share.

    Raises:
        ValueError: If the resource is unknown or the limit out of range.

    Example:
        >>> Budget("macs", 0.5).of(40e6), Budget("macs", 3e6).of(40e6)
        (20000000.0, 3000000.0)
    """

    resource: Resource
    limit: float

    def __post_init__(self) -> None:
        if self.resource not in RESOURCES:
            raise ValueError(f"resource must be one of {', '.join(RESOURCES)}, got {self.resource!r}")
        if not 0 < self.limit < float("inf"):
            raise ValueError(f"limit must be positive and finite, got {self.limit!r}")
        if self.resource == "latency" and self.limit >= 1:
            raise ValueError(f"limit of latency must be a share of the baseline's, below 1, got {self.limit!r}")

    def of(self, baseline: float) -> float:
        """The limit in the resource's own unit, for a baseline that costs this much."""
        return self.limit * baseline if self.limit < 1 else self.limit

    def __str__(self) -> str:
        if self.limit < 1:
            return f"{100 * self.limit:g} % of the baseline's {RESOURCES[self.resource]}"
        return f"{self.limit:,.0f} {RESOURCES[self.resource]}"


@dataclass(frozen=True, kw_only=True)
class Compression:
    """How a network is made from the trained baseline of the same seed: pruned, fine-tuned, perhaps shared.

    Args:
        granularity: ``"weight"`` sets single weights to zero, which leaves MACs and speed as they are and makes the
            ``.psz`` file small; ``"channel"`` takes channels out, which leaves a smaller dense network.
        amount: Share to remove, at least 0 and below 1. Exactly one of ``amount`` and ``budget`` is given.
        budget: What the result may cost; the least amount that keeps it is found.
        scope: ``"global"`` lets all layers compete; ``"layer"`` takes ``amount`` from each.
        schedule: ``"cubic"`` or ``"iterative"``, on the way to the amount (:class:`pyscale.compress.Schedule`); None is
            one shot.
        steps: Of the schedule.
        bits: Lets the weights of each layer share ``2**bits`` values after pruning (deep compression); None does not.
        epochs: Of fine-tuning after each step of pruning, at least 1.
        sharing_epochs: Of fine-tuning the shared values, at least 1.

    Raises:
        ValueError: If an argument is out of range, or the two do not go together.
    """

    granularity: Granularity = "weight"
    amount: float | None = None
    budget: Budget | None = None
    scope: Scope = "global"
    schedule: Literal["cubic", "iterative"] | None = None
    steps: int = 8
    bits: int | None = None
    epochs: int = 2
    sharing_epochs: int = 1

    def __post_init__(self) -> None:
        for name, known in (("granularity", get_args(Granularity)), ("scope", get_args(Scope))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        if self.schedule is not None:
            Schedule(self.schedule, self.steps)
        if (self.amount is None) == (self.budget is None):
            raise ValueError("exactly one of amount and budget must be given")
        if self.amount is not None and not 0 <= self.amount < 1:
            raise ValueError(f"amount must be at least 0 and below 1, got {self.amount!r}")
        if self.bits is not None and not 1 <= self.bits <= 8:
            raise ValueError(f"bits must be from 1 to 8, got {self.bits!r}")
        for name in ("epochs", "sharing_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)!r}")
        if self.budget is not None:
            self._check_budget(self.budget)

    def _check_budget(self, budget: Budget) -> None:
        reason = self.cannot_limit(budget.resource)
        if reason is not None:
            raise ValueError(f"budget: {reason}")

    def cannot_limit(self, resource: Resource) -> str | None:
        """Why no amount changes a resource; None where one does."""
        if self.granularity == "weight" and resource in ("macs", "latency"):
            return (
                f"weights set to zero leave the {RESOURCES[resource]} of dense kernels as they are; prune channels to "
                "lower them"
            )
        return None

    @property
    def in_sparse_file(self) -> bool:
        """Whether the network's file is a ``.psz``; a network with channels taken out is dense, and torch's own."""
        return self.granularity == "weight" or self.bits is not None

    @property
    def kind(self) -> str:
        """What it makes: ``"channels"``, ``"weights"`` or ``"deep"``."""
        return "deep" if self.bits is not None else f"{self.granularity}s"

    @property
    def passes(self) -> int:
        """Epochs of fine-tuning, all in all."""
        pruning = self.epochs * (1 if self.schedule is None else self.steps)
        return pruning + (self.sharing_epochs if self.bits is not None else 0)
