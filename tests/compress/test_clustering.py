"""K-means on a line against Lloyd's algorithm with all distances written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale.compress.clustering import cluster


def lloyd(values, k):
    """Every distance, every round, linear initialisation, empty clusters left where they are; ties go up."""
    centroids = np.linspace(values.min(), values.max(), k)
    members = None
    while True:
        distances = np.abs(values[:, None] - centroids)
        nearest = k - 1 - np.argmin(distances[:, ::-1], axis=1)
        if members is not None and np.array_equal(nearest, members):
            break
        members = nearest
        for j in range(k):
            if (members == j).any():
                centroids[j] = values[members == j].mean()
    return centroids, members


@pytest.mark.parametrize(("n", "k"), [(50, 2), (200, 7), (1000, 31), (1000, 255)])
def test_it_is_lloyd_s_iteration(n, k):
    values = np.random.default_rng(n + k).normal(size=n)
    centroids, members = cluster(values, k)
    expected, expected_members = lloyd(values, k)
    np.testing.assert_allclose(centroids[members], expected[expected_members], rtol=0, atol=1e-12)
    assert len(centroids) == len(np.unique(expected_members))


@given(
    st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=60),
    st.integers(1, 12),
)
@settings(deadline=None)
def test_every_value_is_nearest_its_own_centroid(numbers, k):
    values = np.array(numbers)
    centroids, members = cluster(values, k)
    assert 1 <= len(centroids) <= k
    assert (np.diff(centroids) > 0).all()
    assert set(members) == set(range(len(centroids)))
    distances = np.abs(values[:, None] - centroids)
    slack = 1e-9 * max(1.0, np.abs(values).max())
    assert (distances[np.arange(len(values)), members] <= distances.min(axis=1) + slack).all()


def test_few_values_are_kept_exactly():
    values = np.array([0.1, 0.7, 0.1, -3.0])
    centroids, members = cluster(values, 5)
    assert np.array_equal(centroids[members], values)


def test_one_cluster_is_the_mean():
    values = np.random.default_rng(0).normal(size=100)
    centroids, members = cluster(values, 1)
    assert centroids == pytest.approx([values.mean()])
    assert not members.any()
