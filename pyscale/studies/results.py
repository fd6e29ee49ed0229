"""What a study found, as objects: networks with their costs, similarities to the baseline, and the yardstick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pyscale.comparison import Comparisons
from pyscale.studies.equal_budget.contenders import EqualBudgetResult
from pyscale.studies.networks import Member
from pyscale.studies.similarity import Similarity, Vector
from pyscale.studies.study import Study
from pyscale.studies.weight_similarity.measuring import WeightRow

COSTS = ("parameters", "macs", "activations", "bytes", "latency")


@dataclass(frozen=True)
class PairedAnswers:
    """Two classifiers on the same pictures: what only one of them has right.

    Attributes:
        only_this: Pictures that this network classifies correctly and the baseline does not.
        only_baseline: The reverse.
        pvalue: Two-sided exact McNemar test that both are equally likely; 1 where they never disagree.
    """

    only_this: int
    only_baseline: int
    pvalue: float


@dataclass(frozen=True, eq=False)
class StudyResult:
    """Everything a study measured.

    Attributes:
        study: What was asked for.
        members: The trained networks: baseline, twins, variants.
        similarities: By network name (all but the baseline), then by metric.
        provenance: Versions, machine, date, durations: JSON types only.
        out: Where the files are.
        equal_budget: Of networks that cost the same; None where that was not asked.
        all_pairs: By metric, every network with every other; empty where only the baseline was asked for.
        weights: Of single layers, network by network; empty where that was not asked.
    """

    study: Study
    members: tuple[Member, ...]
    similarities: Mapping[str, Mapping[str, Similarity]]
    provenance: dict[str, Any]
    out: Path
    equal_budget: EqualBudgetResult | None = None
    all_pairs: Mapping[str, Comparisons] = field(default_factory=dict)
    weights: tuple[WeightRow, ...] = ()

    @property
    def baseline(self) -> Member:
        """The network the others were made from."""
        return self.members[0]

    @property
    def twins(self) -> tuple[Member, ...]:
        """The baseline from other seeds."""
        return self.members[1 : 1 + len(self.study.twin_seeds)]

    @property
    def variants(self) -> tuple[Member, ...]:
        """The scaled and compressed networks."""
        return self.members[1 + len(self.study.twin_seeds) :]

    def role(self, member: Member) -> str:
        """``"baseline"``, ``"twin"`` or ``"variant"``."""
        if member is self.baseline:
            return "baseline"
        return "twin" if member in self.twins else "variant"

    def ratio(self, member: Member, cost: str) -> float:
        """A cost of a network relative to the baseline's; latency as it was measured in turns with it."""
        if cost == "latency":
            return member.latency_share
        return float(getattr(member.cost, cost) / getattr(self.baseline.cost, cost))

    def paired(self, member: Member) -> PairedAnswers:
        """A network's answers beside the baseline's on the same pictures."""
        return paired_answers(member, self.baseline)

    def yardstick(self, similarity: Similarity) -> tuple[Vector, Vector] | None:
        """Similarity from seed to seed at the baseline's layers that a network's layers stand for.

        Args:
            similarity: Of a network to the baseline.

        Returns:
            (rows,) the mean over the twins of their similarity at the same layer, and its standard error (NaN where the
            metric has none). None without twins.
        """
        if not self.twins:
            return None
        twins = [self.similarities[twin.name][similarity.metric] for twin in self.twins]
        mean = np.mean([twin.at_counterpart() for twin in twins], axis=0)
        stderr = np.sqrt(np.sum([twin.at_counterpart("stderr") ** 2 for twin in twins], axis=0)) / len(twins)
        return mean[similarity.counterpart], stderr[similarity.counterpart]


def paired_answers(member: Member, baseline: Member) -> PairedAnswers:
    """Count what only one of two networks classifies correctly, and test whether that favours one of them.

    The two were measured on the same pictures, so pictures that both or neither classify correctly say nothing about
    their difference; of the others each is a coin toss if the networks are equally good.

    References:
        McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 12 (1947).
    """
    from scipy.stats import binomtest

    only_this = int((member.right & ~baseline.right).sum())
    only_baseline = int((baseline.right & ~member.right).sum())
    disagreements = only_this + only_baseline
    pvalue = binomtest(only_this, disagreements).pvalue if disagreements else 1.0
    return PairedAnswers(only_this, only_baseline, float(pvalue))
