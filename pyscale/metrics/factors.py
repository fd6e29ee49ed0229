"""Whitening of sets all of whose directions are kept, by Cholesky or QR: a fraction of an SVD's time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyscale.metrics.whitening import Basis, Directions, centred, cross_products, whiten_set
from pyscale.ops import add_moments_
from pyscale.ops.dtypes import accumulator_dtype, result_dtype

_ROUNDING = 1e-12  # how far moments may put a correlation off, or
_SHARE = 0.01  # this share of what results are rounded to
_STEEPEST = 1e12  # κ up to which S, whose errors are eps times its largest eigenvalue, surely has a least one above 0
_NOTHING = 1e-30  # a variance, of the largest, that is rounding alone: dead channels


@dataclass(frozen=True)
class Factored:
    """The moments about their means of a set all of whose directions are kept: S + c I = L Lᵀ, c that of the ridge."""

    x: Tensor  # (n, p): the samples as they came, without features that never vary
    mean: Tensor  # (p,)
    L: Tensor  # (p, p)
    condition: float  # of S + c I with a diagonal of ones, which multiplies roundings in S and L; a bound
    total: float  # tr(W Wᵀ) of W = X L⁻ᵀ: the rank without a ridge, less under one
    shrunk: bool  # by a ridge

    @property
    def rank(self) -> int:
        """Directions kept."""
        return len(self.L)

    @property
    def exact(self) -> bool:
        """Whether correlations may come from moments, which square the condition number of the samples."""
        allowed = max(_ROUNDING, _SHARE * torch.finfo(result_dtype(self.x.dtype)).eps)
        return torch.finfo(self.L.dtype).eps * self.condition <= allowed

    def cross(self, other: Factored) -> Tensor:
        """Return W_xᵀ W_y = L_x⁻¹ S_xy L_y⁻ᵀ (p, q), whose singular values are the canonical correlations."""
        S = self.L.new_zeros((self.rank, other.rank))
        add_moments_(S, self.x, self.mean, *(() if other is self else (other.x, other.mean)))
        half = torch.linalg.solve_triangular(self.L, S, upper=False)
        C: Tensor = torch.linalg.solve_triangular(other.L.T, half, upper=True, left=False)
        return C

    def coordinates(self) -> Tensor:
        """Return W (n, p): X L⁻ᵀ, or, where that would lose digits and there is no ridge, Q of a QR decomposition."""
        wide = centred(self.x)
        W: Tensor
        if self.exact or self.shrunk:
            W = torch.linalg.solve_triangular(self.L.T, wide, upper=True, left=False)
        else:
            W = torch.linalg.qr(wide).Q
        return W


def factored(x: Tensor, *, constant: bool, rtol: float, ridge: float = 0.0) -> Factored | None:
    """Return the factored moments of ``x`` (n, p), or None where it is not certain that all its directions are kept.

    With S = L Lᵀ the largest eigenvalue is at most |S|₁ and the smallest at least 1 / |S⁻¹|₁, so the quotient bounds
    (σ_max / σ_min)². Features that never vary have no direction.
    """
    n, p = x.shape
    if constant or p >= n:
        return None
    mean = x.mean(dim=0, dtype=accumulator_dtype(x.device))
    S = mean.new_zeros((p, p))
    add_moments_(S, x, mean)
    c = ridge * float(S.trace()) / p
    alive = S.diagonal() > _NOTHING * S.diagonal().max()
    if not bool(alive.all()):
        x, mean, S = x[:, alive], mean[alive], S[alive][:, alive]
    L, failed = torch.linalg.cholesky_ex(S)
    if failed:
        return None
    inverse = torch.cholesky_inverse(L)
    if not _one_norm(S) * _one_norm(inverse) < min(rtol**-2 if rtol > 0 else torch.inf, _STEEPEST):
        return None
    if c > 0:
        S = S + c * torch.eye(len(S), dtype=S.dtype, device=S.device)
        L = torch.linalg.cholesky(S)
        inverse = torch.cholesky_inverse(L)
    scale = S.diagonal().sqrt()
    scales = scale[:, None] * scale
    condition = _one_norm(S / scales) * _one_norm(inverse * scales)
    return Factored(x, mean, L, condition, len(S) - c * float(inverse.trace()), c > 0)


def orthonormal_basis(x: Tensor, *, constant: bool, rtol: float) -> Basis:
    """Return an orthonormal basis of the directions of ``x`` (n, p), about its means, that are kept."""
    found = factored(x, constant=constant, rtol=rtol)
    return Basis(_coordinates(x, found, constant=constant, rtol=rtol, ridge=0)[0])


def whitened_product(
    x: Tensor, y: Tensor, *, constant: tuple[bool, bool], rtol: float, ridge: float
) -> tuple[Tensor, Directions, Directions]:
    """Return W_xᵀ W_y (rank_x, rank_y) of two sets, and what is known of their directions; no derivatives."""
    found_x = factored(x, constant=constant[0], rtol=rtol, ridge=ridge)
    found_y = found_x if y is x else factored(y, constant=constant[1], rtol=rtol, ridge=ridge)
    if found_x is not None and found_y is not None and found_x.exact and found_y.exact:
        return found_x.cross(found_y), found_x, found_y
    W_x, side_x = _coordinates(x, found_x, constant=constant[0], rtol=rtol, ridge=ridge)
    if y is x:
        return cross_products([W_x], W_x), side_x, side_x
    W_y, side_y = _coordinates(y, found_y, constant=constant[1], rtol=rtol, ridge=ridge)
    return cross_products([W_x], W_y), side_x, side_y


def _coordinates(
    x: Tensor, found: Factored | None, *, constant: bool, rtol: float, ridge: float
) -> tuple[Tensor, Directions]:
    """Return W (n, rank), and what is known of its directions."""
    if found is not None and (found.exact or not found.shrunk):
        return found.coordinates(), found
    whole = whiten_set(centred(x), constant=constant, rtol=rtol, ridge=ridge)
    return whole.coordinates, whole


def _one_norm(S: Tensor) -> float:
    return float(torch.linalg.matrix_norm(S, 1))
