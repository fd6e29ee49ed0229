"""Calls into the CUDA kernels: on the tensor's device and torch's current stream.

Only the product over the features is a kernel of ours; centring the small result is torch's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pyscale import _native
from pyscale.ops import reference
from pyscale.ops.dtypes import NATIVE, result_dtype
from pyscale.ops.native import matrix, rows


def serves(x: Tensor) -> bool:
    """Return whether the CUDA kernels were built and take this tensor."""
    return _native.HAS_CUDA and x.device.type == "cuda" and x.dtype in NATIVE


def gram(x: Tensor, kernel: str, centering: str, bandwidth: float, out_dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the centred Gram matrix (n, n) of ``x`` (n, p), and whether ``x`` is constant to rounding."""
    shift = x.mean(dim=0, dtype=torch.float64) if kernel == "rbf" or centering != "none" else None
    K = linear_gram(x, shift)
    if kernel == "rbf":
        D = reference.squared_distances(K)
        K = torch.exp(-D / (2 * (bandwidth * reference.median_distance(D)) ** 2))
    return reference.center(K, centering).to(out_dtype), reference.is_constant(x)


def packed_gram(x: Tensor, kernel: str, bandwidth: float, out_dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the packed U-centred Gram (n (n - 1) / 2,) of ``x`` (n, p), and whether ``x`` is constant to rounding."""
    K, constant = gram(x, kernel, "unbiased", bandwidth, out_dtype)
    i, j = torch.tril_indices(len(K), len(K), offset=-1, device=K.device)
    return K[i, j], constant


def linear_gram(x: Tensor, shift: Tensor | None) -> Tensor:
    """Return (X - 1 shiftᵀ)(X - 1 shiftᵀ)ᵀ (n, n) in float64, symmetric to the bit; ``shift`` (p,) or None for none."""
    x = rows(x)
    n, p = x.shape
    G = x.new_empty((n, n), dtype=torch.float64)
    point = None if shift is None else shift.to(result_dtype(x.dtype))[None].contiguous()
    # Allocated on torch's current stream, on which the kernel is queued: the allocator won't hand it on too early.
    workspace = x.new_empty((1, _native.cuda_gram_workspace(n, p)), dtype=torch.float64)
    stream = torch.cuda.current_stream(x.device).cuda_stream
    _native.cuda_gram(
        matrix(G), matrix(x), None if point is None else matrix(point), matrix(workspace), x.device.index, stream
    )
    return G
