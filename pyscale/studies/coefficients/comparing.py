"""Searches side by side: whether what was best in one (a family, a budget) is as good in another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from pyscale.comparison.dependencies import import_report_dependency
from pyscale.models import Scaling
from pyscale.studies.coefficients.intervals import Interval
from pyscale.studies.coefficients.results import SearchResult
from pyscale.studies.coefficients.space import Candidate

if TYPE_CHECKING:
    import pandas as pd

Standing = Literal["best", "not distinguishable", "worse", "misses the cost", "not tried"]
Outlook = Literal[
    "reversed", "others in both", "worse one way", "misses the cost", "not tried", "not distinguishable", "same"
]


@dataclass(frozen=True)
class Transfer:
    """What became, in one search, of the bases that another found best.

    Attributes:
        best_of: Label of the search that found them.
        name: Their name.
        standing_in: Label of the other search.
        standing: ``"best"`` there as well; ``"not distinguishable"`` from the best there; ``"worse"`` beyond what seeds
            and pictures explain; ``"misses the cost"``, since rounding makes another network of them; ``"not tried"``.
        behind: How much less accurate than the best there; None where it was not trained, or diverged.
    """

    best_of: str
    name: str
    standing_in: str
    standing: Standing
    behind: Interval | None = None

    def __str__(self) -> str:
        by = f", {self.behind} behind" if self.behind is not None and self.standing != "best" else ""
        return f"{self.name}, best of {self.best_of}: in {self.standing_in} {self.standing}{by}"


@dataclass(frozen=True)
class Pairing:
    """Two searches beside one another.

    Attributes:
        searches: Their labels.
        differ: In what their plans differ: "family", "budget" (or its unit), "data", "recipe", "seeds", ...
        outlook: ``"reversed"``: the best bases of each are worse in the other, beyond what seeds and pictures explain,
            and so is all that can't be told from them, so that no bases are best in both. ``"others in both"``: the
            best of each are worse in the other, but others can't be told from the best in either. ``"worse one way"``:
            those of one are worse in the other, whose own may be best in both. ``"misses the cost"``: neither, and
            those of one are no candidate of the other after rounding, so that nothing is known of their accuracy there.
            ``"not tried"``: as in :class:`Transfer`; also where the best of each are worse in the other, but some that
            can't be told from them were not tried there. ``"not distinguishable"``: as in :class:`Transfer`;
            ``"same"``: one and the same bases.
        shared: Names of the bases that may be best in both: they can't be told from the best in either.
    """

    searches: tuple[str, str]
    differ: tuple[str, ...]
    outlook: Outlook
    shared: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class SearchComparison:
    """What several searches found, and whether it carries over.

    Attributes:
        results: The searches by label.
        transfers: For every ordered pair of them, what became of the one's best bases in the other.
    """

    results: Mapping[str, SearchResult]
    transfers: tuple[Transfer, ...]

    @property
    def missed(self) -> tuple[Transfer, ...]:
        """Best bases that are no candidate elsewhere because rounding gives them another cost: nothing of accuracy."""
        return tuple(transfer for transfer in self.transfers if transfer.standing == "misses the cost")

    @property
    def worse(self) -> tuple[Transfer, ...]:
        """Best bases that are less accurate than the best elsewhere, beyond what seeds and pictures explain."""
        return tuple(transfer for transfer in self.transfers if transfer.standing == "worse")

    @cached_property
    def pairs(self) -> tuple[Pairing, ...]:
        """Every two searches once."""
        standing = {(transfer.best_of, transfer.standing_in): transfer.standing for transfer in self.transfers}
        return tuple(
            _pairing((one, other), self.results[one], self.results[other], {standing[one, other], standing[other, one]})
            for one, other in combinations(self.results, 2)
        )

    @property
    def depends(self) -> bool:
        """Whether the best bases change from one search to another, beyond what seeds and pictures explain.

        That is, whether some two searches are ``"reversed"``. One way alone is not enough: the winner of the one may
        have been picked by luck among equals, and the other's be as good there. Both may have been, where a third is as
        good as either. Missed costs are not counted at all: they tell of rounding.
        """
        return any(pair.outlook == "reversed" for pair in self.pairs)

    @property
    def depends_on(self) -> tuple[str, ...]:
        """What alone differs between two searches that are ``"reversed"``, such as ("budget", "family")."""
        reasons = {pair.differ[0] for pair in self.pairs if pair.outlook == "reversed" and len(pair.differ) == 1}
        return tuple(sorted(reasons))

    def to_pandas(self) -> pd.DataFrame:
        """One row a search: its best bases, their accuracy, and how many others can't be told apart from them.

        Raises:
            ImportError: pandas is missing: ``pip install 'pyscale[report]'``.
        """
        pandas = import_report_dependency("pandas")
        frame: pd.DataFrame = pandas.DataFrame([_row(label, result) for label, result in self.results.items()])
        return frame

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "searches": [_row(label, result) for label, result in self.results.items()],
            "transfers": [asdict(transfer) for transfer in self.transfers],
            "pairs": [asdict(pair) for pair in self.pairs],
            "missed": len(self.missed),
            "worse": len(self.worse),
            "depends": self.depends,
            "depends_on": list(self.depends_on),
        }

    def __str__(self) -> str:
        n = len(self.transfers)
        lines = [
            *map(str, self.transfers),
            f"cost: {len(self.missed)} of {n} miss it elsewhere, where they round to other networks",
            f"accuracy: {len(self.worse)} of {n} are worse elsewhere beyond what seeds and pictures explain",
        ]
        for pair in self.pairs:
            names = " and ".join(pair.searches)
            if pair.outlook == "reversed":
                lines.append(
                    f"the best bases change between {names}, which differ in {', '.join(pair.differ) or 'nothing'}: "
                    "each one's are worse in the other"
                )
            elif pair.outlook == "others in both":
                lines.append(
                    f"of {names} each one's best is worse in the other, but {', '.join(pair.shared)} can't be told "
                    "from the best in either"
                )
        if not self.depends:
            lines.append("that the best bases change is not shown: no two searches rule out that some are best in both")
        return "\n".join(lines)


def compare_searches(results: Mapping[str, SearchResult]) -> SearchComparison:
    """Ask of every search's best bases how they stand in every other search.

    Accuracies of two searches are never compared with one another: their families and budgets differ. What is compared
    is where the same bases stand among the candidates of each.

    Args:
        results: At least two searches, by a label each: another family, budget, growth or data set.

    Returns:
        The searches and how their best bases carry over.

    Raises:
        ValueError: There are fewer than two.
    """
    if len(results) < 2:
        raise ValueError(f"results must be at least two searches by label, got {len(results)}")
    transfers = [
        _transfer(label, result.best.candidate, other, there)
        for label, result in results.items()
        for other, there in results.items()
        if other != label
    ]
    return SearchComparison(dict(results), tuple(transfers))


def _transfer(label: str, found: Candidate, other: str, there: SearchResult) -> Transfer:
    skipped = next((candidate for candidate in there.skipped if candidate.bases == found.bases), None)
    name = found.name if skipped is None else skipped.same_as or skipped.name
    if name == there.best.name:
        return Transfer(label, found.name, other, "best", Interval(0.0, 0.0, 0.0))
    for difference in there.differences:
        if difference.name == name:
            behind = None if difference.diverged else difference.gain
            return Transfer(
                label, found.name, other, "worse" if difference.distinguishable else "not distinguishable", behind
            )
    return Transfer(label, found.name, other, "not tried" if skipped is None else "misses the cost")


def _pairing(searches: tuple[str, str], one: SearchResult, other: SearchResult, standings: set[Standing]) -> Pairing:
    """Two searches, and what the standings of their best bases in one another come to."""
    mine, theirs = (dict.fromkeys(c.bases for c in result.contenders) for result in (one, other))
    shared = tuple(c.name for c in one.contenders if c.bases in theirs)
    tried = _tried(one) & _tried(other)
    unknown = any(bases not in tried for bases in (*mine, *theirs))
    return Pairing(searches, _differing(one, other), _outlook(standings, bool(shared), unknown), shared)


def _tried(result: SearchResult) -> set[Scaling]:
    """All bases that a search asked for, those included that it had no need to train."""
    return {outcome.candidate.bases for outcome in result.outcomes} | {c.bases for c in result.skipped}


def _outlook(standings: set[Standing], shared: bool, unknown: bool) -> Outlook:
    """By how the best bases stand in one another, and whether others may be best in both."""
    if standings == {"worse"}:
        return "others in both" if shared else "not tried" if unknown else "reversed"
    if "worse" in standings:
        return "worse one way"
    for standing in ("misses the cost", "not tried", "not distinguishable"):
        if standing in standings:
            return standing
    return "same"


def _differing(one: SearchResult, other: SearchResult) -> tuple[str, ...]:
    """In what two plans differ, by name."""
    mine, theirs = (_asked(result) for result in (one, other))
    return tuple(name for name in mine if mine[name] != theirs[name])


def _asked(result: SearchResult) -> dict[str, Any]:
    plan = result.plan.to_dict()
    space = plan["space"]
    return {
        "family": space.pop("family"),
        "budget": (plan["budget"], plan["unit"]),
        "data": plan["data"]["digest"],
        **space,
        **{name: plan[name] for name in ("strategy", "seeds", "recipe", "search_seed")},
    }


def _row(label: str, result: SearchResult) -> dict[str, Any]:
    best, accuracy = result.best, result.best.accuracy(result.confidence)
    return {
        "search": label,
        "family": result.plan.space.family,
        "budget": result.plan.budget,
        "unit": result.plan.unit,
        "epochs": best.epochs,
        "alpha": best.candidate.bases.depth,
        "beta": best.candidate.bases.width,
        "gamma": best.candidate.bases.resolution,
        "growth": best.candidate.growth,
        "accuracy": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "candidates": len(result.outcomes),
        "not_distinguishable": len(result.indistinguishable),
    }
