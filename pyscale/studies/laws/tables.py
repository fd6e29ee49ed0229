"""Networks of one family with their factors, accuracies and costs: what laws are fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pyscale.studies.laws.cost import CostLaw, counted_cost_law, fit_cost_law
from pyscale.studies.laws.estimates import DIMENSIONS
from pyscale.train.dependencies import import_train_dependency


@dataclass(frozen=True)
class NetworkTable:
    """Measured networks of one family; every column has one entry a network.

    Attributes:
        name: What the family is called.
        source: Where the numbers are from, and what was counted rather than printed.
        depth: Factors on the blocks per stage.
        width: Factors on the channels.
        resolution: Factors on the side of the image.
        top1: Top-1 accuracies, shares in [0, 1].
        macs: Multiply-accumulates of one image.
        counted_as: A name that :func:`pyscale.models.build` knows, whose networks tell what each dimension costs; None
            where the table's own do.
        pictures: How many the accuracies were measured on, where that is known.
    """

    name: str
    source: str
    depth: tuple[float, ...]
    width: tuple[float, ...]
    resolution: tuple[float, ...]
    top1: tuple[float, ...]
    macs: tuple[float, ...]
    counted_as: str | None = None
    pictures: int | None = None

    @property
    def errors(self) -> NDArray[np.float64]:
        """1 - top-1, (networks,)."""
        return 1 - np.array(self.top1)

    @property
    def factors(self) -> dict[str, NDArray[np.float64]]:
        """The factors (networks,) by dimension, of those dimensions in which the networks differ."""
        columns = {name: np.array(getattr(self, name)) for name in DIMENSIONS}
        return {name: column for name, column in columns.items() if np.ptp(column) > 0}

    def alike(self) -> float | None:
        """How probable accuracies at least so different are of networks that are all equally good.

        By Pearson's chi-square of right and wrong answers, as if each network had answered pictures of its own; None
        where it is unknown how many pictures there were.

        Raises:
            ImportError: SciPy is missing: ``pip install 'pyscale[train]'``.
        """
        if self.pictures is None:
            return None
        wrong = self.errors * self.pictures
        if np.ptp(wrong) == 0:
            return 1.0
        test = import_train_dependency("scipy.stats").chi2_contingency
        return float(test(np.stack([wrong, self.pictures - wrong])).pvalue)

    def cost_law(self, *, seed: int = 0) -> CostLaw:
        """What each of the dimensions in which the networks differ costs, in MACs.

        Networks that all grow in every dimension at once cannot say it: B0 to B7 alone would have width make networks
        cheaper. Such a table names a family in ``counted_as``, of which networks that do say it are counted.

        Args:
            seed: Of the bootstrap, where the law is fitted to the table's own MACs.

        Raises:
            ValueError: The table's own networks are too few, or grow together.
        """
        if self.counted_as is not None:
            return _counted(self.counted_as, tuple(self.factors))
        return fit_cost_law(self.macs, self.factors, seed=seed)

    def joined(self, other: NetworkTable, name: str | None = None) -> NetworkTable:
        """Return the networks of both tables; they were trained by different people if the sources differ.

        Args:
            other: The other table.
            name: Of the whole; None joins the names.
        """
        columns = {name: getattr(self, name) + getattr(other, name) for name in (*DIMENSIONS, "top1", "macs")}
        sources = self.source if self.source == other.source else f"{self.source}; {other.source}"
        counted_as = self.counted_as if self.counted_as == other.counted_as else None
        called = f"{self.name} and {other.name}" if name is None else name
        pictures = self.pictures if self.pictures == other.pictures else None
        return NetworkTable(name=called, source=sources, **columns, counted_as=counted_as, pictures=pictures)

    def __len__(self) -> int:
        return len(self.top1)


@cache
def _counted(family: str, dimensions: tuple[str, ...]) -> CostLaw:
    """The law of a family's counts, which take seconds and never change."""
    return counted_cost_law(family, dimensions=dimensions)
