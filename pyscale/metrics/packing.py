"""Packed Grams that can be trusted: in float64 where float32 fails, zero where there is only rounding."""

from __future__ import annotations

import torch
from torch import Tensor

from pyscale.metrics.kernel_sums import vanishes
from pyscale.metrics.validity import check_finite
from pyscale.ops import PackedGram, packed_gram
from pyscale.ops.gram import Kernel


def pack(x: Tensor, subject: str, *, kernel: Kernel, bandwidth: float) -> PackedGram:
    """Return the packed U-centred Gram of one minibatch of a layer.

    What float32 products can't hold, or leaves them nothing but rounding, is formed again in float64. Where that too
    is rounding alone, as for samples equally far apart, it is zero.

    Args:
        x: Activations of shape (n, p), n >= 4.
        subject: What errors call them, in the plural.
        kernel: "linear" or "rbf".
        bandwidth: The RBF width as a multiple of the median distance.

    Raises:
        ValueError: ``x`` holds NaN or infinity, or has no finite kernel.
    """
    gram = packed_gram(x, kernel=kernel, bandwidth=bandwidth)
    if bool(gram.constant | (_in_range(gram.values) & ~vanishes(gram.values, x, kernel))):
        return gram
    check_finite(x, subject)
    wide = x.double()
    gram = packed_gram(wide, kernel=kernel, bandwidth=bandwidth)
    if not bool(torch.isfinite(gram.values.sum())):
        reason = "more than half of the pairs of samples are equal" if kernel == "rbf" else "they are too large"
        raise ValueError(f"{subject} have no finite {kernel} kernel: {reason}")
    if bool(vanishes(gram.values, wide, kernel)):
        return PackedGram(torch.zeros_like(gram.values), gram.constant)
    return gram


def _in_range(v: Tensor) -> Tensor:
    """Return whether a packed Gram is finite and not so small that its type has lost digits of it, 0-d bool."""
    peak, limits = v.abs().max(), torch.finfo(v.dtype)
    return torch.isfinite(peak) & (peak > limits.tiny / limits.eps)
