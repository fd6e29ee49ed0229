"""Activations to test with: correlated pairs, and strategies for drawing shapes."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

quick = settings(max_examples=15, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def correlated(seed, n, p, q, *, noise=1.0):
    """Return x (n, p) and y (n, q), a noisy linear image of it; with spectra that are not flat."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p)) @ (rng.standard_normal((p, p)) / np.sqrt(p) + np.eye(p))
    return x, x @ rng.standard_normal((p, q)) / np.sqrt(p) + noise * rng.standard_normal((n, q))


def rotation(seed, p):
    """Return a random orthogonal matrix (p, p)."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((p, p)))[0]


def pieces(x, cuts):
    """Return x cut before the rows in ``cuts``; pieces may be empty."""
    return np.split(x, sorted(cuts))
