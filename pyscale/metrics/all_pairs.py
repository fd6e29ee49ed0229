"""Exact similarities of all pairs of layers of two models, from centred co-moments gathered in one pass."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyscale.metrics.canonical import WeightBy, certain_ones, chance_r2, weighted_by_projections
from pyscale.metrics.kernel_sums import LEAST_SAMPLES, Estimator
from pyscale.metrics.moments import Moments, gram_product
from pyscale.metrics.pair_gathering import PairGathering
from pyscale.metrics.pair_products import BATCH, WAITING, Block, Pair, pair_batches
from pyscale.metrics.row_buffer import ENOUGH_ROWS, MOST_BYTES
from pyscale.metrics.side_by_side import each
from pyscale.metrics.spectra import correlation_sums, decomposed, filled_up, nuclear_norms
from pyscale.metrics.validity import warn, warn_constant, warn_degenerate
from pyscale.metrics.whitening import WhitenedMoments, whiten_moments
from pyscale.ops.gram import check_choice

Table: TypeAlias = NDArray[np.float64]


class _Whitening(NamedTuple):
    """The whitened directions of all layers, and what they were made from."""

    options: tuple[float, ...]
    means: list[Tensor]
    x: dict[int, WhitenedMoments]
    y: dict[int, WhitenedMoments]


class AllPairsMoments(PairGathering):
    """Centred co-moments of all pairs of layers of two sets, and every exact similarity they hold.

    Every result is a float64 array (rows, columns), NaN where a layer is constant to rounding.

    Each layer's own moments are kept once, those of pairs once for each pair, in float64: about 8 bytes for every
    entry of every (p, q); see :func:`bytes_needed`. The samples of small updates are held until an update
    finds 1024 of them, or 256 MiB, or until somebody asks: many small updates cost little more than one. When that is
    changes results by rounding alone.

    Args:
        rows: Names of the first set's layers; those of the first update by default.
        columns: Names of the second set's layers, likewise.
        unequal: What a pair of layers with different numbers of rows is: an "error", or "nan" for all of its results.
        sets: What warnings call the two sets, such as two models' names; by default layers go by their own names alone.

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

    _whitening: _Whitening | None = None  # what was asked for last: two tables may want the same

    def _forget(self) -> None:
        self._whitening = None
        super()._forget()

    def compute(self) -> Table:
        """Return the unbiased linear CKA of all pairs: :meth:`cka`."""
        return self.cka()

    def cka(self, estimator: Estimator = "unbiased") -> Table:
        """Return the linear CKA of all pairs over all samples."""
        check_choice("estimator", estimator, tuple(LEAST_SAMPLES))
        self._check_seen(LEAST_SAMPLES[estimator])
        norms_x = _gathered([x.gram_square(estimator).sqrt() for x in self._rows()])
        norms_y = _gathered([y.gram_square(estimator).sqrt() for y in self._columns()])
        pairs = self._listed()
        i, j = _places(pairs)
        squares, w = self._squares()
        trace_x, trace_y = (_gathered([part.trace for part in side]) for side in (self._rows(), self._columns()))
        n = torch.tensor([x.n for x in self._rows()], dtype=torch.float64)
        products = gram_product(squares, w, trace_x[i], trace_y[j], n[i], estimator)
        norms = norms_x[i] * norms_y[j]
        table = self._table("CKA", pairs, torch.where(norms > 0, products / norms, torch.nan))
        self._warn_degenerate(norms_x.tolist(), norms_y.tolist())
        return table

    def zscores(self) -> Table:
        """Return the unbiased CKA in standard deviations under permutations of the samples: CKA sqrt(n (n - 3)/2)."""
        table = self.cka()
        n = np.array([x.n for x in self._rows()], dtype=np.float64)[:, None]
        return np.asarray(table * np.sqrt(n * (n - 3) / 2))

    def cca(self, *, ridge: float = 0.0, rtol: float = 1e-6) -> Table:
        """Return the mean canonical correlation of all pairs."""
        return self._canonical("CCA", squares=False, ridge=ridge, rtol=rtol)

    def cca_r2(self, *, ridge: float = 0.0, rtol: float = 1e-6) -> Table:
        """Return the mean squared canonical correlation of all pairs."""
        return self._canonical("CCA", squares=True, ridge=ridge, rtol=rtol)

    def svcca(self, *, variance: float = 0.99, rtol: float = 1e-6) -> Table:
        """Return the mean correlation of the directions that hold ``variance`` in each layer, of all pairs."""
        return self._canonical("SVCCA", squares=False, variance=variance, rtol=rtol)

    def pwcca(self, *, weight_by: WeightBy = "narrower", rtol: float = 1e-6) -> Table:
        """Return the projection-weighted mean correlation of all pairs, rows taken for x."""
        check_choice("weight_by", weight_by, ("narrower", "x", "y"))
        x, y = self._whitened(rtol=rtol)
        pairs, values = [], []
        left = {i: side.directions for i, side in x.items()}
        right = left if y is x else {j: side.directions for j, side in y.items()}
        for part, C in pair_batches(self._blocks(), self._sizes, left, right):
            for (i, j), (U, rho, V) in zip(part, decomposed(C), strict=True):
                pairs.append((i, j))
                values.append(weighted_by_projections(U, rho, V, x[i], y[j], weight_by))
                if self._names.same and i != j:
                    pairs.append((j, i))
                    values.append(weighted_by_projections(V, rho, U, x[j], y[i], weight_by))
        self._warn_few_samples(x, y)
        return self._table("PWCCA", pairs, _gathered(values), symmetric=False)

    def procrustes(self) -> Table:
        """Return the Procrustes similarity of all pairs."""
        self._check_seen(2)
        batches = [(pairs, nuclear_norms(S)) for pairs, S in pair_batches(self._blocks(), self._sizes)]
        pairs = [pair for part, _ in batches for pair in part]
        spread_x, spread_y = (_gathered([m.trace.sqrt() for m in side]) for side in (self._rows(), self._columns()))
        i, j = _places(pairs)
        values = _gathered([values for _, values in batches]) / (spread_x[i] * spread_y[j])
        return self._table("Procrustes similarity", pairs, values.clamp(max=1))

    def chance_cka(self, estimator: Estimator = "unbiased") -> Table:
        """Return the CKA that unrelated layers with these spectra would get, as :func:`pyscale.chance` does."""
        check_choice("estimator", estimator, tuple(LEAST_SAMPLES))
        self._check_seen(LEAST_SAMPLES[estimator])
        pairs = self._listed()
        if estimator == "unbiased":
            return self._table(None, pairs, torch.zeros(len(pairs)))

        def spreads(side: Sequence[Moments]) -> list[float]:
            spread: list[float] = _gathered([x.trace / torch.linalg.vector_norm(x.S) for x in side]).tolist()
            return spread

        x, y = spreads(self._rows()), spreads(self._columns())
        values = [x[i] * y[j] / (self._x[i].n - 1) for i, j in pairs]
        return self._table(None, pairs, torch.tensor(values, dtype=torch.float64))

    def chance_cca_r2(self, *, ridge: float = 0.0, rtol: float = 1e-6) -> Table:
        """Return the R² that unrelated layers of these ranks would get."""
        x, y = self._whitened(ridge=ridge, rtol=rtol)
        pairs = self._listed()
        values = [chance_r2(x[i], y[j], self._x[i].n) for i, j in pairs]
        return self._table(None, pairs, torch.tensor(values, dtype=torch.float64))

    # ---- What all tables are made of ----

    def _rows(self) -> list[Moments]:
        return [self._x[i] for i in range(len(self._x))]

    def _columns(self) -> list[Moments]:
        return [self._y[j] for j in range(len(self._y))]

    @property
    def _sizes(self) -> dict[int, int]:
        """Features of each row."""
        return {i: len(x.mean) for i, x in self._x.items()}

    def _blocks(self) -> Iterator[Block]:
        """Yield the co-moments of each column with its rows; for a set with itself also each layer's own."""
        for j, pair in self._pairs.items():
            if pair.rows:
                yield Block(pair.rows, j, pair.moments.S)
            if self._names.same:
                yield Block([j], j, self._x[j].S)

    def _listed(self) -> list[Pair]:
        """Return the pairs in the order of the blocks; of a set with itself (i, j) with i <= j alone."""
        return [(i, block.column) for block in self._blocks() for i in block.rows]

    def _squares(self) -> tuple[Tensor, Tensor]:
        """Return |S_xy|²_F and w of all pairs, in the order of the blocks, on the CPU."""
        squares, w = [], []
        for block in self._blocks():
            squares.append(torch.linalg.vector_norm(block.S, dim=1).square())
        for j, pair in self._pairs.items():
            w.append(pair.moments.w)
            if self._names.same:
                w.append(self._x[j].w)
        sizes = [self._sizes[i] for i, _ in self._listed()]
        return _gathered([part.sum() for part in _gathered(squares).split(sizes)]), _gathered(w)

    def _table(self, result: str | None, pairs: Sequence[Pair], values: Tensor, *, symmetric: bool = True) -> Table:
        """Return a table of the values: NaN where a layer is constant, warned of where ``result`` names what is."""
        constant_x = _gathered([x.constant for x in self._rows()]).numpy()
        constant_y = _gathered([y.constant for y in self._columns()]).numpy()
        if result is not None:
            warn_constant(self._names.flagged(constant_x, constant_y, self._sets), result)
            self._warn_unequal(result)
        table = np.full((len(self._x), len(self._y)), np.nan)
        for (i, j), value in zip(pairs, values.tolist(), strict=True):
            table[i, j] = value
            if self._names.same and symmetric:
                table[j, i] = value
        table[constant_x[:, None] | constant_y[None, :]] = np.nan
        return table

    def _warn_degenerate(self, norms_x: Sequence[float], norms_y: Sequence[float]) -> None:
        """Warn of layers that vary, but whose centred Gram is 0 to rounding."""
        rows, columns = (
            [norm == 0 and not bool(moments.constant) for moments, norm in zip(side, norms, strict=True)]
            for side, norms in ((self._rows(), norms_x), (self._columns(), norms_y))
        )
        warn_degenerate(self._names.flagged(rows, columns, self._sets), "CKA")

    def _whitened(
        self, *, rtol: float, variance: float = 1.0, ridge: float = 0.0
    ) -> tuple[dict[int, WhitenedMoments], dict[int, WhitenedMoments]]:
        self._check_seen(2)
        options = (rtol, variance, ridge)
        means = [part.mean for part in [*self._rows(), *self._columns()]]  # new ones with every sample
        last = self._whitening
        if last is None or last.options != options or not all(map(operator.is_, last.means, means)):

            def whiten(side: dict[int, Moments]) -> dict[int, WhitenedMoments]:
                function = partial(whiten_moments, rtol=rtol, variance=variance, ridge=ridge)
                whitened = each(function, list(side.values()), [x.S for x in side.values()])
                return dict(zip(side, whitened, strict=True))

            x = whiten(self._x)
            last = self._whitening = _Whitening(options, means, x, x if self._names.same else whiten(self._y))
        return last.x, last.y

    def _canonical(
        self, result: str, *, squares: bool, rtol: float, variance: float = 1.0, ridge: float = 0.0
    ) -> Table:
        x, y = self._whitened(rtol=rtol, variance=variance, ridge=ridge)
        left = {i: filled_up(side.directions) for i, side in x.items()}
        right = left if y is x else {j: filled_up(side.directions) for j, side in y.items()}
        pairs, sums = [], []
        for part, C in pair_batches(self._blocks(), self._sizes, left, right):
            pairs += part
            sums.append(correlation_sums(C, squares=squares))
        least = torch.tensor([min(x[i].rank, y[j].rank) for i, j in pairs])
        self._warn_few_samples(x, y)
        return self._table(result, pairs, _gathered(sums) / least)

    def _warn_few_samples(self, x: dict[int, WhitenedMoments], y: dict[int, WhitenedMoments]) -> None:
        """Warn once of all pairs that have correlations of 1 whatever the data, with the numbers of the worst."""
        certain = {
            (i, j): certain_ones(x[i], y[j], self._x[i].n)
            for i, j in sorted(self._listed())
            if not (self._names.same and i == j)
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
        unequal = self._unequal
        if unequal:
            i, j = unequal[0]
            warn(
                f"{len(unequal)} pairs of layers have different numbers of rows, such as "
                f"{(self.rows or [])[i]!r} with {(self.columns or [])[j]!r}: {result} is NaN"
            )


def bytes_needed(features_x: Sequence[int], features_y: Sequence[int] | None = None) -> int:
    """Return the memory that :class:`AllPairsMoments` needs, in bytes, before anything is run.

    The moments, the whitened directions of every layer, the samples that are held until they are enough and their
    copies while they are added, and the matrices of those pairs that are computed at once. On top come one update's own
    samples and, where it has more than 1024 for a layer, copies of 16 MiB of them at a time (128 MiB on a GPU).

    Args:
        features_x: Features of each of the first set's layers.
        features_y: Features of each of the second set's layers; None for the first set with itself.
    """
    ys = features_x if features_y is None else features_y
    layers = [*features_x, *(features_y or [])]
    if features_y is None:
        pairs = sum(p * q for i, p in enumerate(features_x) for q in features_x[i + 1 :])
    else:
        pairs = sum(features_x) * sum(features_y)
    own = sum(p * p for p in layers)
    largest = max(features_x, default=0) * max(ys, default=0)
    at_once = 2 * sum(features_x) * max(ys, default=0) + min(WAITING, pairs) + 4 * max(largest, min(BATCH, pairs))
    rows = ENOUGH_ROWS * sum(layers)  # held in float32, and joined in float32 and float64 as they are added
    return 8 * (3 * own + pairs + at_once) + min(4 * rows, MOST_BYTES) + 12 * rows


def _gathered(values: Sequence[Tensor]) -> Tensor:
    """Return numbers (0-d or 1-d) of a device as one tensor on the CPU, waiting for them once."""
    return torch.cat([value.reshape(-1) for value in values]).cpu() if values else torch.zeros(0)


def _places(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Return the rows and the columns of pairs."""
    places = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return places[:, 0], places[:, 1]
