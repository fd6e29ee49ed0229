"""What the kernels must return, written from the definitions in NumPy float64."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np

CENTERINGS = ("none", "double", "unbiased")


def kernel(X, name, bandwidth=1.0):
    if name == "linear":
        return X @ X.T
    n = len(X)
    squares = np.array([[np.sum((a - b) ** 2) for b in X] for a in X]).reshape(n, n)
    distances = [np.sqrt(squares[i, j]) for i, j in itertools.combinations(range(n), 2)]
    sigma = bandwidth * statistics.median(distances) if distances else 1.0
    if sigma == 0:
        return np.full((n, n), np.nan)
    return np.exp(-squares / (2 * sigma**2))


def unbiased(K):
    n = len(K)
    U = np.zeros((n, n))
    off = K - np.diag(np.diag(K))
    r, t = off.sum(axis=1), off.sum()
    for i in range(n):
        for j in range(n):
            if i != j:
                U[i, j] = K[i, j] - r[i] / (n - 2) - r[j] / (n - 2) + t / ((n - 1) * (n - 2))
    return U


def gram(X, name="linear", centering="none", bandwidth=1.0):
    n = len(X)
    if n == 0:
        return np.zeros((0, 0))
    # Both centrings undo any shift of the features, and float64 has digits to lose too.
    K = kernel(X if centering == "none" else X - X.mean(axis=0), name, bandwidth)
    if centering == "double":
        H = np.eye(n) - np.full((n, n), 1 / n)
        return H @ K @ H
    return unbiased(K) if centering == "unbiased" else K


def packed(K):
    return np.array([[K[i, j] for i in range(len(K)) for j in range(i)]])


def cka(X, Y):
    K, L = gram(X, centering="unbiased"), gram(Y, centering="unbiased")
    return np.sum(K * L) / np.sqrt(np.sum(K * K) * np.sum(L * L))


def constant(X, tolerance):
    """Whether every feature stays within ``tolerance`` of its mean, relative to its largest magnitude."""
    for feature in X.T:
        mean = math.fsum(feature) / len(feature)
        if max(abs(feature - mean)) > tolerance * max(abs(feature)):
            return False
    return True
