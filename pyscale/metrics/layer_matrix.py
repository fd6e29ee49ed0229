"""CKA of every layer of one list with every layer of another, each centred Gram formed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

import torch
from torch import Tensor

from pyscale.metrics.inputs import in_kind
from pyscale.metrics.kernel_sums import (
    LEAST_SAMPLES,
    CentredGrams,
    Estimator,
    feature_product,
    feature_sums,
)
from pyscale.metrics.layers import as_layers, same_everywhere
from pyscale.metrics.validity import warn_constant, warn_degenerate
from pyscale.ops import hsic_pairs
from pyscale.ops.gram import Kernel, check_bandwidth, check_choice


def cka_matrix(
    xs: Mapping[str, Any] | Sequence[Any],
    ys: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    kernel: Kernel = "linear",
    estimator: Estimator = "unbiased",
    bandwidth: float = 1.0,
) -> Any:
    """Return the CKA of every set in ``xs`` with every set in ``ys``, as :func:`pyscale.cka` defines it.

    Each Gram is formed once, and all pairs are one matrix product. Differentiable for torch inputs.

    Args:
        xs: Activations of the same n samples, a dict or a list of L arrays of shape (n, p_i).
        ys: The same of M others; ``xs`` itself by default.
        kernel: "linear", or "rbf" of width ``bandwidth`` times the median distance between samples.
        estimator: "unbiased" (n >= 4) or "biased" (n >= 2).
        bandwidth: The RBF width as a multiple of the median distance.

    Returns:
        The similarities of shape (L, M), in the order of the arguments: NumPy for NumPy input, else an array of the
        first set's kind. Of a list with itself: symmetric with ones on the diagonal. NaN, with a warning that names
        them, for layers constant to rounding.

    Raises:
        TypeError: An argument is no collection of floating-point arrays.
        ValueError: The shapes, devices or options do not fit, or a layer holds NaN or infinity.

    Example:
        >>> import numpy as np
        >>> import pyscale as ps
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((50, 8))
        >>> ps.cka_matrix({"conv": x, "relu": np.maximum(x, 0)}).round(2)
        array([[1.  , 0.73],
               [0.73, 1.  ]])
    """
    check_choice("kernel", kernel, ("linear", "rbf"))
    check_choice("estimator", estimator, tuple(LEAST_SAMPLES))
    check_bandwidth(bandwidth)
    rows = as_layers(xs, "xs", None)
    columns = rows if ys is None or ys is xs else as_layers(ys, "ys", None)
    tensors = [*rows.values(), *columns.values()]
    n, least = same_everywhere(rows, columns), LEAST_SAMPLES[estimator]
    if n < least:
        raise ValueError(f"xs has {n} samples; the {estimator} estimator needs at least {least}")
    sides = _Sides(rows, columns)
    if kernel == "linear" and n > 2 * max(t.shape[1] for t in tensors):
        values = _by_features(sides, estimator)
    else:
        values = _by_grams(sides, kernel, estimator, bandwidth)
    first = next(iter(xs.values())) if isinstance(xs, Mapping) else xs[0]
    return in_kind(first, values, *tensors)


class _Sides:
    """The layers of both lists in one line, so that a GPU is given all of them at once; a list with itself once."""

    def __init__(self, rows: dict[str, Tensor], columns: dict[str, Tensor]) -> None:
        self.same = columns is rows
        layers = [*rows.items(), *(() if self.same else columns.items())]
        self.names = [f"layer {name!r}" for name, _ in layers]
        self.xs = [x for _, x in layers]
        self.row = slice(0, len(rows))
        self.column = self.row if self.same else slice(len(rows), None)


def _by_grams(sides: _Sides, kernel: str, estimator: str, bandwidth: float) -> Tensor:
    grams = CentredGrams.of(sides.xs, sides.names, kernel, estimator, bandwidth)
    v = grams.vectors[sides.row]
    w = v if sides.same else grams.vectors[sides.column]
    return _normalised(sides, grams.scale * hsic_pairs(v, w), grams.squares, grams.constant, grams.degenerate)


def _by_features(sides: _Sides, estimator: str) -> Tensor:
    sums = feature_sums(sides.xs, sides.names, estimator)
    xs, ys = sides.xs[sides.row], sides.xs[sides.column]
    left, right = sums[sides.row], sums[sides.column]
    products: dict[tuple[int, int], Tensor] = {}
    if sides.same:
        for i, j in combinations(range(len(xs)), 2):
            products[i, j] = products[j, i] = feature_product(xs[i], xs[j], left[i], left[j], estimator)
        products |= {(i, i): part.square for i, part in enumerate(left)}
    else:
        for i, j in product(range(len(xs)), range(len(ys))):
            products[i, j] = feature_product(xs[i], ys[j], left[i], right[j], estimator)
    pairs = torch.stack([products[i, j] for i in range(len(xs)) for j in range(len(ys))])
    squares, constant, degenerate = (
        torch.stack(parts) for parts in zip(*((s.square, s.constant, s.degenerate) for s in sums), strict=True)
    )
    return _normalised(sides, pairs.reshape(len(xs), len(ys)), squares, constant, degenerate)


def _normalised(sides: _Sides, products: Tensor, squares: Tensor, constant: Tensor, degenerate: Tensor) -> Tensor:
    """Return the CKAs (L, M) from inner products of Grams, and warn of layers that have none.

    Args:
        sides: The layers.
        products: (L, M).
        squares: Products of all layers with themselves, in the order of ``sides``.
        constant: Which layers are constant, and so have no CKA.
        degenerate: Which have none though they vary.
    """
    if not torch.compiler.is_compiling():
        _warn(sides.names, torch.stack([constant, degenerate]).tolist())
    norms, undefined = squares.sqrt(), constant | degenerate
    values = products / (norms[sides.row][:, None] * norms[sides.column][None, :])
    if sides.same:
        values = torch.where(torch.eye(len(norms), dtype=torch.bool, device=values.device), 1.0, values)
    return torch.where(undefined[sides.row][:, None] | undefined[sides.column][None, :], torch.nan, values)


def _warn(names: list[str], flags: list[list[bool]]) -> None:
    constant, degenerate = ([name for name, flagged in zip(names, kind, strict=True) if flagged] for kind in flags)
    warn_constant(constant, "CKA")
    warn_degenerate(degenerate, "CKA")
