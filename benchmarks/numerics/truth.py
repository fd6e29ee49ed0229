"""Reference values good to a few parts in 10^16, for inputs of any type, float64 included.

Products of float64 numbers summed in float64 are no reference for float64 results. Here each number is cut into slices
of 20 bits, whose products float64 sums without any rounding; nothing is rounded but the sum of the few exact parts.

References:
    Ozaki, Ogita, Oishi and Rump, "Error-free transformations of matrix multiplication by using fast routines of matrix
    multiplication and its applications", 2012.
"""

from __future__ import annotations

import numpy as np
import torch

_BITS = 20
_SLICES = 3
_TERMS = 1 << (53 - 2 * _BITS)  # as many products of two slices add up to at most 2^53


def product(x: np.ndarray) -> np.ndarray:
    """Return x xᵀ (n, n) of float64 (n, p), each element rounded hardly more than once."""
    _, exponents = np.frexp(np.abs(x).max(axis=1, initial=0.0, keepdims=True))
    # by order of size; what would come next is 2^-80 of the first
    parts = [np.zeros((len(x), len(x))) for _ in range(_SLICES + 1)]
    for first in range(0, x.shape[1], _TERMS):
        slices = _slices(np.ldexp(x[:, first : first + _TERMS], -exponents))
        for i, a in enumerate(slices):
            for j, b in enumerate(slices[: min(i + 1, len(parts) - i)]):
                exact = (torch.from_numpy(a) @ torch.from_numpy(b).T).numpy()  # whoever adds: nothing is rounded
                parts[i + j] += exact if i == j else exact + exact.T
    total = sum(np.ldexp(part, -_BITS * (order + 2)) for order, part in reversed(list(enumerate(parts))))
    return np.ldexp(total, exponents + exponents.T)


def _slices(x: np.ndarray) -> list[np.ndarray]:
    """Return integers of 20 bits: x = s_0 2^-20 + s_1 2^-40 + ..., for |x| < 1."""
    slices = []
    for _ in range(_SLICES):
        x = x * 2.0**_BITS
        slices.append(np.rint(x))
        x = x - slices[-1]
    return slices


def shifted(x: np.ndarray) -> np.ndarray:
    """Return x in float64 less each feature's median: near the mean, unmoved by a far sample, at most one rounding."""
    x = np.asarray(x, dtype=np.float64)
    return x - np.median(x, axis=0)


def rbf(K: np.ndarray) -> np.ndarray:
    """Return the RBF kernel whose width is the median distance, from the linear Gram of the shifted features."""
    d = K.diagonal()
    D = np.maximum(d[:, None] + d[None, :] - 2 * K, 0)
    median = np.median(np.sqrt(D[np.tril_indices(len(D), -1)]))
    return np.exp(-D / (2 * median**2))


def kernel_matrix(x: np.ndarray, kernel: str) -> np.ndarray:
    """Return the linear Gram of the shifted features, or its RBF kernel."""
    K = product(shifted(x))
    return rbf(K) if kernel == "rbf" else K


def centred(K: np.ndarray, centering: str) -> np.ndarray:
    """Return H K H ("double") or the U-centred matrix ("unbiased")."""
    n = len(K)
    if centering == "double":
        rows = K.mean(axis=1)
        return K - rows[:, None] - rows[None, :] + rows.mean()
    off = K - np.diag(K.diagonal())
    rows = off.sum(axis=1)
    U = off - (rows[:, None] + rows[None, :]) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    return U - np.diag(U.diagonal())


def is_constant(x: np.ndarray, eps: float) -> bool:
    """Return whether every feature stays within 4 eps of its mean, relative to its largest value."""
    x = np.asarray(x, dtype=np.float64)
    mean = x[0] + (x - x[0]).mean(axis=0)
    return bool((np.abs(x - mean).max(axis=0) <= 4 * eps * np.abs(x).max(axis=0)).all())
