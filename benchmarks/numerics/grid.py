"""The table mean x scale x type: Grams, HSIC and CKA of related sets, beside torch in the same type."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import pyscale as ps
from benchmarks.numerics import naive, truth
from benchmarks.numerics.rows import Row

MEANS = (0, 1, 10, 100, 1000)
SCALES = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
SHAPES = {"wide": (64, 4096, 2048), "tall": (128, 24, 16)}  # n, p, q: Grams (n, n), or matrices (p, q)
KERNELS = ("linear", "rbf")
CENTERINGS = ("double", "unbiased")
ESTIMATORS = ("unbiased", "biased")


class Pair(NamedTuple):
    """Two related sets of the same samples."""

    x: Tensor  # (n, p)
    y: Tensor  # (n, q)


def pair(case: str, dtype: torch.dtype, mean: float, scale: float) -> Pair | None:
    """Return both sets in their type; None where that cannot hold them."""
    n, p, q = SHAPES[case]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, p))
    y = 0.6 * x[:, :q] + 0.8 * rng.standard_normal((n, q))
    sets = Pair(*(torch.from_numpy(scale * (mean + z)).to(dtype) for z in (x, y)))
    return sets if all(bool(t.isfinite().all()) for t in sets) else None


def rows() -> Iterator[Row]:
    """Yield the errors of all cells."""
    for dtype in DTYPES:
        for mean in MEANS:
            for scale in SCALES:
                for case in SHAPES:
                    sets = pair(case, dtype, mean, scale)
                    if sets is not None:
                        for quantity, errors in cell(sets, case).items():
                            yield Row("grid", case, quantity, name(dtype), *errors, mean=mean, scale=scale)


def cell(sets: Pair, case: str) -> dict[str, tuple[float, float, float]]:
    """Return the errors of ours, of torch as written, and of torch with care, by quantity."""
    found = {}
    careful = Pair(*map(naive.with_care, sets))
    linear = [truth.kernel_matrix(widened(t), "linear") for t in sets]
    for kernel in KERNELS:
        if case == "tall" and kernel == "rbf":  # the same path as wide ones
            continue
        true = linear if kernel == "linear" else [truth.rbf(K) for K in linear]
        theirs = [[naive.kernel_matrix(t, kernel) for t in either] for either in (sets, careful)]
        for centering in CENTERINGS if case == "wide" else ():
            K = truth.centred(true[0], centering)
            ours = ps.ops.centered_gram(sets.x, kernel=kernel, centering=centering, out_dtype=torch.float64)
            found[f"gram {kernel} {centering}"] = tuple(
                matrix_error(G, K) for G in (ours, *(naive.centred(L[0], centering) for L in theirs))
            )
        for estimator in ESTIMATORS:
            a, b = (truth.centred(K, "double" if estimator == "biased" else "unbiased") for K in true)
            n, xy = len(a), float((a * b).sum())
            scale = (n - 1) ** 2 if estimator == "biased" else n * (n - 3)
            size = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
            cka = xy / size if size else math.nan
            options = {"kernel": kernel, "estimator": estimator}
            found[f"hsic {kernel} {estimator}"] = tuple(
                relative_error(value, xy / scale)
                for value in (ps.hsic(*sets, **options), *(naive.hsic(*L, estimator) for L in theirs))
            )
            found[f"cka {kernel} {estimator}"] = (
                cka_error(sets, options, cka),
                *(absolute_error(naive.cka(*L, estimator), cka) for L in theirs),
            )
    return found


def cka_error(sets: Pair, options: dict[str, str], true: float) -> float:
    """Return the error of ``ps.cka``; NaN where a set is constant to rounding and the answer is NaN with a warning."""
    constant = any(truth.is_constant(widened(t), torch.finfo(t.dtype).eps) for t in sets)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = float(ps.cka(*sets, **options))
    if constant:
        return math.nan if math.isnan(value) and caught else math.inf
    return absolute_error(value, true)


def name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def widened(x: Tensor) -> np.ndarray:
    return x.double().numpy()


def matrix_error(K: Tensor, true: np.ndarray) -> float:
    """Return the relative error in the Frobenius norm; infinity for what is no number."""
    return relative(float(np.linalg.norm(K.double().numpy() - true)), float(np.linalg.norm(true)))


def relative_error(value: Tensor | float, true: float) -> float:
    return relative(abs(float(value) - true), abs(true))


def absolute_error(value: Tensor | float, true: float) -> float:
    """Return the error of a CKA; NaN where there is no true one, as of a set that is one number throughout."""
    return math.nan if math.isnan(true) else finite(abs(float(value) - true))


def relative(error: float, true: float) -> float:
    if true == 0:
        return 0.0 if error == 0 else math.inf
    return finite(error / true)


def finite(error: float) -> float:
    return float(error) if math.isfinite(error) else math.inf
