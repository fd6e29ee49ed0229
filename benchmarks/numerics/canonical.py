"""CCA of sets whose correlations and singular values are known because the sets were made of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

import pyscale as ps
from benchmarks.numerics.grid import finite
from benchmarks.numerics.rows import Row

N, P, Q = 400, 12, 8
EPS = float(np.finfo(np.float64).eps)
TIED = (0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.1, 0.1)
APART = (0.95, 0.9, 0.8, 0.7, 0.5, 0.3, 0.2, 0.1)
ENDS = (1.0, 1.0, 1.0, 0.5, 0.5, 0.0, 0.0, 0.0)


class Case(NamedTuple):
    """Two sets and what is true of them."""

    name: str
    x: np.ndarray  # (N, P)
    y: np.ndarray  # (N, Q)
    correlations: np.ndarray  # of the directions above rtol
    ranks: tuple[int, int]
    condition: float  # the largest singular value over the least of those kept
    rtol: float


def cases() -> Iterator[Case]:
    """Yield what breaks covariances that are inverted."""
    yield _made("full rank", APART)
    yield _made("means of 1000 σ", APART, mean=1000.0)
    yield _made("tied correlations", TIED)
    yield _made("correlations of 1 and 0", ENDS)
    yield _made("rank 8 of 12 columns", APART, least=(0.0,) * 4)
    yield _made("near-duplicate, 1e-5 apart", APART, least=(1e-5,))
    yield _made("near-duplicate, 1e-6 apart, rtol 1e-8", APART, least=(1e-6,), rtol=1e-8)
    yield _made("near-duplicate, 1e-9 apart", APART, least=(1e-9,))
    yield _made("near-duplicate, 1e-9 apart, rtol 1e-12", APART, least=(1e-9,), rtol=1e-12)
    yield _made("tied, rank 8 of 12 columns", TIED, least=(0.0,) * 4)


def _made(
    name: str, rho: tuple[float, ...], *, least: tuple[float, ...] = (), mean: float = 0.0, rtol: float = 1e-6
) -> Case:
    """Make x = A diag(s) Vᵀ and y = B diag(t) Wᵀ with AᵀB = Rᵀ diag(ρ) S, all bases known, plus means of that many σ.

    The ``least`` singular values of x relative to its largest are given; the rest are between 1 and 3.
    """
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(np.column_stack([np.ones(N), rng.standard_normal((N, P + Q))]))[0][:, 1:]
    cosines = np.asarray(rho)
    left, right = basis[:, :P], basis[:, :Q] * cosines + basis[:, P:] * np.sqrt(1 - cosines**2)
    R, S, V, W = (np.linalg.qr(rng.standard_normal((size, size)))[0] for size in (P, Q, P, Q))
    s, t = np.linspace(3, 1, P), np.linspace(3, 1, Q)
    if least:
        s[-len(least) :] = 3 * np.asarray(least)
    x, y = left @ R * s @ V.T, right @ S * t @ W.T
    x, y = x + mean * x.std(), y + mean * y.std()
    kept = s > rtol * s.max()
    cross = (R.T[:, :Q] * cosines @ S)[kept]  # (left R)ᵀ (right S)
    correlations = np.linalg.svd(cross, compute_uv=False)
    return Case(name, x, y, correlations, (int(kept.sum()), Q), float(s.max() / s[kept].min()), rtol)


def rows() -> Iterator[Row]:
    """Yield the largest error of a correlation, infinity where a rank is wrong.

    The data are rounded, so correlations are known up to eps times the condition; moments hold its square.
    """
    for case in cases():
        textbook = _error(_textbook(case.x, case.y), case)
        mean = max(1.0, float(np.abs(case.x.mean(axis=0)).max()) * np.sqrt(N))  # what rounding is relative to
        bound = 64 * EPS * case.condition * mean
        yield Row("cca", case.name, "cca", "float64", _functional(case), textbook, tolerance=max(1e-12, bound))
        if case.rtol >= 1e-7:  # beyond, moments can't hold a direction
            bound *= case.condition
            yield Row(
                "cca", case.name, "StreamingCCA", "float64", _streaming(case), textbook, tolerance=max(1e-12, bound)
            )


def _functional(case: Case) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = ps.cca(case.x, case.y, rtol=case.rtol)
    return _error(result.correlations, case, (result.rank_x, result.rank_y))


def _streaming(case: Case) -> float:
    metric = ps.metrics.StreamingCCA(rtol=case.rtol)
    for x, y in zip(np.array_split(case.x, 7), np.array_split(case.y, 7), strict=True):
        metric.update(torch.from_numpy(x), torch.from_numpy(y))
    result = metric.compute()
    return _error(result.correlations.numpy(), case, (result.rank_x, result.rank_y))


def _error(found: np.ndarray, case: Case, ranks: tuple[int, int] | None = None) -> float:
    if ranks is not None and ranks != case.ranks:
        return float("inf")
    size = min(len(found), len(case.correlations))
    return finite(float(np.abs(found[:size] - case.correlations[:size]).max()))


def _textbook(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the roots of the eigenvalues of S_x⁻¹ S_xy S_y⁻¹ S_yx, from one covariance matrix."""
    S = np.cov(np.hstack([x, y]), rowvar=False)
    Sx, Sxy, Sy = S[:P, :P], S[:P, P:], S[P:, P:]
    try:
        squares = np.linalg.eigvals(np.linalg.solve(Sx, Sxy) @ np.linalg.solve(Sy, Sxy.T)).real
    except np.linalg.LinAlgError:
        return np.full(Q, np.nan)
    return np.sort(np.sqrt(np.maximum(squares, 0)))[::-1]
