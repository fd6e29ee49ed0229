"""Accuracy as what it is: a proportion measured on finitely many pictures, with its confidence interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

IntervalMethod = Literal["wilson", "exact"]


@dataclass(frozen=True)
class ClassCount:
    """How many pictures of one class were seen and how many of them were named rightly."""

    name: str
    correct: int
    total: int

    @property
    def value(self) -> float:
        """The share named rightly; NaN where the class was never seen."""
        return self.correct / self.total if self.total else float("nan")


@dataclass(frozen=True)
class Accuracy:
    r"""The share of right answers, with an interval that covers the true rate in 95 % of repetitions.

    The Wilson interval (default) inverts the score test, so it stays inside [0, 1] and is sensible at 0 and 100 %:

    .. math:: \frac{\hat p + z^2/2n \pm z\sqrt{\hat p(1-\hat p)/n + z^2/4n^2}}{1 + z^2/n}

    ``method="exact"`` is Clopper and Pearson's, which never covers less than it says and is wider.

    Args:
        correct: Number of right answers.
        total: Number of pictures, at least 1.
        per_class: Counts by true class; may be empty.
        confidence: Coverage of the interval, in (0, 1).
        method: ``"wilson"`` or ``"exact"``.

    Raises:
        ValueError: If the counts do not fit together or an option is unknown.

    Example:
        >>> accuracy = Accuracy(correct=350, total=360)
        >>> print(accuracy)
        97.2 % (95.0 to 98.5)
        >>> round(accuracy.low, 4), round(accuracy.high, 4)
        (0.9496, 0.9848)

    References:
        Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
        Clopper and Pearson, The use of confidence or fiducial limits illustrated in the case of the binomial,
        Biometrika 26 (1934).
    """

    correct: int
    total: int
    per_class: Sequence[ClassCount] = ()
    confidence: float = 0.95
    method: IntervalMethod = "wilson"
    value: float = field(init=False)
    low: float = field(init=False)
    high: float = field(init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.total or self.total < 1:
            raise ValueError(
                f"correct and total must satisfy 0 <= correct <= total, total >= 1; got {self.correct}, {self.total}"
            )
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must lie between 0 and 1, got {self.confidence}")
        if self.method not in ("wilson", "exact"):
            raise ValueError(f'method must be "wilson" or "exact", got {self.method!r}')
        counted = sum(c.correct for c in self.per_class), sum(c.total for c in self.per_class)
        if self.per_class and counted != (self.correct, self.total):
            raise ValueError(f"per_class adds up to {counted}, but (correct, total) is {(self.correct, self.total)}")
        low, high = _interval(self.correct, self.total, self.confidence, self.method)
        for name, number in (("value", self.correct / self.total), ("low", low), ("high", high)):
            object.__setattr__(self, name, number)
        object.__setattr__(self, "per_class", tuple(self.per_class))

    @property
    def classes_seen(self) -> int:
        """How many classes had at least one picture; fewer than there are means the accuracy is silent on some."""
        return sum(count.total > 0 for count in self.per_class)

    @property
    def balanced(self) -> float:
        """Mean of the accuracies of the classes seen: every class weighs the same. NaN without per-class counts."""
        seen = [count.value for count in self.per_class if count.total]
        return sum(seen) / len(seen) if seen else float("nan")

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON and tables."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "confidence": self.confidence,
            "method": self.method,
            "correct": self.correct,
            "total": self.total,
            "per_class": [{"name": c.name, "correct": c.correct, "total": c.total} for c in self.per_class],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Accuracy:
        """Undo :meth:`to_dict`; the interval is computed again from the counts."""
        per_class = tuple(ClassCount(c["name"], int(c["correct"]), int(c["total"])) for c in values["per_class"])
        return cls(values["correct"], values["total"], per_class, values["confidence"], values["method"])


def _interval(correct: int, total: int, confidence: float, method: IntervalMethod) -> tuple[float, float]:
    from pyscale.train.dependencies import import_train_dependency

    stats = import_train_dependency("scipy.stats")
    bounds = stats.binomtest(correct, total).proportion_ci(confidence_level=confidence, method=method)
    return float(bounds.low), float(bounds.high)
