from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscale.train.splitting import stratified_split, stratified_subset

LABELS = st.lists(st.integers(0, 5), min_size=2, max_size=200).map(np.asarray)


@given(LABELS, st.floats(0, 1), st.integers(0, 10))
def test_every_class_keeps_its_share(labels, share, seed):
    n = max(1, round(share * len(labels)))
    chosen = stratified_subset(labels, n, seed)
    assert len(chosen) == n
    assert (np.diff(chosen) > 0).all()
    classes, counts = np.unique(labels, return_counts=True)
    kept = np.array([np.sum(labels[chosen] == label) for label in classes])
    assert (kept <= counts).all()
    if n >= len(classes):
        assert (kept >= 1).all()
    shares = counts * n / len(labels)
    if (shares >= 1).all():
        assert (np.abs(kept - shares) < 1 + 1e-9).all()


@given(LABELS.filter(lambda labels: len(labels) > 4), st.integers(0, 10))
def test_a_split_is_disjoint_and_complete(labels, seed):
    kept, held_out = stratified_split(labels, 0.3, seed)
    assert sorted([*kept, *held_out]) == list(range(len(labels)))
    assert len(held_out) == round(0.3 * len(labels))


def test_the_seed_decides():
    labels = np.arange(1000) % 10
    assert np.array_equal(stratified_subset(labels, 100, 1), stratified_subset(labels, 100, 1))
    assert not np.array_equal(stratified_subset(labels, 100, 1), stratified_subset(labels, 100, 2))


def test_a_rare_class_is_not_lost():
    labels = np.array([0] * 990 + [1] * 10)
    assert 1 in labels[stratified_subset(labels, 20)]


@pytest.mark.parametrize("n", [0, 7])
def test_an_impossible_size_is_refused(n):
    with pytest.raises(ValueError, match="n must be between 1 and the 6"):
        stratified_subset([0, 1, 2, 0, 1, 2], n)


@pytest.mark.parametrize("fraction", [0.0, 1.0, 0.01, -1])
def test_an_impossible_fraction_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction"):
        stratified_split([0, 1, 2, 0, 1, 2], fraction)


def test_a_seed_must_be_a_count():
    with pytest.raises(TypeError, match="seed must be an int, got float"):
        stratified_subset([0, 1], 1, 0.5)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        stratified_subset([0, 1], 1, -1)
