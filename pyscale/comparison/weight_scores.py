"""Similarities of all pairs of weight matrices whose rows are paired."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from pyscale.comparison.options import Estimator, Metric
from pyscale.comparison.scores import Matrix, Scores
from pyscale.comparison.weight_matrices import WeightMatrix
from pyscale.metrics import cca_matrix, cka_matrix, procrustes, pwcca, svcca
from pyscale.metrics.chance_level import chance_levels
from pyscale.metrics.validity import warn, warn_constant
from pyscale.ops import reference
from pyscale.ops.gram import Kernel

_LEAST_ROWS = {"unbiased": 4, "biased": 2}

Place = tuple[int, int]


def weight_scores(
    xs: list[WeightMatrix],
    ys: list[WeightMatrix],
    *,
    metric: Metric,
    kernel: Kernel,
    estimator: Estimator,
    bandwidth: float,
) -> Scores:
    """Return values, chance levels and z-scores; NaN for pairs whose rows stand for different things.

    Args:
        xs: Matrices of the first model.
        ys: Of the second.
        metric: What is computed.
        kernel: Of CKA.
        estimator: Of CKA.
        bandwidth: Of the RBF kernel.
    """
    values, chances, zscores, stderr = (np.full((len(xs), len(ys)), math.nan) for _ in range(4))
    messages: list[str] = []
    fit_x, fit_y = _fit(xs, ys, _LEAST_ROWS[estimator] if metric == "cka" else 2, metric)
    for key in dict.fromkeys(x.stands_for for x in xs):
        rows = [i for i in fit_x if xs[i].stands_for == key]
        columns = [j for j in fit_y if ys[j].stands_for == key]
        if not rows or not columns:
            continue
        left = {f"{xs[i].name} of model_x": xs[i].matrix for i in rows}
        right = {f"{ys[j].name} of model_y": ys[j].matrix for j in columns}
        block = np.ix_(rows, columns)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            values[block] = _values(left, right, metric, kernel, estimator, bandwidth)
        messages += [str(warning.message) for warning in caught]
        chances[block] = _chances(left, right, metric, kernel, estimator)
        n = len(xs[rows[0]].matrix)
        if metric == "cka" and n >= _LEAST_ROWS["unbiased"]:
            zscores[block] = _zscores(left, right, values[block], kernel, estimator, bandwidth, n)
    chances[np.isnan(values)] = math.nan
    _repeat_once(messages)
    return Scores(values, stderr, chances, zscores)


def _fit(xs: list[WeightMatrix], ys: list[WeightMatrix], least: int, metric: str) -> tuple[list[int], list[int]]:
    """Return the places of the matrices that have a similarity, and warn of the others."""
    sides = [
        (f"layer {w.name!r} of {label}", w.matrix) for label, side in (("model_x", xs), ("model_y", ys)) for w in side
    ]
    few = [name for name, matrix in sides if len(matrix) < least]
    constant = [name for name, matrix in sides if len(matrix) >= least and bool(reference.is_constant(matrix))]
    if few:
        warn(f"{', '.join(few)}: fewer than the {least} rows that {metric} needs, so it is NaN")
    warn_constant(constant, metric)
    unfit = {*few, *constant}
    places = [k for k, (name, _) in enumerate(sides) if name not in unfit]
    return [k for k in places if k < len(xs)], [k - len(xs) for k in places if k >= len(xs)]


def _values(
    xs: dict[str, Any], ys: dict[str, Any], metric: Metric, kernel: Kernel, estimator: Estimator, bandwidth: float
) -> Matrix:
    """Return the similarities (len(xs), len(ys)) of matrices with the same rows."""
    match metric:
        case "cka":
            return _numbers(cka_matrix(xs, ys, kernel=kernel, estimator=estimator, bandwidth=bandwidth))
        case "cca":
            return _numbers(cca_matrix(xs, ys))
        case "cca_r2":
            return _numbers(cca_matrix(xs, ys, summary="r2"))
        case "svcca":
            return _each(xs, ys, lambda x, y: svcca(x, y).mean)
        case "pwcca":
            return _each(xs, ys, pwcca)
        case "procrustes":
            return _each(xs, ys, procrustes)


def _chances(xs: dict[str, Any], ys: dict[str, Any], metric: Metric, kernel: Kernel, estimator: Estimator) -> Matrix:
    if metric == "cka" and estimator == "biased" and kernel != "linear":
        return np.full((len(xs), len(ys)), math.nan)  # no closed form from the spectra of the weights
    return _numbers(chance_levels(list(xs.values()), list(ys.values()), metric=metric, estimator=estimator))


def _zscores(
    xs: dict[str, Any],
    ys: dict[str, Any],
    values: Matrix,
    kernel: Kernel,
    estimator: Estimator,
    bandwidth: float,
    n: int,
) -> Matrix:
    """Return z-scores of CKA, of either estimator: both are tested by the unbiased HSIC, whatever the kernel."""
    if estimator != "unbiased":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the biased estimator is what was asked for
            values = _values(xs, ys, "cka", kernel, "unbiased", bandwidth)
    return np.asarray(values * math.sqrt(n * (n - 3) / 2))


def _each(xs: dict[str, Any], ys: dict[str, Any], measure: Callable[[Any, Any], Any]) -> Matrix:
    values = [float(measure(x, y)) for x, y in product(xs.values(), ys.values())]
    return np.array(values, dtype=np.float64).reshape(len(xs), len(ys))


def _numbers(values: Any) -> Matrix:
    return np.asarray(values.double().cpu().numpy(), dtype=np.float64)


def _repeat_once(messages: list[str]) -> None:
    """Warn of what many pairs were warned of, in one warning."""
    if messages:
        more = f" (the first of {len(messages)} such warnings, about other layers)" if len(messages) > 1 else ""
        warn(f"{messages[0]}{more}")
