"""CKA of every layer of one list with every layer of another, each centred Gram formed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, product
from typing import Any

import torch
from torch import Tensor

from pyscale.metrics.inputs import in_kind
from pyscale.metrics.kernel_sums import LEAST_SAMPLES, CentredGram, Estimator, FeatureSums, feature_product
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
    if kernel == "linear" and n > 2 * max(t.shape[1] for t in tensors):
        values = _by_features(rows, columns, estimator)
    else:
        values = _by_grams(rows, columns, kernel, estimator, bandwidth)
    first = next(iter(xs.values())) if isinstance(xs, Mapping) else xs[0]
    return in_kind(first, values, *tensors)


def _by_grams(
    rows: dict[str, Tensor], columns: dict[str, Tensor], kernel: str, estimator: str, bandwidth: float
) -> Tensor:
    def grams(layers: dict[str, Tensor]) -> list[CentredGram]:
        return [CentredGram.of(x, f"layer {name!r}", kernel, estimator, bandwidth) for name, x in layers.items()]

    left = grams(rows)
    right = left if columns is rows else grams(columns)
    v = torch.stack([gram.vector for gram in left])
    w = v if columns is rows else torch.stack([gram.vector for gram in right])
    return _normalised(left[0].scale * hsic_pairs(v, w), rows, columns, left, right)


def _by_features(rows: dict[str, Tensor], columns: dict[str, Tensor], estimator: str) -> Tensor:
    def sums(layers: dict[str, Tensor]) -> list[FeatureSums]:
        return [FeatureSums.of(x, f"layer {name!r}", estimator) for name, x in layers.items()]

    left = sums(rows)
    right = left if columns is rows else sums(columns)
    xs, ys = list(rows.values()), list(columns.values())
    products: dict[tuple[int, int], Tensor] = {}
    if columns is rows:
        for i, j in combinations(range(len(xs)), 2):
            products[i, j] = products[j, i] = feature_product(xs[i], xs[j], left[i], left[j], estimator)
        products |= {(i, i): part.square for i, part in enumerate(left)}
    else:
        for i, j in product(range(len(xs)), range(len(ys))):
            products[i, j] = feature_product(xs[i], ys[j], left[i], right[j], estimator)
    pairs = torch.stack([products[i, j] for i in range(len(xs)) for j in range(len(ys))])
    return _normalised(pairs.reshape(len(xs), len(ys)), rows, columns, left, right)


def _normalised(
    products: Tensor,
    rows: dict[str, Tensor],
    columns: dict[str, Tensor],
    left: Sequence[CentredGram | FeatureSums],
    right: Sequence[CentredGram | FeatureSums],
) -> Tensor:
    """Return the CKAs (L, M) from inner products of Grams, and warn of layers that have none."""
    same = columns is rows
    undefined_x = torch.stack([part.undefined for part in left])
    undefined_y = undefined_x if same else torch.stack([part.undefined for part in right])
    if not torch.compiler.is_compiling():
        _warn([*zip(rows, left, strict=True), *([] if same else zip(columns, right, strict=True))])
    norm_x = torch.stack([part.square for part in left]).sqrt()
    norm_y = norm_x if same else torch.stack([part.square for part in right]).sqrt()
    values = products / (norm_x[:, None] * norm_y[None, :])
    if same:
        values = torch.where(torch.eye(len(left), dtype=torch.bool, device=values.device), 1.0, values)
    return torch.where(undefined_x[:, None] | undefined_y[None, :], torch.nan, values)


def _warn(layers: list[tuple[str, CentredGram | FeatureSums]]) -> None:
    warn_constant([f"layer {name!r}" for name, part in layers if bool(part.constant)], "CKA")
    warn_degenerate([f"layer {name!r}" for name, part in layers if bool(part.degenerate)], "CKA")
