"""The formulas as a user of torch writes them, in the type the activations came in."""

from __future__ import annotations

import torch
from torch import Tensor


def with_care(x: Tensor) -> Tensor:
    """Return what a careful user multiplies: 16 bits widened to 32, and each feature less its mean."""
    x = x.float() if x.element_size() == 2 else x
    return x - x.mean(dim=0)


def kernel_matrix(x: Tensor, kernel: str) -> Tensor:
    """Return x xᵀ, or the RBF kernel of the median distance."""
    K = x @ x.T
    if kernel == "linear":
        return K
    d = K.diagonal()
    D = (d[:, None] + d[None, :] - 2 * K).clamp_min(0)
    i, j = torch.tril_indices(len(D), len(D), offset=-1)
    distances = D[i, j].sqrt().sort().values
    median = (distances[(len(distances) - 1) // 2] + distances[len(distances) // 2]) / 2
    return torch.exp(-D / (2 * median.square()))


def centred(K: Tensor, centering: str) -> Tensor:
    """Return H K H ("double"), or the U-centred matrix ("unbiased")."""
    n = len(K)
    if centering == "double":
        H = torch.eye(n, dtype=K.dtype) - 1 / n
        return H @ K @ H
    off = K - torch.diag(K.diagonal())
    rows = off.sum(dim=1)
    U = off - rows[:, None] / (n - 2) - rows[None, :] / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    return U - torch.diag(U.diagonal())


def hsic(K: Tensor, L: Tensor, estimator: str) -> Tensor:
    """Return the biased HSIC of Gretton et al., or the unbiased one of Song et al."""
    n = len(K)
    if estimator == "biased":
        H = torch.eye(n, dtype=K.dtype) - 1 / n
        return torch.trace(K @ H @ L @ H) / (n - 1) ** 2
    K, L = K - torch.diag(K.diagonal()), L - torch.diag(L.diagonal())
    product = K @ L
    return (product.trace() + K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 * product.sum() / (n - 2)) / (n * (n - 3))


def cka(K: Tensor, L: Tensor, estimator: str) -> Tensor:
    """Return the ratio of HSICs."""
    return hsic(K, L, estimator) / (hsic(K, K, estimator) * hsic(L, L, estimator)).sqrt()
