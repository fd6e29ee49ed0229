"""K-means on a line, for the values that the weights of a layer share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

_MOST_ROUNDS = 300


def cluster(values: Values, k: int) -> tuple[Values, npt.NDArray[np.int64]]:
    r"""Lloyd's iteration from centroids spread evenly between the least and the greatest value.

    The sum of squares :math:`\sum_i \min_j |v_i - c_j|^2` falls at every round. On sorted values a cluster is a run
    between two midpoints, and its mean a difference of running sums: a round takes k searches, not k n distances.

    Args:
        values: (n,) finite numbers, n at least 1.
        k: Clusters wanted, at least 1. Where the values are at most k distinct ones, each is its own cluster.

    Returns:
        (m,) increasing centroids, m <= k, none without a member, and (n,) the cluster of each value.

    Example:
        >>> centroids, members = cluster(np.array([0.0, 9.0, 1.0, 11.0]), 2)
        >>> centroids.tolist(), members.tolist()
        ([0.5, 10.0], [0, 1, 0, 1])

    References:
        Han, Mao and Dally, "Deep compression", ICLR 2016 (arXiv 1510.00149), section 3.2: linear initialisation keeps
        the few large weights, which matter most.
    """
    distinct = np.unique(values)
    if len(distinct) <= k:
        return distinct, np.searchsorted(distinct, values)
    ordered = np.sort(values)
    sums = np.concatenate(([0.0], np.cumsum(ordered)))
    centroids = np.linspace(ordered[0], ordered[-1], k)
    edges = np.empty(0, dtype=np.int64)
    for _ in range(_MOST_ROUNDS):
        moved = np.concatenate(([0], np.searchsorted(ordered, _midpoints(centroids)), [len(ordered)]))
        if np.array_equal(moved, edges):
            break
        edges = moved
        counts = np.diff(edges)
        filled = counts > 0
        centroids[filled] = np.diff(sums[edges])[filled] / counts[filled]
    centroids = np.unique(centroids[np.diff(edges) > 0])
    return centroids, np.searchsorted(_midpoints(centroids), values, side="right")


def _midpoints(centroids: Values) -> Values:
    return (centroids[1:] + centroids[:-1]) / 2
