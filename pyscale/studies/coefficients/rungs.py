"""How a search's budget becomes rungs: so many candidates, trained so long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rung:
    """One stage of a search.

    Attributes:
        candidates: How many take part.
        epochs: Passes over the training pictures that each has behind it at the end of the rung, from each seed.
        trained: How many of them the rung itself trains: all, or what it adds where it goes on from checkpoints.
    """

    candidates: int
    epochs: int
    trained: int

    @property
    def spent(self) -> int:
        """Epochs of all candidates from one seed."""
        return self.candidates * self.trained

    def __str__(self) -> str:
        added = "" if self.trained == self.epochs else f", {self.trained} more than before"
        return f"{self.candidates} candidates to {self.epochs} epochs{added}"


def rung_sizes(candidates: int, reduction: int) -> list[int]:
    r"""How many candidates take part in each of the :math:`\lceil \log_\eta n \rceil` rungs of successive halving.

    Example:
        >>> rung_sizes(20, 3), rung_sizes(3, 3), rung_sizes(1, 2)
        ([20, 7, 3], [3], [1])

    References:
        Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016.
    """
    sizes = [candidates]
    while (kept := math.ceil(sizes[-1] / reduction)) > 1:
        sizes.append(kept)
    return sizes


def plan_rungs(
    sizes: Sequence[int], prices: Sequence[float], budget: float, seeds: int, *, continues: bool
) -> tuple[Rung, ...]:
    """Divide a budget among rungs: equal parts, but that what whole epochs leave over goes to the rungs after.

    Args:
        sizes: Candidates of each rung.
        prices: What one epoch of each candidate takes of the budget, the dearest first: which of them survive is not
            known beforehand, so the dearest are reckoned with.
        budget: To be spent at most.
        seeds: Trainings of each candidate.
        continues: Whether a rung goes on from the rung before, and pays for what it adds only.

    Returns:
        The rungs, each with more epochs than the one before.

    Raises:
        ValueError: The budget is too small for that.

    Example:
        >>> [rung.epochs for rung in plan_rungs([9, 3], [1.0] * 9, 100, 2, continues=False)]
        [2, 10]
        >>> [rung.epochs for rung in plan_rungs([9, 3], [1.0] * 9, 100, 2, continues=True)]
        [2, 12]
    """
    rungs: list[Rung] = []
    left, done = budget, 0
    for number, size in enumerate(sizes, 1):
        price = seeds * math.fsum(prices[:size])
        trained = math.floor(left / (len(sizes) - number + 1) / price + 1e-9)
        epochs = done + trained if continues else trained
        if epochs <= done:
            raise ValueError(
                f"budget of {budget:g} is too small: rung {number} of {len(sizes)} would train {size} candidates from "
                f"{seeds} seeds to {epochs} epochs, after {done}. One epoch of them takes {price:g}, of "
                f"{left / (len(sizes) - number + 1):g} for the rung. Raise budget, or take fewer seeds or candidates"
            )
        rungs.append(Rung(size, epochs, trained))
        left, done = left - trained * price, epochs
    return tuple(rungs)
