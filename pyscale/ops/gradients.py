"""Derivatives of the ops, in plain torch, so that they hold on any device and compile."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyscale.ops import reference
from pyscale.ops.dtypes import accumulator_dtype, result_dtype


def gram_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Keep what the derivative of ``gram`` needs."""
    x, ctx.kernel, ctx.centering, ctx.bandwidth, *_ = inputs
    ctx.save_for_backward(x)


def gram_backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    """Return the derivatives of ``gram`` with respect to its arguments."""
    (x,) = ctx.saved_tensors
    S = grad.to(accumulator_dtype(x.device))
    return _gram_gradient(x, (S + S.T) / 2, ctx.kernel, ctx.centering, ctx.bandwidth), *[None] * 6


def packed_gram_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Keep what the derivative of ``packed_gram`` needs."""
    x, ctx.kernel, ctx.bandwidth, *_ = inputs
    ctx.save_for_backward(x)


def packed_gram_backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    """Return the derivatives of ``packed_gram`` with respect to its arguments."""
    (x,) = ctx.saved_tensors
    return _packed_gradient(x, grad, ctx.kernel, ctx.bandwidth), *[None] * 5


def packed_grams_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """Keep what the derivative of ``packed_grams`` needs."""
    xs, ctx.kernel, ctx.bandwidth, *_ = inputs
    ctx.save_for_backward(*xs)


def packed_grams_backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[list[Tensor] | None, ...]:
    """Return the derivatives of ``packed_grams`` with respect to its arguments."""
    pairs = zip(ctx.saved_tensors, grad, strict=True)
    return [_packed_gradient(x, g, ctx.kernel, ctx.bandwidth) for x, g in pairs], *[None] * 5


def _packed_gradient(x: Tensor, grad: Tensor, kernel: str, bandwidth: float) -> Tensor:
    """Return the derivative with respect to ``x`` (n, p), given that of its packed Gram (n (n - 1) / 2,)."""
    row = torch.arange(x.shape[0], device=x.device)
    i, j = torch.maximum(row[:, None], row[None, :]), torch.minimum(row[:, None], row[None, :])
    # v[i (i - 1) / 2 + j] stands for K_ij and K_ji alike; half of its gradient belongs to each
    S = torch.where(i > j, grad.to(accumulator_dtype(x.device))[(i * (i - 1) // 2 + j) * (i > j)] / 2, 0.0)
    return _gram_gradient(x, S, kernel, "unbiased", bandwidth)


def _gram_gradient(x: Tensor, S: Tensor, kernel: str, centering: str, bandwidth: float) -> Tensor:
    """Return d<S, C(k(X, X))>/dX (n, p) for a symmetric S (n, n)."""
    W = reference.center(S, centering)  # the centrings are their own adjoints
    work = result_dtype(x.dtype)
    if kernel == "rbf":
        W = _rbf_weights(x, W, bandwidth)
    elif centering == "none":
        return _weighted(W, x.to(work)).to(x.dtype)
    # The rows of W add to nothing, so the means of x don't matter; without them its products keep their digits.
    mean = x.mean(dim=0, keepdim=True, dtype=W.dtype)
    return _weighted(W, x.to(work) - mean.to(work)).to(x.dtype)


def _weighted(W: Tensor, x: Tensor) -> Tensor:
    """Return 2 W x in the type of ``x``, whatever the size of W: that of 1 / x², which float32 may not hold."""
    largest = W.abs().amax()
    largest = torch.where(largest > 0, largest, 1.0)
    root = largest.sqrt().to(x.dtype)
    return reference.product((2 * W / largest).to(x.dtype), x * root) * root


def _rbf_weights(x: Tensor, W: Tensor, bandwidth: float) -> Tensor:
    """Return the B for which d<W, E>/dX = 2 B X, where E = exp(-D / (2 (bandwidth median)²)) and D = |x_i - x_j|²."""
    D = reference.squared_distances(reference.linear_gram(x, shift=True))
    n = len(D)
    row = torch.arange(n, device=x.device)
    lower = (row[:, None] > row[None, :]).reshape(-1)
    # pairs i > j sorted by distance come before all the rest, which are put at infinity
    order = torch.where(lower, D.reshape(-1), torch.inf).argsort(stable=True)
    pairs = n * (n - 1) // 2
    middle = order[[(pairs - 1) // 2, pairs // 2]]
    distances = D.reshape(-1)[middle].sqrt()
    sigma2 = (bandwidth * distances.mean()) ** 2
    A = -W * torch.exp(-D / (2 * sigma2)) / (2 * sigma2)  # dL/dD at a fixed sigma
    # dL/d(median) = -2 sum(A D) / median, shared by the two middle distances, and d(distance)/dD = 1/(2 distance)
    share = -2 * (A * D).sum() / distances.mean() / (4 * distances)
    A = A.reshape(-1).index_add(0, middle, share).reshape(n, n)
    B = A + A.T
    return torch.diag(B.sum(dim=1)) - B


def hsic_pairs_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """Keep what the derivative of ``hsic_pairs`` needs."""
    v, w, _ = inputs
    ctx.save_for_backward(v, w)


def hsic_pairs_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return the derivatives of ``hsic_pairs`` with respect to its arguments."""
    v, w = ctx.saved_tensors
    by_v, by_w = reference.product(grad, w.to(grad.dtype)), reference.product(grad.T, v.to(grad.dtype))
    return by_v.to(v.dtype), by_w.to(w.dtype), None
