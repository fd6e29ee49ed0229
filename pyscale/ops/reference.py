"""Plain-torch twins of every op: any device, any floating-point dtype.

They serve the devices and types that the native kernels do not, and they are the definition the kernels are held to.
Matrices go through in slices of features, so that no centred copy of a wide activation is ever made whole.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from pyscale.ops.dtypes import accumulator_dtype, result_dtype

_SLICE = 1 << 22  # elements of a centred slice: 16 MiB in float32
_CONSTANT = 4  # a feature is constant to rounding where it strays at most this many eps from its mean


def gram(x: Tensor, kernel: str, centering: str, bandwidth: float, out_dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the centred Gram matrix (n, n) of ``x`` (n, p), and whether ``x`` is constant to rounding."""
    K = linear_gram(x, shift=kernel == "rbf" or centering != "none")
    if kernel == "rbf":
        D = squared_distances(K)
        K = torch.exp(-D / (2 * (bandwidth * median_distance(D)) ** 2))
    return center(K, centering).to(out_dtype), is_constant(x)


def packed_gram(x: Tensor, kernel: str, bandwidth: float, out_dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the strict lower triangle (n (n - 1) / 2,) of the U-centred Gram matrix, and the constancy of ``x``."""
    K, constant = gram(x, kernel, "unbiased", bandwidth, out_dtype)
    i, j = torch.tril_indices(len(K), len(K), offset=-1, device=K.device)
    return K[i, j], constant


def hsic_pairs(v: Tensor, w: Tensor) -> Tensor:
    """Return all inner products (L, M) of the rows of ``v`` (L, N) and ``w`` (M, N), added in float64."""
    out = v.new_zeros((len(v), len(w)), dtype=accumulator_dtype(v.device))
    step = max(1, _SLICE // max(len(v) + len(w), 1))
    for k in range(0, v.shape[1], step):
        out += product(v[:, k : k + step].to(out.dtype), w[:, k : k + step].to(out.dtype).T)
    return out


def cross_moments(x: Tensor, shift_x: Tensor, y: Tensor, shift_y: Tensor) -> Tensor:
    """Return the co-moments (p, q) of ``x`` (n, p) and ``y`` (n, q) about the given points (p,) and (q,)."""
    wide = accumulator_dtype(x.device)
    out = x.new_zeros((x.shape[1], y.shape[1]), dtype=wide)
    step = max(1, _SLICE // max(x.shape[1] + y.shape[1], 1))
    for i in range(0, len(x), step):
        out += product((x[i : i + step].to(wide) - shift_x).T, y[i : i + step].to(wide) - shift_y)
    return out


def linear_gram(x: Tensor, *, shift: bool) -> Tensor:
    """Return X Xᵀ (n, n) in the accumulator's type, each feature shifted by its mean first if ``shift``.

    A shift changes neither distances nor centred Grams, and keeps the digits that products of large means would lose.
    """
    n, p = x.shape
    wide, work = accumulator_dtype(x.device), result_dtype(x.dtype)
    K = x.new_zeros((n, n), dtype=wide)
    step = max(1, _SLICE // max(n, 1))
    for k in range(0, p, step):
        part = x[:, k : k + step]
        if shift:
            part = part.to(wide) - part.mean(dim=0, keepdim=True, dtype=wide)
        part = part.to(work)
        K += product(part, part.T)
    return (K + K.T) / 2  # BLAS does not promise a symmetric product


def product(a: Tensor, b: Tensor) -> Tensor:
    """Return a b in the type that both have: neither autocast nor a reduced float32 (TF32, bfloat16) narrows it."""
    device = a.device.type
    full = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
    with full:
        if a.dtype == torch.float32 != accumulator_dtype(a.device) and _float32_is_reduced():
            return (a.double() @ b.double()).to(a.dtype)
        return a @ b


def _float32_is_reduced() -> bool:
    """Return whether the user lets torch round the operands of float32 products."""
    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # set for one backend apart, by the newer of torch's two interfaces
        return True


def squared_distances(K: Tensor) -> Tensor:
    """Return |x_i - x_j|² (n, n) from the Gram matrix of x, never negative."""
    d = K.diagonal()
    return (d[:, None] + d[None, :] - 2 * K).clamp_min(0)


def median_distance(D: Tensor) -> Tensor:
    """Return the median of the off-diagonal distances, given their squares: the mean of the two middle values."""
    i, j = torch.tril_indices(len(D), len(D), offset=-1, device=D.device)
    distances = D[i, j].sqrt().sort().values
    return (distances[(len(distances) - 1) // 2] + distances[len(distances) // 2]) / 2


def center(K: Tensor, centering: str) -> Tensor:
    """Return K ("none"), H K H ("double") or U(K) ("unbiased") of a symmetric matrix (n, n).

    Both centrings are orthogonal projections of the space of symmetric matrices, hence their own adjoints.
    """
    n = len(K)
    if centering == "none" or n == 0:
        return K
    if centering == "double":
        rows = K.mean(dim=1)
        # adding the two means first keeps the result symmetric to the bit
        return K - (rows[:, None] + rows[None, :]) + rows.mean()
    off = K - torch.diag(K.diagonal())
    rows = off.sum(dim=1)
    shares = rows / (n - 2) - rows.sum() / (2 * (n - 1) * (n - 2))
    U = off - (shares[:, None] + shares[None, :])
    return U - torch.diag(U.diagonal())


def is_constant(x: Tensor, mean: Tensor | None = None) -> Tensor:
    """Return whether every feature j has max_i |x_ij - m_j| <= 4 eps max_i |x_ij|, 0-d bool, given m if known."""
    if x.shape[0] == 0 or x.shape[1] == 0:
        return torch.ones((), dtype=torch.bool, device=x.device)
    if mean is None:
        mean = x.mean(dim=0, dtype=accumulator_dtype(x.device))
    low, high = x.amin(dim=0).to(mean.dtype), x.amax(dim=0).to(mean.dtype)
    spread = torch.maximum(high - mean, mean - low)
    largest = torch.maximum(high.abs(), low.abs())
    return (spread <= _CONSTANT * torch.finfo(x.dtype).eps * largest).all()
