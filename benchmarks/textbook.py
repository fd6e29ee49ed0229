"""Similarities as textbooks write them, in NumPy: a rival in the type of its inputs, the truth in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def centred(x: Array) -> Array:
    return x - x.mean(axis=0)


def gram(x: Array, kernel: str = "linear", diagonal: bool = False) -> Array:
    """The Gram matrix; an RBF kernel as wide as the median distance, of all pairs or of those off the diagonal."""
    K = x @ x.T
    if kernel == "linear":
        return K
    square = np.maximum(np.diag(K)[:, None] + np.diag(K)[None, :] - 2 * K, 0)
    distances = np.sqrt(square if diagonal else square[np.triu_indices(len(K), 1)])
    return np.exp(-square / (2 * np.median(distances) ** 2))


def hsic(K: Array, L: Array, estimator: str = "unbiased") -> Any:
    n = len(K)
    if estimator == "biased":
        means = K.mean(axis=0)
        return np.vdot(K - means[:, None] - means[None, :] + means.mean(), L) / (n - 1) ** 2
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    k, m = K.sum(axis=0), L.sum(axis=0)
    return (np.vdot(K, L) + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 * (k @ m) / (n - 2)) / (n * (n - 3))


def cka(x: Array, y: Array, kernel: str = "linear", estimator: str = "unbiased", diagonal: bool = False) -> float:
    K, L = gram(x, kernel, diagonal), gram(y, kernel, diagonal)
    return float(hsic(K, L, estimator) / np.sqrt(hsic(K, K, estimator) * hsic(L, L, estimator)))


def cka_of_features(x: Array, y: Array) -> float:
    """Biased linear CKA without an n x n matrix: |YᵀX|² / (|XᵀX| |YᵀY|) of centred features."""
    x, y = centred(x), centred(y)
    return float(np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)))


def canonical_correlations(x: Array, y: Array, ridge: float = 0.0) -> Array:
    """Singular values of Sxx^(-1/2) Sxy Syy^(-1/2), ``ridge`` times the mean variance on the diagonals."""
    x, y = centred(x), centred(y)
    return np.linalg.svd(_inverse_root(x.T @ x, ridge) @ (x.T @ y) @ _inverse_root(y.T @ y, ridge), compute_uv=False)


def canonical_correlations_by_svd(x: Array, y: Array) -> Array:
    """Singular values of Q_xᵀ Q_y, with the bases from thin singular value decompositions (Björck and Golub, 1973)."""
    Q_x, Q_y = (np.linalg.svd(centred(side), full_matrices=False)[0] for side in (x, y))
    return np.linalg.svd(Q_x.T @ Q_y, compute_uv=False)


def canonical_correlations_as_svcca(x: Array, y: Array) -> Array:
    """As SVCCA's authors go about it: the covariance of both sets at once, pseudo-inverses, all vectors."""
    p = x.shape[1]
    S = np.cov(x.T, y.T)
    roots = [_root(np.linalg.pinv(block)) for block in (S[:p, :p], S[p:, p:])]
    return np.linalg.svd(roots[0] @ S[:p, p:] @ roots[1])[1]


def _root(S: Array) -> Array:
    values, vectors = np.linalg.eigh(S)
    return vectors * np.sqrt(np.abs(values)) @ vectors.T


def _inverse_root(S: Array, ridge: float) -> Array:
    values, vectors = np.linalg.eigh(S + ridge * np.trace(S) / len(S) * np.eye(len(S), dtype=S.dtype))
    return vectors / np.sqrt(values) @ vectors.T
