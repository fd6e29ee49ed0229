"""From an activation of any shape to a matrix: flattened, pooled, or one row for each position."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from pyscale.ops.dtypes import result_dtype

Features = Literal["flatten", "pool", "positions"]


def flatten_for_gram(activation: Tensor) -> Tensor:
    """Return the activation as (n, p), its features in the order in which they lie in memory.

    A Gram matrix doesn't depend on the order of features, so a channels-last or transposed activation needs no copy.
    """
    order = sorted(range(1, activation.ndim), key=activation.stride, reverse=True)
    return activation.permute(0, *order).reshape(len(activation), -1)


def pool(activation: Tensor) -> Tensor:
    """Return the means (n, channels) over everything but samples and channels.

    Channels are the second dimension of four and more, the last of three. Means are formed in float32 (float64 for
    float64): torch sums pairwise, which loses no more than rounding the mean would, at a tenth of float64's time.
    """
    if activation.ndim < 3:
        return activation.reshape(len(activation), -1)
    others = 1 if activation.ndim == 3 else tuple(range(2, activation.ndim))
    return activation.mean(others, dtype=result_dtype(activation.dtype))


def positions(activation: Tensor) -> Tensor:
    """Return the activation as (n x positions, channels): a row for each pixel or token of each sample."""
    if activation.ndim < 3:
        return activation.reshape(len(activation), -1)
    return (activation if activation.ndim == 3 else activation.movedim(1, -1)).flatten(0, -2)


def grid(activation: Tensor) -> tuple[int, ...]:
    """Return the positions' layout within a sample: (h, w) of four dimensions, (tokens,) of three, () of one position.

    Example:
        >>> import torch
        >>> grid(torch.zeros(9, 3, 4, 5)), grid(torch.zeros(9, 7, 3)), grid(torch.zeros(9, 3, 1, 1))
        ((4, 5), (7,), ())
    """
    shape = tuple(activation.shape[1:2] if activation.ndim == 3 else activation.shape[2:])
    return () if math.prod(shape) == 1 else shape


def features_for_moments(activation: Tensor, features: Features) -> Tensor:
    """Return the activation as a matrix whose columns mean the same in every batch, as co-moments need it."""
    if features == "pool":
        return pool(activation)
    if features == "positions":
        return positions(activation)
    return activation.reshape(len(activation), -1)
