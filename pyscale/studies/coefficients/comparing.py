"""Searches side by side: whether what was best in one (a family, a budget) is as good in another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from pyscale.comparison.dependencies import import_report_dependency
from pyscale.studies.coefficients.intervals import Interval
from pyscale.studies.coefficients.results import SearchResult
from pyscale.studies.coefficients.space import Candidate

if TYPE_CHECKING:
    import pandas as pd

Standing = Literal["best", "not distinguishable", "worse", "misses the cost", "not tried"]


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
    def depends(self) -> bool:
        """Whether some search's best bases are worse in another, or no candidate there, beyond doubt."""
        return any(transfer.standing in ("worse", "misses the cost") for transfer in self.transfers)

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
            "depends": self.depends,
        }

    def __str__(self) -> str:
        return "\n".join(map(str, self.transfers))


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
