"""Stratified, seeded choices: which samples are held out, which make a subset."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyscale.train.seeding import check_seed

Indices = npt.NDArray[np.int64]


def stratified_subset(labels: npt.ArrayLike, n: int, seed: int = 0) -> Indices:
    """Choose ``n`` samples so that every class keeps its share, to within one sample.

    Shares are rounded by the largest remainder; where n allows, every class present keeps at least one sample.

    Args:
        labels: (N,) integer classes.
        n: How many to choose, 1 <= n <= N.
        seed: Which samples; the same seed gives the same choice on every machine.

    Returns:
        (n,) indices in increasing order.

    Raises:
        ValueError: If n is out of range.

    Example:
        >>> labels = [0, 0, 0, 0, 1, 1]
        >>> chosen = stratified_subset(labels, 3, seed=0)
        >>> [labels[i] for i in chosen]
        [0, 0, 1]
    """
    labels = np.asarray(labels)
    if not 1 <= n <= len(labels):
        raise ValueError(f"n must be between 1 and the {len(labels)} samples there are, got {n}")
    rng = np.random.default_rng(check_seed(seed))
    classes, counts = np.unique(labels, return_counts=True)
    chosen = [
        rng.permutation(np.flatnonzero(labels == label))[:quota]
        for label, quota in zip(classes, _quotas(counts, n), strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def stratified_split(labels: npt.ArrayLike, fraction: float, seed: int = 0) -> tuple[Indices, Indices]:
    """Hold out a stratified share of the samples.

    Args:
        labels: (N,) integer classes.
        fraction: Share held out, in (0, 1); rounded to whole samples.
        seed: Which samples.

    Returns:
        The kept and the held-out indices, each in increasing order: disjoint, together all.

    Raises:
        ValueError: If the fraction leaves one side empty.

    Example:
        >>> kept, held_out = stratified_split([0, 0, 0, 1, 1, 1], 1 / 3)
        >>> len(kept), len(held_out)
        (4, 2)
    """
    labels = np.asarray(labels)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}")
    n = round(fraction * len(labels))
    if not 0 < n < len(labels):
        raise ValueError(f"fraction {fraction} of {len(labels)} samples leaves one side of the split empty")
    held_out = stratified_subset(labels, n, seed)
    return np.setdiff1d(np.arange(len(labels), dtype=np.int64), held_out), held_out


def _quotas(counts: Indices, n: int) -> Indices:
    exact = counts * (n / counts.sum())
    quotas: Indices = np.floor(exact).astype(np.int64)
    if n >= len(counts):
        quotas = np.maximum(quotas, 1)
    while (missing := n - int(quotas.sum())) != 0:  # at most one round a class
        if missing > 0:
            quotas[np.argmax(np.where(quotas < counts, exact - quotas, -np.inf))] += 1
        else:
            quotas[np.argmin(np.where(quotas > 1, exact - quotas, np.inf))] -= 1
    return quotas
