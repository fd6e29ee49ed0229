"""Exact similarities: every activation goes into co-moments with all layers of the other model."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from pyscale.comparison.features import features_for_moments, grid
from pyscale.comparison.memory import format_size, free_memory
from pyscale.comparison.options import Options, Pair
from pyscale.comparison.scores import Matrix, Scores
from pyscale.metrics import AllPairsMoments, bytes_needed
from pyscale.metrics.validity import check_finite, warn

LEAST_FOR_ZSCORES = 4

Layer: TypeAlias = tuple[int, str]  # a model's place and the layer's name


class ExactStrategy:
    """Gathers centred co-moments of all pairs of layers.

    Of two models it holds model_x's features of one batch; model_y's are consumed inside their hooks, but for the first
    batch, whose sizes decide whether the co-moments fit in memory, and where both models are one and run at once. Of
    more models, or one with itself, all layers are one set, compared with itself: features of one batch are held.

    Args:
        options: What is computed.
        labels: What messages call the models.
        pairs: Which of them are compared: two different ones, or all of them.
        one_pass: Whether activations of several models come from one forward pass, mixed.
        owned: Whether activations are nobody else's, so that they are kept without a copy.
        copies: Of the co-moments that there must be memory for.
    """

    least_samples = 1

    def __init__(
        self,
        options: Options,
        labels: Sequence[str],
        pairs: Sequence[Pair],
        *,
        one_pass: bool,
        owned: bool = False,
        copies: int = 1,
    ) -> None:
        self._options, self._owned, self._copies = options, owned, copies
        self._labels, self._pairs = list(labels), list(pairs)
        self._same = len(pairs) > 1 or pairs[0][0] == pairs[0][1]
        self._one_pass = one_pass
        self._moments: AllPairsMoments | None = None
        self._batch = self._samples = 0
        self._layers: list[list[Layer]] = []  # of each model, in forward order; known after the first batch
        self._xs: dict[Layer, Tensor] = {}
        self._ys: dict[Layer, Tensor] = {}
        self._types: dict[Layer, torch.dtype] = {}  # of the activations, which pooling may widen
        self._begun = False  # whether the rows of the batch in progress are with the moments already
        self._grids: defaultdict[Layer, list[tuple[int, ...]]] = defaultdict(list)

    def begin(self, batch: int) -> None:
        """Forget the previous batch's activations."""
        self._batch, self._begun = batch, False
        self._xs.clear()
        self._ys.clear()
        self._types.clear()

    def take(self, side: int, row: str, activation: Tensor) -> None:
        """Keep the features of an activation, or add them to the co-moments where they can be let go of."""
        layer = side, row
        self._grids[layer].append(grid(activation))
        self._types[layer] = activation.dtype
        if self._same or side == self._pairs[0][0]:
            self._xs[layer] = self._features(activation, keep=True)
            return
        wait = self._moments is None or self._one_pass
        features = self._features(activation, keep=wait)
        if self._moments is None or wait:
            self._ys[layer] = features
            return
        with self._naming({**self._xs, layer: features}):
            if not self._begun:
                self._moments.update_rows(self._named(self._xs))
                self._begun = True
            self._moments.update_column(self._name(layer), features)

    def finish(self, rows: Sequence[list[str]], samples: int) -> None:
        """Add what was kept."""
        if self._moments is None:
            self._layers = [[(side, row) for row in names] for side, names in enumerate(rows)]
            self._check_memory()
            self._moments = self._empty_moments()
        with self._naming({**self._xs, **self._ys}):
            if self._same:
                self._moments.update(self._named(self._xs))
            elif not self._begun:
                self._moments.update(self._named(self._xs), self._named(self._ys))
        self._samples += samples
        self.begin(self._batch)

    def take_part(self, side: int, row: str, activation: Tensor, *, last: bool) -> None:
        """Take an activation, which comes whole: co-moments need all features of a sample at once."""
        if not last:
            raise ValueError(f"layer {row!r} of {self._labels[side]} came in parts")
        self.take(side, row, activation)

    def state_dict(self) -> dict[str, Any]:
        """Return what has been gathered, between batches, as plain tensors, numbers, strings, lists and dicts."""
        grids = [[side, row, [list(g) for g in found]] for (side, row), found in self._grids.items()]
        moments = None if self._moments is None else self._moments.state_dict()
        return {"samples": self._samples, "grids": grids, "moments": moments}

    def load_state_dict(self, rows: Sequence[list[str]], state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned of the same models, whose layers ``rows`` names."""
        self._samples = state["samples"]
        self._grids.update({(side, row): [tuple(g) for g in found] for side, row, found in state["grids"]})
        if state["moments"] is not None:
            self._layers = [[(side, row) for row in names] for side, names in enumerate(rows)]
            self._moments = self._empty_moments().load_state_dict(state["moments"])

    def merge(self, rows: Sequence[list[str]], state: dict[str, Any]) -> None:
        """Add what another process has gathered from other batches, as its :meth:`state_dict` has it."""
        if self._moments is None:
            self.load_state_dict(rows, state)
            return
        if state["moments"] is None:
            return
        theirs = self._empty_moments().load_state_dict(state["moments"])
        self._moments.merge_state(theirs.to(self._moments.device or "cpu"))
        self._samples += state["samples"]
        for side, row, found in state["grids"]:
            self._grids[side, row] += [tuple(sizes) for sizes in found]

    def scores(self) -> dict[Pair, Scores]:
        """Return the similarities of everything taken.

        Raises:
            ValueError: There were fewer samples than the metric needs.
        """
        moments = self._moments
        if moments is None:
            raise ValueError("no batch has been taken")
        unequal = self._unequal_grids()
        with warnings.catch_warnings():
            # grids say more: layers of 4 x 4 and of 2 x 8 pixels have as many rows and yet none in common
            warnings.filterwarnings("ignore", message=".*have different numbers of rows")
            values = self._values(moments)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what there is to warn of has been
            chance, zscores = self._chance(moments), self._zscores(moments)
        for array in (values, chance, zscores):
            array[unequal] = math.nan
        stderr = np.full_like(values, math.nan)
        return {pair: self._block(pair, values, stderr, chance, zscores) for pair in self._pairs}

    @property
    def _rows(self) -> list[Layer]:
        """The layers that the tables' rows are."""
        return [layer for part in self._layers for layer in part] if self._same else self._layers[self._pairs[0][0]]

    @property
    def _columns(self) -> list[Layer]:
        """The layers that the tables' columns are."""
        return self._rows if self._same else self._layers[self._pairs[0][1]]

    @property
    def _sets(self) -> tuple[str, str] | None:
        """What messages call the tables' two sets of layers; None where layers' names say it."""
        if self._same and len(self._labels) > 1:
            return None
        i, j = self._pairs[0]
        return self._labels[i], self._labels[j]

    def _empty_moments(self) -> AllPairsMoments:
        names_x, names_y = ([self._name(layer) for layer in part] for part in (self._rows, self._columns))
        if len(set(names_x)) < len(names_x):
            raise ValueError(f"models and their layers have names that can't be told apart: {names_x}")
        return AllPairsMoments(names_x, names_y, unequal="nan", sets=self._sets)

    def _name(self, layer: Layer) -> str:
        """Return what the moments call a layer: its own name, and its model's too where a set holds several models."""
        side, row = layer
        return row if self._sets else f"{self._labels[side]}: {row}"

    def _named(self, layers: Mapping[Layer, Tensor]) -> dict[str, Tensor]:
        return {self._name(layer): features for layer, features in layers.items()}

    def _block(self, pair: Pair, *tables: Matrix) -> Scores:
        """Return the part of tables of all layers that is about two models."""
        i, j = ([k for k, (side, _) in enumerate(self._rows) if side == place] for place in pair)
        return Scores(*((table[np.ix_(i, j)] for table in tables) if self._same else tables))

    def _features(self, activation: Tensor, *, keep: bool) -> Tensor:
        features = features_for_moments(activation, self._options.features)
        shared = features.untyped_storage().data_ptr() == activation.untyped_storage().data_ptr()
        return features.clone() if keep and shared and not self._owned else features

    @contextmanager
    def _naming(self, layers: Mapping[Layer, Tensor]) -> Iterator[None]:
        """Say of which model and batch features are that the moments refuse for NaN or infinity.

        The moments look for them once for all layers, so that a GPU need not be waited for in every hook.
        """
        try:
            yield
        except ValueError:
            for (side, row), features in layers.items():
                if not bool(torch.isfinite(features).all()):
                    subject = f"activations of layer {row!r} of {self._labels[side]} in batch {self._batch}"
                    check_finite(features.to(self._types[side, row]), subject)
            raise

    def _values(self, moments: AllPairsMoments) -> Matrix:
        match self._options.metric:
            case "cka":
                return moments.cka(self._options.estimator)
            case "cca":
                return moments.cca()
            case "cca_r2":
                return moments.cca_r2()
            case "svcca":
                return moments.svcca()
            case "pwcca":
                return moments.pwcca()
            case "procrustes":
                return moments.procrustes()

    def _chance(self, moments: AllPairsMoments) -> Matrix:
        if self._options.metric == "cka":
            return moments.chance_cka(self._options.estimator)
        if self._options.metric == "cca_r2":
            return moments.chance_cca_r2()
        return self._undefined(moments)

    def _zscores(self, moments: AllPairsMoments) -> Matrix:
        """Return the z-scores of CKA, of either estimator: both are tested by the unbiased HSIC."""
        if self._options.metric != "cka" or self._samples < LEAST_FOR_ZSCORES:
            return self._undefined(moments)
        return moments.zscores()

    def _undefined(self, moments: AllPairsMoments) -> Matrix:
        return np.full((len(moments.rows or []), len(moments.columns or [])), math.nan)

    def _unequal_grids(self) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        """Return which pairs have rows that stand for different positions, and warn once."""
        if self._options.features != "positions":
            return np.zeros((len(self._rows), len(self._columns)), dtype=np.bool_)
        grids = self._grids
        unequal = np.array([[grids[row] != grids[column] for column in self._columns] for row in self._rows])
        if unequal.any():
            i, j = (int(k) for k in np.argwhere(unequal)[0])
            row, column = self._rows[i], self._columns[j]
            warn(
                f"{int(unequal.sum())} pairs of layers have different grids of positions, such as {self._name(row)!r} "
                f"with {grids[row][0]} and {self._name(column)!r} with {grids[column][0]}: "
                f"their {self._options.metric} is NaN"
            )
        return unequal

    def _check_memory(self) -> None:
        """Raise ValueError where the co-moments would take more than they may."""
        sizes = {layer: features.shape[1] for layer, features in {**self._xs, **self._ys}.items()}
        xs, ys = ([sizes[layer] for layer in part] for part in (self._rows, self._columns))
        needed = self._copies * bytes_needed(xs, None if self._same else ys)
        allowed = self._options.memory or free_memory(next(iter(self._xs.values())).device)
        if needed <= allowed:
            return
        largest = sorted(sizes.items(), key=lambda layer: -layer[1])[:5]
        described = (f"{row!r} of {self._labels[side]} ({size} features)" for (side, row), size in largest)
        raise ValueError(
            f"mode 'exact' keeps co-moments of every pair of layers, which would take {format_size(needed)} where "
            f"memory allows {format_size(allowed)}; the largest layers are {', '.join(described)}"
            f"; use features='pool', fewer layers, or (for unbiased CKA) mode='minibatch'"
        )
