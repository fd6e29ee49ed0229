"""Orthonormal bases of sets all of whose directions are kept, by Cholesky or QR: a fraction of an SVD's time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyscale.metrics.whitening import Basis, Directions, centred, whiten_set
from pyscale.ops import add_moments_
from pyscale.ops.dtypes import accumulator_dtype, result_dtype

_ROUNDING = 1e-12  # how far moments may put a correlation off, or
_SHARE = 0.01  # this share of what results are rounded to
_STEEPEST = 1e12  # κ up to which S, whose errors are eps times its largest eigenvalue, surely has a least one above 0
_NOTHING = 1e-30  # a variance, of the largest, that is rounding alone: dead channels


@dataclass(frozen=True)
class Factored:
    """The moments about their means, S = L Lᵀ, of a set all of whose directions are kept."""

    x: Tensor  # (n, p): the samples as they came, without features that never vary
    mean: Tensor  # (p,)
    L: Tensor  # (p, p)
    condition: float  # of S with a diagonal of ones, which is what roundings in S and L are multiplied by; a bound
    shrunk = False  # by a ridge

    @property
    def rank(self) -> int:
        """Directions kept."""
        return len(self.L)

    @property
    def total(self) -> float:
        """tr(W Wᵀ) of the orthonormal set."""
        return float(self.rank)

    @property
    def exact(self) -> bool:
        """Whether correlations may come from moments, which square the condition number of the samples."""
        allowed = max(_ROUNDING, _SHARE * torch.finfo(result_dtype(self.x.dtype)).eps)
        return torch.finfo(self.L.dtype).eps * self.condition <= allowed

    def cross(self, other: Factored) -> Tensor:
        """Return W_xᵀ W_y = L_x⁻¹ S_xy L_y⁻ᵀ (p, q), whose singular values are the canonical correlations."""
        if other is self:
            return torch.eye(self.rank, dtype=self.L.dtype, device=self.L.device)
        S = self.L.new_zeros((self.rank, other.rank))
        add_moments_(S, self.x, self.mean, other.x, other.mean)
        half = torch.linalg.solve_triangular(self.L, S, upper=False)
        C: Tensor = torch.linalg.solve_triangular(other.L.T, half, upper=True, left=False)
        return C

    def basis(self) -> Basis:
        """Return an orthonormal basis: X L⁻ᵀ, or from a QR decomposition of X where that would lose digits."""
        wide = centred(self.x)
        if self.exact:
            return Basis(torch.linalg.solve_triangular(self.L.T, wide, upper=True, left=False))
        return Basis(torch.linalg.qr(wide).Q)


def factored(x: Tensor, *, constant: bool, rtol: float) -> Factored | None:
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
    alive = S.diagonal() > _NOTHING * S.diagonal().max()
    if not bool(alive.all()):
        x, mean, S = x[:, alive], mean[alive], S[alive][:, alive]
    L, failed = torch.linalg.cholesky_ex(S)
    if failed:
        return None
    inverse, scale = torch.cholesky_inverse(L), S.diagonal().sqrt()
    if not _one_norm(S) * _one_norm(inverse) < min(rtol**-2 if rtol > 0 else torch.inf, _STEEPEST):
        return None
    scales = scale[:, None] * scale
    return Factored(x, mean, L, _one_norm(S / scales) * _one_norm(inverse * scales))


def orthonormal_basis(x: Tensor, *, constant: bool, rtol: float) -> Basis:
    """Return an orthonormal basis of the directions of ``x`` (n, p), about its means, that are kept."""
    return _basis(x, factored(x, constant=constant, rtol=rtol), constant=constant, rtol=rtol)


def orthonormal_product(
    x: Tensor, y: Tensor, *, constant: tuple[bool, bool], rtol: float
) -> tuple[Tensor, Directions, Directions]:
    """Return W_xᵀ W_y (rank_x, rank_y) of orthonormal bases of two sets, and both sets' directions; no derivatives."""
    found_x = factored(x, constant=constant[0], rtol=rtol)
    found_y = found_x if y is x else factored(y, constant=constant[1], rtol=rtol)
    if found_x is not None and found_y is not None and found_x.exact and found_y.exact:
        return found_x.cross(found_y), found_x, found_y
    wx = _basis(x, found_x, constant=constant[0], rtol=rtol)
    wy = wx if y is x else _basis(y, found_y, constant=constant[1], rtol=rtol)
    return wx.cross(wy), wx, wy


def _basis(x: Tensor, found: Factored | None, *, constant: bool, rtol: float) -> Basis:
    if found is not None:
        return found.basis()
    return Basis(whiten_set(centred(x), constant=constant, rtol=rtol).coordinates)


def _one_norm(S: Tensor) -> float:
    return float(torch.linalg.matrix_norm(S, 1))
