"""Calls into the CUDA kernels: on the tensors' device and torch's current stream; nothing is waited for.

That device is made current by torch, which afterwards gives no context to a GPU that had none.
Outputs and workspaces come from torch's allocator on that stream, so running out of memory is torch's error, and memory
is not handed on before the kernels are done with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from pyscale import _native
from pyscale.ops.dtypes import NATIVE
from pyscale.ops.native import matrix, rows

_LEAST_CAPABILITY = (8, 0)  # float64 and bfloat16 tensor cores


@dataclass
class LastRead:
    """Where on a stream a tensor has been read for the last time.

    Attributes:
        event: Recorded once already: torch makes an event when it is first recorded, and kernels can only do so again.
        marked: Whether kernels have recorded it.
    """

    event: torch.cuda.Event
    marked: bool = False


class Judged(NamedTuple):
    """A packed U-centred Gram and what it must exceed to be more than rounding."""

    values: Tensor  # (n (n - 1) / 2,)
    constant: Tensor  # 0-d bool: x is constant to rounding
    floor: Tensor  # 0-d float64


class _Floors(NamedTuple):
    """Where to write max(noise · max_i G_ii, least) of every Gram before it is centred."""

    values: Tensor  # (L,) float64
    noise: float
    least: float


def serves(*tensors: Tensor) -> bool:
    """Return whether the CUDA kernels were built and take these tensors on the GPU they are on."""
    for x in tensors:
        if not (x.is_cuda and _native.HAS_CUDA and x.dtype in NATIVE and _able(x.device)):
            return False
    return bool(tensors)


@cache
def _able(device: torch.device) -> bool:
    """Return whether the GPU is new enough; asked for every tensor, and slow to find out."""
    return torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY


def gram(
    x: Tensor, kernel: str, centering: str, bandwidth: float, out_dtype: torch.dtype, precision: str
) -> tuple[Tensor, Tensor]:
    """Return the centred Gram matrix (n, n) of ``x`` (n, p), and whether ``x`` is constant to rounding."""
    n = len(x)
    K = x.new_empty((1, n, n), dtype=out_dtype)
    return K[0], _grams(K, [x], kernel, centering, bandwidth, precision, packed=False)[0]


def packed_gram(
    x: Tensor, kernel: str, bandwidth: float, out_dtype: torch.dtype, precision: str
) -> tuple[Tensor, Tensor]:
    """Return the packed U-centred Gram (n (n - 1) / 2,) of ``x`` (n, p), and whether ``x`` is constant to rounding."""
    v, constant = packed_grams([x], kernel, bandwidth, out_dtype, precision)
    return v[0], constant[0]


def judged_gram(
    x: Tensor,
    kernel: str,
    bandwidth: float,
    out_dtype: torch.dtype,
    *,
    noise: float,
    least: float,
    read: LastRead | None,
) -> Judged:
    """Return the packed U-centred Gram of ``x`` (n, p), and max(noise · max_i G_ii, least) of G, which it was made of.

    ``read`` is marked once the kernels have read ``x`` for the last time.
    """
    n = len(x)
    v = x.new_empty((1, n * (n - 1) // 2), dtype=out_dtype)
    floors = _Floors(x.new_empty(1, dtype=torch.float64), noise, least)
    constant = _grams(v[:, None], [x], kernel, "unbiased", bandwidth, "default", packed=True, floors=floors, read=read)
    return Judged(v[0], constant[0], floors.values[0])


def packed_grams(
    xs: Sequence[Tensor], kernel: str, bandwidth: float, out_dtype: torch.dtype, precision: str
) -> tuple[Tensor, Tensor]:
    """Return the packed U-centred Grams (L, n (n - 1) / 2) of sets of n samples, and which are constant (L,).

    All of one type are formed by the same few launches.
    """
    n = len(xs[0])
    types = {x.dtype for x in xs}
    if len(types) > 1:
        return _mixed_grams(xs, types, (kernel, bandwidth, out_dtype, precision))
    v = xs[0].new_empty((len(xs), n * (n - 1) // 2), dtype=out_dtype)
    return v, _grams(v[:, None], xs, kernel, "unbiased", bandwidth, precision, packed=True)


def _mixed_grams(
    xs: Sequence[Tensor], types: set[torch.dtype], options: tuple[str, float, torch.dtype, str]
) -> tuple[Tensor, Tensor]:
    """Return :func:`packed_grams` of sets of several types, each type's sets together."""
    v: dict[int, Tensor] = {}
    constant: dict[int, Tensor] = {}
    for dtype in types:
        members = [i for i, x in enumerate(xs) if x.dtype == dtype]
        grams = packed_grams([xs[i] for i in members], *options)
        v |= zip(members, grams[0], strict=True)
        constant |= zip(members, grams[1], strict=True)
    return torch.stack([v[i] for i in range(len(xs))]), torch.stack([constant[i] for i in range(len(xs))])


def hsic_pairs(v: Tensor, w: Tensor) -> Tensor:
    """Return all inner products (L, M), in float64, of the rows of ``v`` (L, N) and ``w`` (M, N)."""
    same, narrow = w is v, v.dtype != w.dtype or v.dtype not in (torch.float32, torch.float64)
    v = rows(v.double() if narrow else v)
    w = v if same else rows(w.double() if narrow else w)
    H = v.new_empty((len(v), len(w)), dtype=torch.float64)
    index, stream = _queue(v)
    workspace = _numbers(v, _native.cuda_hsic_workspace(len(v), len(w), v.shape[1], index))
    with torch.cuda.device_of(v):
        _native.cuda_hsic_pairs(matrix(H), matrix(v), matrix(w), matrix(workspace), index, stream)
    return H


def add_self_moments(out: Tensor, x: Tensor, shift: Tensor) -> None:
    """Add to ``out`` (p, p) the co-moments of ``x`` (n, p) with itself about ``shift`` (p,).

    Those of two sets are left to cuBLAS: a plain product, of which no half can be saved.
    """
    x, p = rows(x), x.shape[1]
    index, stream = _queue(x)
    workspace = _numbers(x, _native.cuda_moments_workspace(p, p, len(x), index))
    point = shift[None].contiguous()
    with torch.cuda.device_of(x):
        _native.cuda_self_moments(matrix(out), matrix(x), matrix(point), matrix(workspace), index, stream)


def _numbers(x: Tensor, count: int) -> Tensor:
    """Return a workspace of ``count`` float64 (1, count) on the device of ``x``."""
    return x.new_empty((1, count), dtype=torch.float64)


def _grams(
    out: Tensor,
    xs: Sequence[Tensor],
    kernel: str,
    centering: str,
    bandwidth: float,
    precision: str,
    *,
    packed: bool,
    floors: _Floors | None = None,
    read: LastRead | None = None,
) -> Tensor:
    """Write the Grams of ``xs`` to the matrices ``out`` (L, ...), and return which sets are constant (L,)."""
    xs = [rows(x) for x in xs]
    X = [matrix(x) for x in xs]
    options = (getattr(_native.Kernel, kernel), getattr(_native.Centering, centering), packed)
    accuracy = getattr(_native.Precision, precision)
    index, stream = _queue(xs[0])
    workspace = xs[0].new_empty(_native.cuda_grams_workspace(X, *options, accuracy, index), dtype=torch.uint8)
    constant = xs[0].new_empty(len(xs), dtype=torch.bool)
    with torch.cuda.device_of(xs[0]):
        _native.cuda_grams(
            [matrix(K) for K in out],
            X,
            constant.data_ptr(),
            *options,
            bandwidth,
            accuracy,
            workspace.data_ptr(),
            len(workspace),
            index,
            stream,
            0 if read is None else read.event.cuda_event,
            *(() if floors is None else (floors.values.data_ptr(), floors.noise, floors.least)),
        )
    if read is not None:
        read.marked = True
    return constant


def _queue(x: Tensor) -> tuple[int, int]:
    """Return the index of the GPU that holds ``x``, and torch's current stream on it."""
    index = x.get_device()
    return index, torch.cuda.current_stream(index).cuda_stream
