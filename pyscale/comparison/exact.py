"""Exact similarities: every activation goes into co-moments with all layers of the other model."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyscale.comparison.features import features_for_moments, grid
from pyscale.comparison.memory import format_size, free_memory
from pyscale.comparison.options import SIDES, Options
from pyscale.comparison.scores import Matrix, Scores
from pyscale.metrics import AllPairsMoments, bytes_needed
from pyscale.metrics.validity import check_finite

LEAST_FOR_ZSCORES = 4


class ExactStrategy:
    """Gathers centred co-moments of all pairs of layers.

    Holds model_x's features of one batch; model_y's are consumed inside their hooks, but for the first batch, whose
    sizes decide whether the co-moments fit in memory, and where both models are one and run at once.

    Args:
        options: What is computed.
        same: Whether the rows are the columns, so that only activations of model_x are taken.
        one_pass: Whether activations of both sides come from one forward pass, mixed.
        copies: Of the co-moments that there must be memory for.
    """

    least_samples = 1

    def __init__(self, options: Options, *, same: bool, one_pass: bool, copies: int = 1) -> None:
        self._copies = copies
        self._options = options
        self._same, self._one_pass = same, one_pass
        self._moments: AllPairsMoments | None = None
        self._batch = self._samples = 0
        self._rows: list[str] = []
        self._xs: dict[str, Tensor] = {}
        self._ys: dict[str, Tensor] = {}
        self._types: dict[tuple[str, str], torch.dtype] = {}  # of the activations, which pooling may widen
        self._begun = False  # whether the rows of the batch in progress are with the moments already
        self._grids_x: defaultdict[str, list[tuple[int, ...]]] = defaultdict(list)
        self._grids_y = self._grids_x if same else defaultdict(list)

    def begin(self, batch: int) -> None:
        """Forget the previous batch's activations."""
        self._batch, self._begun = batch, False
        self._xs.clear()
        self._ys.clear()
        self._types.clear()

    def take_x(self, row: str, activation: Tensor) -> None:
        """Keep the features of an activation of model_x."""
        self._grids_x[row].append(grid(activation))
        self._xs[row] = self._features(row, "model_x", activation, keep=True)

    def take_y(self, row: str, activation: Tensor) -> None:
        """Add an activation of model_y to its co-moments, or keep its features where that has to wait."""
        self._grids_y[row].append(grid(activation))
        wait = self._moments is None or self._one_pass
        features = self._features(row, "model_y", activation, keep=wait)
        if self._moments is None or wait:
            self._ys[row] = features
            return
        with self._naming(self._xs, {row: features}):
            if not self._begun:
                self._moments.update_rows(self._xs)
                self._begun = True
            self._moments.update_column(row, features)

    def finish(self, rows: list[str], columns: list[str], samples: int) -> None:
        """Add what was kept."""
        if self._moments is None:
            self._check_memory(rows, columns)
            self._moments = AllPairsMoments(rows, columns, unequal="nan", sets=SIDES)
        with self._naming(self._xs, self._ys):
            if self._same:
                self._moments.update(self._xs)
            elif not self._begun:
                self._moments.update(self._xs, self._ys)
        self._samples += samples
        self.begin(self._batch)

    def state(self) -> dict[str, Any]:
        """Return everything taken, as plain values."""
        grids = {name: dict(side) for name, side in (("x", self._grids_x), ("y", self._grids_y))}
        moments = self._moments
        if moments is None:
            return {"moments": None}
        names = {"rows": moments.rows, "columns": moments.columns}
        return {"moments": moments.state_dict(), **names, "samples": self._samples, "grids": grids}

    def merge(self, state: dict[str, Any]) -> None:
        """Add what another process has taken after this one, as its :meth:`state` has it."""
        if state["moments"] is None:
            return
        theirs = AllPairsMoments(state["rows"], state["columns"], unequal="nan", sets=SIDES)
        theirs.load_state_dict(state["moments"])
        if self._moments is None:
            self._moments = theirs
        else:
            theirs.to(self._moments.device or "cpu")
            self._moments.merge_state(theirs)
        self._samples += state["samples"]
        sides = [(self._grids_x, "x"), *([] if self._same else [(self._grids_y, "y")])]
        for grids, name in sides:
            for row, found in state["grids"][name].items():
                grids[row] += [tuple(sizes) for sizes in found]

    def scores(self) -> Scores:
        """Return the similarities of everything taken.

        Raises:
            ValueError: There were fewer samples than the metric needs.
        """
        moments = self._moments
        if moments is None:
            raise ValueError("no batch has been taken")
        unequal = self._unequal_grids(moments.rows or [], moments.columns or [])
        with warnings.catch_warnings():
            # grids say more: layers of 4 x 4 and of 2 x 8 pixels have as many rows and yet none in common
            warnings.filterwarnings("ignore", message=".*have different numbers of rows")
            values = self._values(moments)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what there is to warn of has been
            chance, zscores = self._chance(moments), self._zscores(moments)
        for array in (values, chance, zscores):
            array[unequal] = math.nan
        return Scores(values, np.full_like(values, math.nan), chance, zscores)

    def _features(self, row: str, label: str, activation: Tensor, *, keep: bool) -> Tensor:
        features = features_for_moments(activation, self._options.features)
        self._types[label, row] = activation.dtype
        shared = features.untyped_storage().data_ptr() == activation.untyped_storage().data_ptr()
        return features.clone() if keep and shared else features

    @contextmanager
    def _naming(self, xs: Mapping[str, Tensor], ys: Mapping[str, Tensor]) -> Iterator[None]:
        """Say of which model and batch features are that the moments refuse for NaN or infinity.

        The moments look for them once for all layers, so that a GPU need not be waited for in every hook.
        """
        try:
            yield
        except ValueError:
            for label, layers in zip(SIDES, (xs, ys), strict=True):
                for row, features in layers.items():
                    if not bool(torch.isfinite(features).all()):
                        subject = f"activations of layer {row!r} of {label} in batch {self._batch}"
                        check_finite(features.to(self._types[label, row]), subject)
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

    def _unequal_grids(self, rows: list[str], columns: list[str]) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        """Return which pairs have rows that stand for different positions, and warn once."""
        if self._options.features != "positions":
            return np.zeros((len(rows), len(columns)), dtype=np.bool_)
        unequal = np.array([[self._grids_x[row] != self._grids_y[column] for column in columns] for row in rows])
        if unequal.any():
            i, j = (int(k) for k in np.argwhere(unequal)[0])
            warnings.warn(
                f"{int(unequal.sum())} pairs of layers have different grids of positions, such as {rows[i]!r} with "
                f"{self._grids_x[rows[i]][0]} and {columns[j]!r} with {self._grids_y[columns[j]][0]}: "
                f"their {self._options.metric} is NaN",
                UserWarning,
                stacklevel=5,
            )
        return unequal

    def _check_memory(self, rows: list[str], columns: list[str]) -> None:
        """Raise ValueError where the co-moments would take more than they may."""
        xs = {row: self._xs[row].shape[1] for row in rows}
        ys = xs if self._same else {column: self._ys[column].shape[1] for column in columns}
        needed = self._copies * bytes_needed(list(xs.values()), None if self._same else list(ys.values()))
        device = next(iter(self._xs.values())).device
        allowed = self._options.memory or free_memory(device)
        if needed <= allowed:
            return
        sides = (("model_x", xs), *(() if self._same else (("model_y", ys),)))
        layers = [(size, f"{name!r} of {label}") for label, sizes in sides for name, size in sizes.items()]
        largest = sorted(layers, key=lambda layer: -layer[0])[:5]
        raise ValueError(
            f"mode 'exact' keeps co-moments of every pair of layers, which would take {format_size(needed)} where "
            f"memory allows {format_size(allowed)}; the largest layers are "
            + ", ".join(f"{layer} ({size} features)" for size, layer in largest)
            + "; use features='pool', fewer layers, or (for unbiased CKA) mode='minibatch'"
        )
