"""What a search found: every candidate, the best one, and from which others it can't be told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyscale.comparison.dependencies import import_report_dependency
from pyscale.models import Scaling, compound
from pyscale.studies.coefficients.intervals import Interval, crossed_interval
from pyscale.studies.coefficients.planning import SearchPlan
from pyscale.studies.coefficients.space import Candidate
from pyscale.studies.coefficients.training import Run
from pyscale.train import Accuracy

if TYPE_CHECKING:
    import pandas as pd


NOTHING = Interval(math.nan, math.nan, math.nan)
_NAMED = 5  # of points that are the same network, in a sentence


@dataclass(frozen=True, eq=False)
class Outcome:
    """A trained candidate.

    Attributes:
        candidate: Its bases, and what they cost nominally and counted.
        rungs: By rung that it took part in, its runs from every seed.
    """

    candidate: Candidate
    rungs: tuple[tuple[Run, ...], ...]

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.candidate.name

    @property
    def last(self) -> tuple[Run, ...]:
        """Its runs in the last rung that it took part in."""
        return self.rungs[-1]

    @property
    def epochs(self) -> int:
        """Passes over the training pictures behind those."""
        return self.last[0].epochs

    @property
    def diverged(self) -> bool:
        """Whether a seed's loss became infinite: such a candidate ranks behind all others of its rung."""
        return any(run.diverged for run in self.last)

    @property
    def accuracies(self) -> tuple[Accuracy | None, ...]:
        """By seed, the share of the held-out pictures, each with the interval of these pictures; None: diverged."""
        return tuple(run.accuracy for run in self.last)

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds; NaN where one diverged."""
        return math.nan if self.diverged else float(np.mean([run.right.mean() for run in self.last]))

    def accuracy(self, confidence: float) -> Interval:
        """Mean accuracy with its interval over seeds and pictures, cut to [0, 1]; NaN where a seed diverged."""
        if self.diverged:
            return NOTHING
        return _cut(crossed_interval([run.right for run in self.last], confidence), 0.0)


@dataclass(frozen=True)
class Difference:
    """How much better the best candidate is than another, on the same pictures, from the same seeds, equally long.

    Attributes:
        name: Of the other.
        epochs: That both had behind them: those at which the other was last measured.
        gain: The best's mean accuracy less the other's; :attr:`SearchResult.differences` says what its interval covers.
        diverged: Whether the other diverged, so that there is no difference.
    """

    name: str
    epochs: int
    gain: Interval
    diverged: bool = False

    @property
    def distinguishable(self) -> bool:
        """Whether the best is better beyond what seeds and pictures explain."""
        return self.diverged or self.gain.low > 0


@dataclass(frozen=True, eq=False)
class SearchResult:
    r"""A search that is done.

    Attributes:
        plan: What was to be done.
        outcomes: The trained candidates, the best first: by rungs survived, then by mean accuracy.
        skipped: Those that were not trained, each with the reason.
        test: By seed, the best candidate's accuracy on the test pictures, which took no part in choosing it. It is that
            of a network trained briefly, and on part of the pictures.
        confidence: Coverage of all intervals.
        out: Where the files are; None where nothing was kept.
    """

    plan: SearchPlan
    outcomes: tuple[Outcome, ...]
    skipped: tuple[Candidate, ...]
    test: tuple[Accuracy, ...]
    confidence: float
    out: Path | None

    @property
    def best(self) -> Outcome:
        """The candidate with the highest mean accuracy in the last rung."""
        return self.outcomes[0]

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """The best against every other, in the order of ``outcomes``.

        The coverage is Bonferroni's of one against all others: were the best named beforehand, all intervals would hold
        at once with probability ``confidence``. It is picked by these very accuracies, so what holds is less: with at
        least that probability the candidate that is best in truth is the one found, or not ``distinguishable`` from it.
        To be ruled out it must be overtaken, by so much, by one of the others (Hsu, "Simultaneous confidence intervals
        for all distances from the 'best'", Annals of Statistics 9, 1981).
        """
        others = self.outcomes[1:]
        each = 1 - (1 - self.confidence) / max(1, len(others))
        return tuple(_difference(self.best, other, each) for other in others)

    @property
    def indistinguishable(self) -> tuple[Outcome, ...]:
        """The candidates that the best can't be told apart from."""
        return tuple(
            other for other, found in zip(self.outcomes[1:], self.differences, strict=True) if not found.distinguishable
        )

    @property
    def contenders(self) -> tuple[Candidate, ...]:
        """All bases that may be best: the best, those it can't be told apart from, and those that round to one of them.

        With probability ``confidence`` or more the best in truth is among them; see :attr:`differences`.
        """
        able = (self.best, *self.indistinguishable)
        return tuple(candidate for outcome in able for candidate in (outcome.candidate, *self.same_as(outcome)))

    def same_as(self, outcome: Outcome) -> tuple[Candidate, ...]:
        r"""Other points whose networks are the very same at :math:`\phi = 1`, so that no accuracy tells them apart."""
        return tuple(candidate for candidate in self.skipped if candidate.same_as == outcome.name)

    @property
    def epochs(self) -> int:
        """Passes over the training pictures that were spent."""
        return sum(run.epochs - before for _, run, before in self._runs())

    @property
    def macs(self) -> float:
        """Forward multiply-accumulates of those."""
        pictures = self.plan.pictures[0]
        return sum(
            float(outcome.candidate.macs) * pictures * (run.epochs - before) for outcome, run, before in self._runs()
        )

    @property
    def seconds(self) -> float:
        """Time spent in training epochs, those before an interruption included."""
        return sum(run.seconds for _, run, _ in self._runs())

    @property
    def rate(self) -> float:
        """Forward MACs per second of training, as :func:`search_plan` takes it."""
        return self.macs / self.seconds

    def compound(self, phi: float, *, max_resolution: float | None = None) -> Scaling:
        r"""The family's factors at an exponent, with the bases found: step 2 of compound scaling.

        Args:
            phi: The exponent; compute grows about as growth^φ.
            max_resolution: Largest factor on the baseline's resolution; None is no limit.

        Returns:
            The baseline's factors times :func:`pyscale.models.compound`'s.
        """
        bases = self.best.candidate.bases
        grown = compound(phi, bases.depth, bases.width, bases.resolution, max_resolution=max_resolution)
        return self.plan.space.scaling(grown)

    def to_pandas(self) -> pd.DataFrame:
        """One row a candidate, the best first, those that were not trained last.

        Raises:
            ImportError: pandas is missing: ``pip install 'pyscale[report]'``.
        """
        pandas = import_report_dependency("pandas")
        frame: pd.DataFrame = pandas.DataFrame(self.rows())
        return frame

    def rows(self) -> list[dict[str, Any]]:
        """The rows of :meth:`to_pandas`: plain values, None where there is none."""
        found = {difference.name: difference for difference in self.differences}
        rows: list[dict[str, Any]] = []
        for rank, outcome in enumerate(self.outcomes, 1):
            accuracy, gain = outcome.accuracy(self.confidence), found.get(outcome.name)
            seeds = {
                f"accuracy_seed{run.seed}": None if run.accuracy is None else run.accuracy.value for run in outcome.last
            }
            rows.append(
                {
                    "rank": rank,
                    **_costs(outcome.candidate),
                    "rungs": len(outcome.rungs),
                    "epochs": outcome.epochs,
                    "accuracy": accuracy.value,
                    "low": accuracy.low,
                    "high": accuracy.high,
                    **seeds,
                    "best_is_better_by": None if gain is None else gain.gain.value,
                    "better_low": None if gain is None else gain.gain.low,
                    "better_high": None if gain is None else gain.gain.high,
                    "distinguishable": None if gain is None else gain.distinguishable,
                    "skipped": "",
                    "same_as": None,
                }
            )
        blank = dict.fromkeys(rows[0])
        rows += [
            {**blank, **_costs(candidate), "skipped": candidate.skipped, "same_as": candidate.same_as}
            for candidate in self.skipped
        ]
        return [{name: None if value != value else value for name, value in row.items()} for row in rows]  # NaN

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "plan": self.plan.to_dict(),
            "best": self.best.candidate.to_dict(),
            "text": str(self),
            "indistinguishable": [outcome.name for outcome in self.indistinguishable],
            "confidence": self.confidence,
            "candidates": self.rows(),
            "test": [accuracy.to_dict() for accuracy in self.test],
            "epochs": self.epochs,
            "macs": self.macs,
            "seconds": self.seconds,
        }

    def __str__(self) -> str:
        bases = self.best.candidate.bases
        lines = [
            f"best of {len(self.outcomes)}: α = {bases.depth:g}, β = {bases.width:g}, γ = {bases.resolution:g}, "
            f"{self.best.candidate.growth:.2f} times the baseline's MACs, "
            f"{self.best.accuracy(self.confidence)} after {self.best.epochs} epochs"
        ]
        if alike := self.indistinguishable:
            lines.append(f"not distinguishable from {', '.join(outcome.name for outcome in alike)}")
        elif len(self.outcomes) > 1:
            lines.append("better than every other beyond what seeds and pictures explain")
        if same := self.same_as(self.best):
            more = f" and {len(same) - _NAMED} more" if len(same) > _NAMED else ""
            lines.append(f"the very same network as {', '.join(c.name for c in same[:_NAMED])}{more}")
        if missing := self.plan.rungs[0].candidates - len(self.outcomes):
            lines.append(
                f"{missing} candidates fewer than planned: {len(self.skipped)} other points round to these "
                "networks or miss the cost"
            )
        return "\n".join(lines)

    def _runs(self) -> list[tuple[Outcome, Run, int]]:
        """Every run with its outcome and the epochs that the rung did not have to train."""
        return [
            (outcome, run, outcome.rungs[k - 1][0].epochs if self.plan.continues and k else 0)
            for outcome in self.outcomes
            for k, runs in enumerate(outcome.rungs)
            for run in runs
        ]


def _difference(best: Outcome, other: Outcome, confidence: float) -> Difference:
    """The two as they stood at the end of the other's last rung."""
    mine, theirs = best.rungs[len(other.rungs) - 1], other.last
    if any(run.diverged for run in (*mine, *theirs)):
        return Difference(other.name, other.epochs, NOTHING, other.diverged)
    answers = [a.right.astype(np.int8) - b.right for a, b in zip(mine, theirs, strict=True)]
    return Difference(other.name, other.epochs, _cut(crossed_interval(answers, confidence), -1.0))


def _cut(interval: Interval, least: float) -> Interval:
    """The interval within what an accuracy, or a difference of two, can be."""
    return replace(interval, low=max(least, interval.low), high=min(1.0, interval.high))


def _costs(candidate: Candidate) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "alpha": candidate.bases.depth,
        "beta": candidate.bases.width,
        "gamma": candidate.bases.resolution,
        "nominal": candidate.nominal,
        "growth": candidate.growth,
        "macs": candidate.macs,
        "parameters": candidate.parameters,
        "image_size": candidate.image_size,
    }
