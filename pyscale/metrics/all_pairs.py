"""Exact similarities of all pairs of layers of two models, from centred co-moments gathered in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyscale.metrics.canonical import WeightBy, certain_ones, chance_r2, projection_weighted
from pyscale.metrics.kernel_sums import LEAST_SAMPLES, Estimator
from pyscale.metrics.moments import CrossMoments, Moments, gram_product
from pyscale.metrics.pair_gathering import PairGathering
from pyscale.metrics.streaming import nuclear_ratio
from pyscale.metrics.validity import warn, warn_constant, warn_degenerate
from pyscale.metrics.whitening import WhitenedMoments, whiten_moments
from pyscale.ops.gram import check_choice

Table: TypeAlias = NDArray[np.float64]


class AllPairsMoments(PairGathering):
    """Centred co-moments of all pairs of layers of two sets, and every exact similarity they hold.

    Every result is a float64 array (rows, columns), NaN where a layer is constant to rounding.

    Each layer's own moments are kept once, those of pairs once for each pair, in float64: about 8 bytes for every
    entry of every (p, q); see :func:`bytes_needed`.

    Args:
        rows: Names of the first set's layers; those of the first update by default.
        columns: Names of the second set's layers, likewise.
        unequal: What a pair of layers with different numbers of rows is: an "error", or "nan" for all of its results.

    Example:
        >>> import numpy as np
        >>> from pyscale.metrics import AllPairsMoments
        >>> rng = np.random.default_rng(0)
        >>> moments = AllPairsMoments()
        >>> for _ in range(3):
        ...     x = rng.standard_normal((32, 4))
        ...     _ = moments.update({"conv": x}, {"mixed": x @ np.triu(np.ones((4, 4)))})
        >>> moments.cca().round(6), moments.cka().shape
        (array([[1.]]), (1, 1))
    """

    def compute(self) -> Table:
        """Return the unbiased linear CKA of all pairs: :meth:`cka`."""
        return self.cka()

    def cka(self, estimator: Estimator = "unbiased") -> Table:
        """Return the linear CKA of all pairs over all samples."""
        check_choice("estimator", estimator, tuple(LEAST_SAMPLES))

        self._check_seen(LEAST_SAMPLES[estimator])
        norms_x = {i: float(x.gram_square(estimator).sqrt()) for i, x in self._x.items()}
        norms_y = norms_x
        if not self._names.same:
            norms_y = {j: float(y.gram_square(estimator).sqrt()) for j, y in self._y.items()}

        def entry(i: int, j: int, xy: CrossMoments) -> float:
            x, y, norms = self._x[i], self._y[j], norms_x[i] * norms_y[j]
            product = gram_product(xy.S.square().sum(), xy.w, x.trace, y.trace, x.n, estimator)
            return float(product) / norms if norms else float("nan")

        table = self._table("CKA", entry)
        self._warn_degenerate(norms_x, norms_y)
        return table

    def zscores(self) -> Table:
        """Return the unbiased CKA in standard deviations under permutations of the samples: CKA sqrt(n (n - 3)/2)."""
        table = self.cka()
        n = np.array([self._x[i].n for i in range(len(self._x))], dtype=np.float64)[:, None]
        return np.asarray(table * np.sqrt(n * (n - 3) / 2))

    def cca(self, *, ridge: float = 0.0, rtol: float = 1e-6) -> Table:
        """Return the mean canonical correlation of all pairs."""
        return self._canonical("CCA", lambda rho: rho.mean(), ridge=ridge, rtol=rtol)

    def cca_r2(self, *, ridge: float = 0.0, rtol: float = 1e-6) -> Table:
        """Return the mean squared canonical correlation of all pairs."""
        return self._canonical("CCA", lambda rho: rho.square().mean(), ridge=ridge, rtol=rtol)

    def svcca(self, *, variance: float = 0.99, rtol: float = 1e-6) -> Table:
        """Return the mean correlation of the directions that hold ``variance`` in each layer, of all pairs."""
        return self._canonical("SVCCA", lambda rho: rho.mean(), variance=variance, rtol=rtol)

    def pwcca(self, *, weight_by: WeightBy = "narrower", rtol: float = 1e-6) -> Table:
        """Return the projection-weighted mean correlation of all pairs, rows taken for x."""
        check_choice("weight_by", weight_by, ("narrower", "x", "y"))
        x, y = self._whitened(rtol=rtol)

        def weighted(i: int, j: int, xy: CrossMoments) -> float:
            return float(projection_weighted(x[i].cross(y[j], xy.S), x[i], y[j], weight_by))

        self._warn_few_samples(x, y)
        return self._table("PWCCA", weighted, symmetric=False)

    def procrustes(self) -> Table:
        """Return the Procrustes similarity of all pairs."""
        self._check_seen(2)
        return self._table("Procrustes similarity", lambda i, j, xy: float(nuclear_ratio(self._x[i], self._y[j], xy)))

    def chance_cka(self, estimator: Estimator = "unbiased") -> Table:
        """Return the CKA that unrelated layers with these spectra would get, as :func:`pyscale.chance` does."""
        check_choice("estimator", estimator, tuple(LEAST_SAMPLES))
        self._check_seen(LEAST_SAMPLES[estimator])

        def spread(x: Moments) -> float:
            return float(x.trace / torch.linalg.vector_norm(x.S))

        def level(i: int, j: int, _: CrossMoments) -> float:
            if estimator == "unbiased":
                return 0.0
            return spread(self._x[i]) * spread(self._y[j]) / (self._x[i].n - 1)

        return self._table(None, level)

    def chance_cca_r2(self, *, ridge: float = 0.0, rtol: float = 1e-6) -> Table:
        """Return the R² that unrelated layers of these ranks would get."""
        x, y = self._whitened(ridge=ridge, rtol=rtol)
        return self._table(None, lambda i, j, _: chance_r2(x[i], y[j], self._x[i].n))

    def _table(
        self, result: str | None, entry: Callable[[int, int, CrossMoments], float], *, symmetric: bool = True
    ) -> Table:
        """Return a table of the entries: NaN where a layer is constant, warned of where ``result`` names what is."""
        table = np.full((len(self._x), len(self._y)), np.nan)
        same = bool(self._names.same)
        constant_x = [self._x[i].constant for i in range(len(self._x))]
        constant_y = constant_x if same else [self._y[j].constant for j in range(len(self._y))]
        flags = [*zip(self.rows or [], constant_x, strict=True), *zip(self.columns or [], constant_y, strict=True)]
        if result is not None:
            warn_constant((f"layer {n!r}" for n in dict.fromkeys(n for n, flag in flags if flag)), result)
            self._warn_unequal(result)
        for i, j in np.ndindex(*table.shape):
            xy = self._cross(i, j)
            if xy is None or constant_x[i] or constant_y[j]:
                continue
            mirrored = same and symmetric and i > j
            table[i, j] = table[j, i] if mirrored else entry(i, j, xy)
        return table

    def _warn_degenerate(self, norms_x: dict[int, float], norms_y: dict[int, float]) -> None:
        """Warn of layers that vary, but whose centred Gram is 0 to rounding."""
        sides = ((self.rows, self._x, norms_x), (self.columns, self._x if self._names.same else self._y, norms_y))
        names = [
            name
            for layers, side, norms in sides
            for i, name in enumerate(layers or [])
            if norms[i] == 0 and not side[i].constant
        ]
        warn_degenerate((f"layer {name!r}" for name in dict.fromkeys(names)), "CKA")

    def _whitened(
        self, *, rtol: float, variance: float = 1.0, ridge: float = 0.0
    ) -> tuple[dict[int, WhitenedMoments], dict[int, WhitenedMoments]]:
        self._check_seen(2)

        def whiten(side: dict[int, Moments]) -> dict[int, WhitenedMoments]:
            return {i: whiten_moments(x, rtol=rtol, variance=variance, ridge=ridge) for i, x in side.items()}

        x = whiten(self._x)
        return x, (x if self._names.same else whiten(self._y))

    def _canonical(
        self,
        result: str,
        summary: Callable[[Tensor], Tensor],
        *,
        rtol: float,
        variance: float = 1.0,
        ridge: float = 0.0,
    ) -> Table:
        x, y = self._whitened(rtol=rtol, variance=variance, ridge=ridge)

        def entry(i: int, j: int, xy: CrossMoments) -> float:
            return float(summary(torch.linalg.svdvals(x[i].cross(y[j], xy.S)).clamp(0, 1)))

        self._warn_few_samples(x, y)
        return self._table(result, entry)

    def _warn_few_samples(self, x: dict[int, WhitenedMoments], y: dict[int, WhitenedMoments]) -> None:
        """Warn once of all pairs that have correlations of 1 whatever the data, with the numbers of the worst."""
        certain = {
            (i, j): certain_ones(x[i], y[j], self._x[i].n)
            for i, j in np.ndindex(len(x), len(y))
            if self._cross(i, j) is not None and not (self._names.same and i >= j)
        }
        few = {pair: count for pair, count in certain.items() if count > 0}
        if few:
            i, j = max(few, key=lambda pair: few[pair])
            n = self._x[i].n
            warn(
                f"the samples are too few for CCA of {len(few)} of {len(certain)} pairs of layers, which have "
                f"correlations of 1 whatever the data; the worst is {(self.rows or [])[i]!r} with "
                f"{(self.columns or [])[j]!r}: rank_x + rank_y = {x[i].rank} + {y[j].rank} > n - 1 = {n - 1}, at least "
                f"{few[i, j]} of {min(x[i].rank, y[j].rank)}"
            )

    def _warn_unequal(self, result: str) -> None:
        if self._unequal:
            i, j = min(self._unequal)
            warn(
                f"{len(self._unequal)} pairs of layers have different numbers of rows, such as "
                f"{(self.rows or [])[i]!r} with {(self.columns or [])[j]!r}: {result} is NaN"
            )


def bytes_needed(features_x: Sequence[int], features_y: Sequence[int] | None = None) -> int:
    """Return the memory that :class:`AllPairsMoments` needs, in bytes, before anything is run.

    The moments, the whitened directions of every layer, and the co-moments of one minibatch of the largest pair.

    Args:
        features_x: Features of each of the first set's layers.
        features_y: Features of each of the second set's layers; None for the first set with itself.
    """
    if features_y is None:
        pairs = sum(p * q for i, p in enumerate(features_x) for q in features_x[i + 1 :])
        layers = list(features_x)
    else:
        pairs = sum(features_x) * sum(features_y)
        layers = [*features_x, *features_y]
    own = sum(p * p for p in layers)
    largest = max(features_x, default=0) * max(features_x if features_y is None else features_y, default=0)
    return 8 * (2 * own + pairs + largest)
