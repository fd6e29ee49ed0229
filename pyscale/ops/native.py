"""Calls into the native core: tensors become addresses, outputs are allocated here, inputs are kept alive."""

from __future__ import annotations

import torch
from torch import Tensor

from pyscale import _native
from pyscale.ops.dtypes import NATIVE
from pyscale.ops.team import use_torch_threads

use_torch_threads()


def serves(*tensors: Tensor) -> bool:
    """Return whether the CPU kernels take these tensors; :mod:`pyscale.ops.reference` takes all others."""
    return all(x.is_cpu and x.dtype in NATIVE for x in tensors)


def gram(
    x: Tensor, kernel: str, centering: str, bandwidth: float, out_dtype: torch.dtype, threads: int
) -> tuple[Tensor, Tensor]:
    """Return the centred Gram matrix (n, n) of ``x`` (n, p), and whether ``x`` is constant to rounding."""
    x = rows(x)
    n = x.shape[0]
    K = torch.empty((n, n), dtype=out_dtype, device=x.device)
    constant = _native.gram(
        matrix(K),
        matrix(x),
        getattr(_native.Kernel, kernel),
        getattr(_native.Centering, centering),
        bandwidth,
        threads or torch.get_num_threads(),
    )
    return K, torch.full((), constant, device=x.device)


def packed_gram(
    x: Tensor, kernel: str, bandwidth: float, out_dtype: torch.dtype, threads: int
) -> tuple[Tensor, Tensor]:
    """Return the packed U-centred Gram (n (n - 1) / 2,) of ``x`` (n, p), and whether ``x`` is constant to rounding."""
    x = rows(x)
    n = x.shape[0]
    v = torch.empty(n * (n - 1) // 2, dtype=out_dtype, device=x.device)
    constant = _native.packed_gram(
        matrix(v[None]), matrix(x), getattr(_native.Kernel, kernel), bandwidth, threads or torch.get_num_threads()
    )
    return v, torch.full((), constant, device=x.device)


def hsic_pairs(v: Tensor, w: Tensor, threads: int) -> Tensor:
    """Return all inner products (L, M), in float64, of the rows of ``v`` (L, N) and ``w`` (M, N)."""
    same = w is v
    if v.dtype != w.dtype or v.dtype not in (torch.float32, torch.float64):
        v, w = v.double(), w.double()
    v = rows(v)
    w = v if same else rows(w)
    H = v.new_empty((len(v), len(w)), dtype=torch.float64)
    _native.hsic_pairs(matrix(H), matrix(v), matrix(w), threads or torch.get_num_threads())
    return H


def add_moments(
    out: Tensor, x: Tensor, shift_x: Tensor, y: Tensor | None, shift_y: Tensor | None, threads: int
) -> None:
    """Add to ``out`` (p, q) the co-moments of ``x`` (n, p) with ``y`` (n, q), or with itself."""
    threads = threads or torch.get_num_threads()
    S = rows(out)  # a copy where the core could not write to it
    x, a = rows(x), rows(shift_x[None])
    if y is None or shift_y is None:
        _native.self_moments(matrix(S), matrix(x), matrix(a), threads)
    else:
        y, b = rows(y), rows(shift_y[None])
        _native.cross_moments(matrix(S), matrix(x), matrix(a), matrix(y), matrix(b), threads)
    if S is not out:
        out.copy_(S)


def merge_moments(S: Tensor, T: Tensor, dx: Tensor, dy: Tensor, weight: float) -> None:
    """Add to ``S`` (p, q) the matrix T + weight · dx dyᵀ; ``dx`` (p,), ``dy`` (q,)."""
    T, dx, dy = rows(T), rows(dx[None]), rows(dy[None])
    _native.merge_moments(matrix(S), matrix(T), matrix(dx), matrix(dy), weight)


def matrix(x: Tensor) -> _native.Matrix:
    """Return the core's view of a two-dimensional tensor, whose columns are adjacent; it does not keep ``x`` alive."""
    rows, columns = x.shape
    return _native.Matrix(x.data_ptr(), rows, columns, x.stride(0) if rows > 1 else columns, NATIVE[x.dtype])


def rows(x: Tensor) -> Tensor:
    """Return ``x`` itself where its columns are adjacent, its rows apart and its numbers aligned, else a copy."""
    aligned = x.data_ptr() % x.element_size() == 0  # a view of bytes can begin anywhere
    if aligned and x.is_contiguous():
        return x
    adjacent = x.shape[1] <= 1 or x.stride(1) == 1
    apart = x.shape[0] <= 1 or x.stride(0) >= x.shape[1]
    return x if adjacent and apart and aligned else x.clone(memory_format=torch.contiguous_format)
