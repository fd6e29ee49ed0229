"""Sums over the singular values of many matrices at once: nuclear norms, and what canonical correlations come to.

On GPUs a loop over singular value decompositions takes minutes where matrix products take seconds, so there nuclear
norms come from the polar factor: with M = U H, U having orthonormal rows, |M|_* = tr(Uᵀ M). On CPUs they come from
LAPACK, whose matrices the threads share; correlations from the eigenvalues of C Cᵀ where those hold enough digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Tensor

from pyscale.metrics.side_by_side import shared

_ERROR = 1e-11  # of sums that are not from singular values, relative; how far a correlation may exceed 1 unnoticed
_STEEPEST = 1.697  # a step takes σ = 1 to 0.1 and no lower, where rounding would turn directions
_CONVERGED = 1e-14
_GRAIN = 16  # ranks are filled up to multiples of this


def nuclear_norms(M: Tensor) -> Tensor:
    """Return the sum of the singular values of each of a batch of matrices (B, r, s), shape (B,)."""
    if not _decomposed(M):
        return polar_nuclear_norms(M)
    return torch.cat(shared(lambda part: torch.linalg.svdvals(part).sum(dim=-1), M))


def polar_nuclear_norms(M: Tensor) -> Tensor:
    r"""Return the sum of the singular values of each of a batch of matrices (B, r, s), by matrix products alone.

    With X = M / |M|_F to start from, scaled Newton-Schulz steps

    .. math:: X \leftarrow \tfrac32 \rho X - \tfrac12 \rho^3 X X^\top X

    take every singular value :math:`\sigma \ge \ell` to 1 and leave the singular vectors. Their number depends on
    :math:`\ell` alone, not on the data: a stop where the trace stands still would be fooled by small singular values,
    which hardly move it until they are large. Those under :math:`\ell` are taken to something in [0, 1], which loses at
    most :math:`\ell` for each of the r; :math:`\ell` = 1e-11 / r keeps the relative error of the sum under 1e-11. Rank
    deficiency and ties need no care, and rows or columns of zeros change nothing.

    References:
        Chen and Chow, "A stable scaling of Newton-Schulz for improving the sign function computation of a Hermitian
        matrix", 2014; Nakatsukasa and Higham, "Backward stability of iterations for computing the polar
        decomposition", 2012.
    """
    M = M if M.shape[1] <= M.shape[2] else M.mT
    if M.numel() == 0:
        return M.new_zeros(len(M))
    largest = M.abs().amax(dim=(1, 2), keepdim=True)  # first: squares may leave float64's range
    M = M / torch.where(largest > 0, largest, 1.0)
    norm = torch.linalg.vector_norm(M, dim=(1, 2))
    M = M / torch.where(norm > 0, norm, 1.0)[:, None, None]
    X = M
    for rho in scales(_ERROR / max(M.shape[1], 1)):
        X = torch.baddbmm(X, X @ X.mT, X, beta=1.5 * rho, alpha=-0.5 * rho**3)
    norms: Tensor = largest[:, 0, 0] * (norm * (X * M).sum(dim=(1, 2)))
    return norms


@lru_cache(maxsize=64)
def scales(least: float) -> tuple[float, ...]:
    """Return ρ of the steps that take all of [least, 1] to 1.

    Each is the best for the interval that the singular values are then known to be in, up to a largest one.
    """
    found = []
    while 1 - least > _CONVERGED:
        rho = min(math.sqrt(3 / (1 + least + least**2)), _STEEPEST)
        least = min(1.5 * rho * end - 0.5 * (rho * end) ** 3 for end in (least, 1.0))
        found.append(rho)
    return tuple(found)


def correlation_sums(C: Tensor, *, squares: bool) -> Tensor:
    """Return Σρ, or Σρ², of the canonical correlations of each of a batch of whitened cross products (B, r, s).

    Correlations that rounding has put over 1 count as 1; the rare products that have any are decomposed.
    """
    sums: Tensor
    if not squares and _decomposed(C):
        return torch.cat(shared(_sums_by_eigenvalues, C))
    sums = C.square().sum(dim=(1, 2)) if squares else nuclear_norms(C)
    over = _exceeds_one(C)
    if bool(over.any()):
        rho = torch.linalg.svdvals(C[over]).clamp(max=1)
        sums[over] = (rho.square() if squares else rho).sum(dim=-1)
    return sums


def decomposed(C: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield U, σ and V, singular vectors in columns, of each of a batch of matrices (B, r, s)."""
    for left, sigma, right in shared(lambda part: torch.linalg.svd(part, full_matrices=False), C):
        yield from zip(left, sigma, right.mT, strict=True)


def _sums_by_eigenvalues(C: Tensor) -> Tensor:
    """Return Σ min(σ, 1) of each of a batch of matrices (B, r, s): by eigenvalues σ² of C Cᵀ in half the time of σ.

    They have errors of about δ = 4 eps sqrt(r) max σ², so σ has one of δ/σ, or of sqrt(δ) where it is 0. Matrices in
    which these add up to more than 1e-11 of the sum are decomposed themselves.
    """
    C = C if C.shape[1] <= C.shape[2] else C.mT
    squares = torch.linalg.eigvalsh(C @ C.mT).clamp_min(0)
    sigma = squares.sqrt()
    delta = 4 * torch.finfo(C.dtype).eps * math.sqrt(C.shape[1]) * squares[:, -1:]
    error = torch.minimum(delta.sqrt(), delta / sigma).sum(dim=1)
    sums: Tensor = sigma.clamp(max=1).sum(dim=1)
    lost = error > _ERROR * sigma.sum(dim=1)
    if bool(lost.any()):
        sums[lost] = torch.linalg.svdvals(C[lost]).clamp(max=1).sum(dim=1)
    return sums


def filled_up(directions: Tensor) -> Tensor:
    """Return directions (p, r), where that helps with zeros for more of them: products of one shape go together."""
    more = 0 if _decomposed(directions) else -directions.shape[1] % _GRAIN
    return torch.nn.functional.pad(directions, (0, more))


def _decomposed(M: Tensor) -> bool:
    """Return whether singular values are faster computed than avoided."""
    # On the CPU they are: one thread of an x86, float64, milliseconds a matrix by svdvals and by the polar iteration:
    # 0.02 and 0.12 at 16 x 16, 0.27 and 1.7 at 64, 8.3 and 75 at 256, 310 and 4250 at 1024; eigenvalues of C Cᵀ and
    # the product take 0.016, 0.18, 5.0 and 195 (at 512: 33, and svdvals 51). GPUs decompose one matrix
    # after the other, and multiply all at once; that has not been measured here.
    return M.device.type == "cpu"


def _exceeds_one(C: Tensor) -> Tensor:
    """Return which matrices of a batch have a singular value over 1 by more than rounding (B,): I - C Cᵀ shows it."""
    C = C if C.shape[1] <= C.shape[2] else C.mT
    identity = torch.eye(C.shape[1], dtype=C.dtype, device=C.device)
    over: Tensor = torch.linalg.cholesky_ex((1 + _ERROR) * identity - C @ C.mT).info != 0
    return over
