"""How much is pruned at each step on the way to the final amount."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["cubic", "iterative"]


@dataclass(frozen=True)
class Schedule:
    r"""The amounts pruned after each of ``steps`` steps; between them the model is fine-tuned.

    ``"cubic"`` prunes fast while much is redundant and slowly near the end: after step t of n,

    .. math:: s_t = s - s (1 - t/n)^3

    ``"iterative"`` removes the same share of what is left at every step: :math:`s_t = 1 - (1 - s)^{t/n}`.

    Args:
        kind: ``"cubic"`` or ``"iterative"``.
        steps: How many, at least 1.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> [round(amount, 2) for amount in Schedule("cubic", steps=4).amounts(0.8)]
        [0.46, 0.7, 0.79, 0.8]
        >>> [round(amount, 3) for amount in Schedule("iterative", steps=2).amounts(0.75)]
        [0.5, 0.75]

    References:
        Zhu and Gupta, "To prune, or not to prune", 2017 (arXiv 1710.01878), equation 1, from no sparsity at step 0.
        Han, Pool, Tran and Dally, "Learning both weights and connections", NIPS 2015, section 3.4.
    """

    kind: Kind
    steps: int = 8

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {get_args(Kind)}, got {self.kind!r}")
        if type(self.steps) is not int or self.steps < 1:
            raise ValueError(f"steps must be an int >= 1, got {self.steps!r}")

    def amounts(self, final: float) -> list[float]:
        """The share of the weights that is gone after each step; the last is ``final`` exactly."""
        passed = [step / self.steps for step in range(1, self.steps)]
        if self.kind == "cubic":
            return [*(final - final * (1 - t) ** 3 for t in passed), final]
        return [*(1 - (1 - final) ** t for t in passed), final]


def as_schedule(schedule: Schedule | Kind | None) -> Schedule:
    """A schedule as given, by its kind, or one step where None.

    Raises:
        ValueError: If it is none of these.
    """
    if schedule is None:
        return Schedule("cubic", steps=1)
    if isinstance(schedule, Schedule):
        return schedule
    if schedule not in get_args(Kind):
        raise ValueError(f"schedule must be None, a Schedule or one of {get_args(Kind)}, got {schedule!r}")
    return Schedule(schedule)
