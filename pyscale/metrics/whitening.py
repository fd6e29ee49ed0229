"""Whitened directions of a set of activations: the common ground of CCA, SVCCA and PWCCA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from pyscale.metrics.moments import Moments
from pyscale.ops import add_moments_
from pyscale.ops.dtypes import accumulator_dtype


class Directions(Protocol):
    """What is known of a whitened set by its rank alone, whatever it was made from."""

    @property
    def rank(self) -> int:
        """Directions kept."""

    @property
    def total(self) -> float:
        """tr(W Wᵀ): the rank without a ridge, less under one."""

    @property
    def shrunk(self) -> bool:
        """Whether a ridge has shrunk any direction."""


@dataclass(frozen=True)
class Whitened:
    """The kept principal directions of a set, scaled to unit variance (or less, under a ridge).

    With the centred set X = U diag(σ) Vᵀ and c = ridge Σσ²/p, the whitened set is W = U diag(gain), where
    gain = σ/sqrt(σ² + c).
    """

    loadings: Tensor  # (p, r): Xᵀ U = V diag(σ)
    sigma: Tensor  # (r,), descending
    gain: Tensor  # (r,)

    @property
    def rank(self) -> int:
        """Directions kept."""
        return len(self.sigma)

    @cached_property
    def total(self) -> float:
        """tr(W Wᵀ): the rank without a ridge, less under one."""
        return float(self.gain.square().sum())

    @cached_property
    def shrunk(self) -> bool:
        """Whether a ridge has shrunk any direction."""
        return bool((self.gain < 1).any())


@dataclass(frozen=True)
class WhitenedSet(Whitened):
    """Whitened directions of a set in memory, with its coordinates in them."""

    coordinates: Tensor  # W (n, r)

    def cross(self, other: WhitenedSet) -> Tensor:
        """Return W_xᵀ W_y (rank_x, rank_y), whose singular values are the canonical correlations."""
        return self.coordinates.T @ other.coordinates


@dataclass(frozen=True)
class Basis:
    """Orthonormal directions of a set in memory, of which it is not known how much of the set each holds."""

    coordinates: Tensor  # W (n, r)
    shrunk = False  # by a ridge

    @property
    def rank(self) -> int:
        """Directions kept."""
        return self.coordinates.shape[1]

    @property
    def total(self) -> float:
        """tr(W Wᵀ)."""
        return float(self.rank)


@dataclass(frozen=True)
class WhitenedMoments(Whitened):
    """Whitened directions of a set of which only the moments are known."""

    @property
    def directions(self) -> Tensor:
        """What takes centred samples to their coordinates: W = X D, D (p, r)."""
        return self.loadings * (self.gain / self.sigma.square())

    def cross(self, other: WhitenedMoments, S_xy: Tensor) -> Tensor:
        """Return W_xᵀ W_y (rank_x, rank_y) from the co-moments S_xy (p, q)."""
        return self.directions.T @ S_xy @ other.directions


def whiten_set(x: Tensor, *, constant: bool, rtol: float, variance: float = 1.0, ridge: float = 0.0) -> WhitenedSet:
    """Return the whitened directions of ``x`` (n, p), already centred, float64.

    Args:
        x: The centred activations.
        constant: Whether they are constant to rounding, so that every direction is noise and none is kept.
        rtol: Directions of σ <= rtol σ_max are dropped.
        variance: Of those left, the fewest are kept that hold this share of Σσ².
        ridge: c as a multiple of the mean variance of the features.
    """
    U, sigma, Vh = torch.linalg.svd(x.detach(), full_matrices=False)
    kept = _kept(sigma, constant=constant, rtol=rtol, variance=variance)
    c = _ridge_term(sigma, ridge, x.shape[1])
    coordinates = _coordinates(x, U, sigma, Vh, kept, ridge)
    sigma = sigma[:kept]
    return WhitenedSet(Vh[:kept].T * sigma, sigma, sigma / (sigma.square() + c).sqrt(), coordinates)


def whiten_moments(moments: Moments, *, rtol: float, variance: float = 1.0, ridge: float = 0.0) -> WhitenedMoments:
    """Return the whitened directions of a set from its moments; arguments as in :func:`whiten_set`.

    S = V diag(σ²) Vᵀ holds the squares, so directions under sqrt(p eps) σ_max are rounding and always dropped.
    """
    squares, V = torch.linalg.eigh(moments.S)
    sigma, V = squares.flip(0).clamp_min(0).sqrt(), V.flip(1)
    least = max(rtol, (len(sigma) * torch.finfo(sigma.dtype).eps) ** 0.5)
    kept = _kept(sigma, constant=bool(moments.constant), rtol=least, variance=variance)
    c = _ridge_term(sigma, ridge, len(sigma))
    sigma, V = sigma[:kept], V[:, :kept]
    return WhitenedMoments(V * sigma, sigma, sigma / (sigma.square() + c).sqrt())


def centred(x: Tensor) -> Tensor:
    """Return ``x`` (n, p) about the means of its features, in float64."""
    wide = x.to(accumulator_dtype(x.device))
    return wide - wide.mean(dim=0)


def cross_products(rows: Sequence[Tensor], column: Tensor) -> Tensor:
    """Return W_iᵀ W_j of sets (n, r_i) with one (n, s), all of one type, one above the other (Σr_i, s)."""
    if column.device.type != "cpu":
        return torch.cat(list(rows), dim=1).T @ column
    sizes = [row.shape[1] for row in rows]
    products = column.new_zeros((sum(sizes), column.shape[1]))
    zeros = column.new_zeros(max(*sizes, column.shape[1]))
    for part, row in zip(products.split(sizes), rows, strict=True):
        if column.dtype == torch.float64:  # the core's, faster here than torch's
            add_moments_(part, row, zeros[: row.shape[1]], column, zeros[: column.shape[1]])
        else:
            torch.mm(row.T, column, out=part)
    return products


def _kept(sigma: Tensor, *, constant: bool, rtol: float, variance: float) -> int:
    """Return how many of the descending singular values are kept."""
    if constant or len(sigma) == 0:
        return 0
    rank = int((sigma > rtol * sigma[0]).sum())
    if variance == 1:
        return rank
    held = sigma.square().cumsum(dim=0)
    # a rounding unit of slack, for shares that the sum meets exactly
    enough = int((held < variance * held[-1] * (1 - 1e-12)).sum()) + 1
    return min(rank, enough)


def _ridge_term(sigma: Tensor, ridge: float, p: int) -> Tensor:
    return ridge * sigma.square().sum() / max(p, 1)


def _coordinates(x: Tensor, U: Tensor, sigma: Tensor, Vh: Tensor, kept: int, ridge: float) -> Tensor:
    coordinates: Tensor = _Coordinates.apply(x, U, sigma, Vh, kept, ridge)  # type: ignore[no-untyped-call]
    return coordinates


class _Coordinates(torch.autograd.Function):
    """W = U_k diag(gain) of X = U diag(σ) Vᵀ, with the derivative of what depends on W Wᵀ alone.

    Canonical correlations do: the basis within the kept space is free. The derivative of the SVD itself divides by
    σ_i² - σ_j² and is NaN for tied or vanishing σ; that of W Wᵀ = Σ_kept h(σ_j²) u_j u_jᵀ, h(λ) = λ/(λ + c), divides
    only by gaps between kept and dropped directions.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, U: Tensor, sigma: Tensor, Vh: Tensor, kept: int, ridge: float) -> Tensor:
        """Return W (n, kept)."""
        ctx.save_for_backward(x, U, sigma, Vh)
        ctx.ridge = ridge
        c = _ridge_term(sigma, ridge, x.shape[1])
        s = sigma[:kept]
        return U[:, :kept] * (s / (s.square() + c).sqrt())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the derivative with respect to ``x`` (n, p)."""
        x, U, sigma, Vh = ctx.saved_tensors
        return _gradient(grad, x, U, sigma, Vh, ctx.ridge), None, None, None, None, None


def coordinates_gradient(grad: Tensor, x: Tensor, ridge: float) -> Tensor:
    """Return the derivative with respect to ``x`` (n, p), centred, given that of its coordinates W (n, kept)."""
    U, sigma, Vh = torch.linalg.svd(x, full_matrices=False)
    return _gradient(grad, x, U, sigma, Vh, ridge)


def _gradient(grad: Tensor, x: Tensor, U: Tensor, sigma: Tensor, Vh: Tensor, ridge: float) -> Tensor:
    k, p = grad.shape[1], x.shape[1]
    squares = sigma.square()
    c = _ridge_term(sigma, ridge, p)
    s, kept, rest = sigma[:k], squares[:k], squares[k:]
    ZU = grad * ((kept + c).sqrt() / (2 * s))  # Z U_k, Z the derivative with respect to W Wᵀ
    M = U.T @ ZU
    outside = ZU - U @ M  # beyond the span of x, where σ = 0
    within = M[:k] * (c / ((kept[:, None] + c) * (kept[None, :] + c)))
    across = M[k:] * (kept / ((kept + c) * (kept - rest[:, None])))
    left = U @ torch.cat([within, across]) + outside / (kept + c)
    gradient = 2 * (left * s) @ Vh[:k] + 2 * (U[:, :k] @ (across.T * sigma[k:])) @ Vh[k:]
    by_c = -(M[:k].diagonal() * kept / (kept + c).square()).sum()
    return gradient + by_c * 2 * ridge / p * x
