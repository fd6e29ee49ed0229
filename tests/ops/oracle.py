"""Grams written from their definitions, in NumPy float64, with explicit loops where a loop is the definition."""

from __future__ import annotations

import numpy as np


def gram(X, kernel="linear", centering="none", bandwidth=1.0):
    X = np.asarray(X, dtype=np.float64)
    n = len(X)
    if kernel == "linear":
        # means are removed with exact arithmetic order: centre first wherever the centring makes it irrelevant
        Z = X - X.mean(axis=0) if centering != "none" else X
        K = Z @ Z.T
    else:
        D = np.array([[np.sum((a - b) ** 2) for b in X] for a in X]).reshape(n, n)
        off = [np.sqrt(D[i, j]) for i in range(n) for j in range(n) if i != j]
        K = np.exp(-D / (2 * (bandwidth * np.median(off)) ** 2))
    if centering == "double":
        H = np.eye(n) - np.ones((n, n)) / n
        return H @ K @ H
    if centering == "unbiased":
        K = K - np.diag(np.diag(K))
        r, t = K.sum(axis=1), K.sum()
        U = K - r[:, None] / (n - 2) - r[None, :] / (n - 2) + t / ((n - 1) * (n - 2))
        return U - np.diag(np.diag(U))
    return K


def packed(K):
    return np.array([K[i, j] for i in range(len(K)) for j in range(i)])
