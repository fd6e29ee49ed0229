"""Procrustes similarity: how well one set of activations can be rotated onto the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyscale.metrics.inputs import as_pair, in_kind
from pyscale.metrics.validity import check_finite, warn_constant
from pyscale.ops import reference
from pyscale.ops.dtypes import accumulator_dtype
from pyscale.ops.gram import check_samples
from pyscale.ops.memory import MemoryErrors


def procrustes(x: Any, y: Any) -> Any:
    r"""Return the Procrustes similarity of two sets of activations of the same samples.

    .. math:: \frac{|X_c^\top Y_c|_*}{|X_c|_F |Y_c|_F} \in [0, 1],

    the nuclear norm over Frobenius norms: 1 for sets equal up to rotation, scale and shift. In float64; differentiable
    for torch inputs.

    Args:
        x: Activations of shape (n, p), n >= 2: a torch tensor, a NumPy array or a DLPack array.
        y: Activations of the same samples in the same order, shape (n, q).

    Returns:
        A float for NumPy input, else a 0-d array of ``x``'s kind; NaN, with a warning, where a set is constant to
        rounding.

    Raises:
        TypeError: An argument is no floating-point array.
        ValueError: The shapes or devices do not fit, or an argument holds NaN or infinity.

    Example:
        >>> import numpy as np
        >>> import pyscale as ps
        >>> x = np.random.default_rng(0).standard_normal((100, 3))
        >>> round(ps.procrustes(x, x[:, ::-1]), 6)
        1.0

    References:
        Ding, Denain and Steinhardt, "Grounding representation similarity through statistical testing", 2021, eq. 2.
    """
    tx, ty = as_pair(x, y)
    check_samples(tx, "x", 2, "Procrustes similarity")
    if torch.compiler.is_compiling():
        return in_kind(x, _similarity(tx, ty), tx, ty)
    with MemoryErrors("procrustes"):
        return in_kind(x, _similarity(tx, ty), tx, ty)


def _similarity(tx: Tensor, ty: Tensor) -> Tensor:
    """Return the similarity, 0-d, of ``tx`` (n, p) and ``ty`` (n, q)."""
    wide = accumulator_dtype(tx.device)
    a, b = (t.to(wide) - t.mean(dim=0, dtype=wide) for t in (tx, ty))
    norm_a, norm_b = torch.linalg.vector_norm(a), torch.linalg.vector_norm(b)
    constant_x, constant_y = reference.is_constant(tx), reference.is_constant(ty)
    if not torch.compiler.is_compiling():
        if not bool(torch.isfinite(norm_a + norm_b)):
            check_finite(tx, "values of x")
            check_finite(ty, "values of y")
        flags = (("x", constant_x), ("y", constant_y))
        warn_constant([name for name, constant in flags if bool(constant)], "Procrustes similarity")
    value = (_nuclear_norm(a, b) / (norm_a * norm_b)).clamp(max=1)
    return torch.where(constant_x | constant_y, torch.nan, value)


def _nuclear_norm(a: Tensor, b: Tensor) -> Tensor:
    """Return |aᵀ b|_*, 0-d, for a (n, p) and b (n, q), never forming (p, q) where both exceed n."""
    norm: Tensor
    if min(a.shape[1], b.shape[1]) <= a.shape[0]:
        norm = torch.linalg.svdvals(a.T @ b).sum()
        return norm
    # aᵀ = Q_a R_a, so aᵀ b = Q_a (R_a R_bᵀ) Q_bᵀ; with its singular vectors P, R held fixed, the norm is tr(Pᵀ aᵀ b R),
    # and so, at the maximum over all orthogonal ones, is its derivative
    with torch.no_grad():
        Q_a, R_a = torch.linalg.qr(a.T)
        Q_b, R_b = torch.linalg.qr(b.T)
        left, _, right = torch.linalg.svd(R_a @ R_b.T)
        P, R = Q_a @ left, Q_b @ right.T
    norm = ((a @ P) * (b @ R)).sum()
    return norm
