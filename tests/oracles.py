"""The formulas of the literature in plain NumPy float64, slow and literal, sharing nothing with the package."""

from __future__ import annotations

import numpy as np

# ---- Kernels and HSIC ----


def kernel_matrix(x, kernel="linear", bandwidth=1.0):
    x = np.asarray(x, dtype=np.float64)
    x = x - x.mean(axis=0)  # changes neither the distances nor a centred Gram
    if kernel == "linear":
        return x @ x.T
    distances = np.sqrt(((x[:, None, :] - x[None, :, :]) ** 2).sum(axis=2))
    median = np.median(distances[np.triu_indices(len(x), k=1)])
    return np.exp(-(distances**2) / (2 * (bandwidth * median) ** 2))


def hsic_biased(K, L):
    n = len(K)
    H = np.eye(n) - np.ones((n, n)) / n
    return np.trace(K @ H @ L @ H) / (n - 1) ** 2


def hsic_unbiased(K, L):
    """Song et al. 2012, equation 5."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    one = np.ones(n)
    return (
        np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ K @ L @ one)
    ) / (n * (n - 3))


def hsic(x, y, kernel="linear", estimator="unbiased", bandwidth=1.0):
    estimate = hsic_unbiased if estimator == "unbiased" else hsic_biased
    return estimate(kernel_matrix(x, kernel, bandwidth), kernel_matrix(y, kernel, bandwidth))


def cka(x, y, kernel="linear", estimator="unbiased", bandwidth=1.0):
    options = kernel, estimator, bandwidth
    return hsic(x, y, *options) / np.sqrt(hsic(x, x, *options) * hsic(y, y, *options))


def u_centred(K):
    """Székely and Rizzo's U-centred matrix: zero on the diagonal."""
    n = len(K)
    off = K - np.diag(np.diag(K))
    rows = off.sum(axis=1)
    U = off - rows[:, None] / (n - 2) - rows[None, :] / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    return U - np.diag(np.diag(U))


def minibatch_cka(batches, kernel="linear", bandwidth=1.0):
    """CKA of [(x, y), ...]: HSICs weighted by n (n - 3), summed over the minibatches before the ratio."""
    sums = np.zeros(3)
    for x, y in batches:
        n = len(x)
        for i, (a, b) in enumerate(((x, y), (x, x), (y, y))):
            sums[i] += n * (n - 3) * hsic(a, b, kernel, "unbiased", bandwidth)
    return sums[0] / np.sqrt(sums[1] * sums[2])


# ---- CCA ----


def orthonormal_basis(x, rtol=1e-6):
    x = np.asarray(x, dtype=np.float64)
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    return u[:, s > rtol * s.max()]


def canonical_correlations(x, y, rtol=1e-6):
    return np.linalg.svd(orthonormal_basis(x, rtol).T @ orthonormal_basis(y, rtol), compute_uv=False)


def ridge_correlations(x, y, ridge):
    """Singular values of (S_x + c I)^(-1/2) S_xy (S_y + d I)^(-1/2), c and d ``ridge`` times the mean variances."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)

    def inverse_root(S):
        values, vectors = np.linalg.eigh(S + ridge * np.trace(S) / len(S) * np.eye(len(S)))
        return vectors / np.sqrt(values) @ vectors.T

    return np.linalg.svd(inverse_root(x.T @ x) @ (x.T @ y) @ inverse_root(y.T @ y), compute_uv=False)


def truncated(x, variance):
    """The projection of the centred x on the fewest principal directions that hold ``variance`` of Σσ²."""
    x = x - x.mean(axis=0)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    kept = int(np.argmax(np.cumsum(s**2) >= variance * np.sum(s**2) * (1 - 1e-12))) + 1
    return u[:, :kept] * s[:kept]


def svcca(x, y, variance=0.99):
    return canonical_correlations(truncated(x, variance), truncated(y, variance)).mean()


def pwcca(x, y, side="x"):
    """Morcos et al. 2018: correlations weighted by how much of the chosen side its variates account for."""
    qx, qy = orthonormal_basis(x), orthonormal_basis(y)
    a, rho, bt = np.linalg.svd(qx.T @ qy)
    r = len(rho)
    variates = qx @ a[:, :r] if side == "x" else qy @ bt.T[:, :r]
    chosen = x if side == "x" else y
    weights = np.abs(variates.T @ (chosen - chosen.mean(axis=0))).sum(axis=1)
    return weights @ rho / weights.sum()


# ---- Procrustes and chance ----


def procrustes(x, y):
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    return np.linalg.norm(x.T @ y, "nuc") / (np.linalg.norm(x) * np.linalg.norm(y))


def permutation_mean_cka(x, y):
    """The mean of the biased linear CKA over all permutations of the rows of y, in closed form."""
    n = len(x)
    H = np.eye(n) - np.ones((n, n)) / n
    K, L = H @ kernel_matrix(x) @ H, H @ kernel_matrix(y) @ H
    return np.trace(K) * np.trace(L) / ((n - 1) * np.linalg.norm(K) * np.linalg.norm(L))


# ---- Moments, by definition ----


def moments(x, y):
    """S_xy, u = Σ|y|²x, v = Σ|x|²y and w = Σ|x|²|y|² of the centred sets."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    xx, yy = (x**2).sum(axis=1), (y**2).sum(axis=1)
    return x.T @ y, yy @ x, xx @ y, xx @ yy
