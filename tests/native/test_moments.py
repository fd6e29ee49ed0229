from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale import _native
from tests.native.views import NAMES, error, kept_spare, view

TOLERANCE = 1e-13  # float64 products and sums, whatever the input


def draw_inputs(data, features):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    n = data.draw(st.integers(0, 420))
    spare = st.integers(0, 5)
    views = []
    for p in features:
        x = view(rng.normal(size=(n, p)) + 3, data.draw(st.sampled_from(NAMES)), spare=data.draw(spare))
        views += [x, view(rng.normal(size=(1, p)))]
    return rng, views


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_self_moments_are_added(data):
    p = data.draw(st.integers(0, 60))
    rng, (x, shift) = draw_inputs(data, [p])
    before = rng.normal(size=(p, p))
    before = before + before.T
    S = view(before, spare=3, junk=7.0)
    _native.self_moments(S.matrix, x.matrix, shift.matrix, data.draw(st.integers(1, 3)))
    got = S.storage[:, :p]
    centred = x.values - shift.values
    assert error(got, before + centred.T @ centred) <= TOLERANCE
    assert np.array_equal(got, got.T)
    assert np.all(S.storage[:, p:] == 7.0)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_cross_moments_are_added(data):
    p, q = data.draw(st.integers(0, 60)), data.draw(st.integers(0, 60))
    rng, (x, shift_x, y, shift_y) = draw_inputs(data, [p, q])
    before = rng.normal(size=(p, q))
    S = view(before, spare=2, junk=7.0)
    _native.cross_moments(S.matrix, x.matrix, shift_x.matrix, y.matrix, shift_y.matrix, data.draw(st.integers(1, 3)))
    expected = before + (x.values - shift_x.values).T @ (y.values - shift_y.values)
    assert error(S.storage[:, :q], expected) <= TOLERANCE
    assert np.all(S.storage[:, q:] == 7.0)


def moments(x, threads):
    p = x.values.shape[1]
    S, shift = view(np.zeros((p, p))), view(np.zeros((1, p)))
    _native.self_moments(S.matrix, x.matrix, shift.matrix, threads)
    return S.storage


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_threads_changes_no_bit(name):
    x = view(np.random.default_rng(0).normal(size=(500, 150)), name)
    one = moments(x, 1)
    for threads in (1, 2, 3, 7):
        assert np.array_equal(moments(x, threads), one)


@pytest.mark.parametrize(("n", "p", "q"), [(9001, 130, 60), (40, 2600, 7), (7, 5, 2600)], ids=str)
def test_more_than_is_packed_at_once(n, p, q):
    """Samples go through in slabs, and sums of many features with few in bands."""
    rng = np.random.default_rng(0)
    x, y = view(rng.normal(size=(n, p)) + 3, "float32", spare=2), view(rng.normal(size=(n, q)), "float32", spare=1)
    a, b = view(rng.normal(size=(1, p))), view(rng.normal(size=(1, q)))
    before = rng.normal(size=(p, q))
    expected = before + (x.values - a.values).T @ (y.values - b.values)
    for threads in (1, 3):
        S = view(before, spare=3, junk=7.0)
        _native.cross_moments(S.matrix, x.matrix, a.matrix, y.matrix, b.matrix, threads)
        assert error(S.storage[:, :q], expected) <= TOLERANCE
        assert np.all(S.storage[:, q:] == 7.0)
    own = moments(x, 2)
    assert error(own, x.values.T @ x.values) <= TOLERANCE
    assert np.array_equal(own, own.T)


def test_nonfinite_samples_spoil_their_features():
    values = np.random.default_rng(0).normal(size=(20, 30))
    values[4, 13] = np.nan
    expected = np.zeros((30, 30), dtype=bool)
    expected[13] = expected[:, 13] = True
    assert np.array_equal(np.isnan(moments(view(values, "float32"), 1)), expected)


def test_merging_is_one_rank_more():
    rng = np.random.default_rng(0)
    before, other = rng.normal(size=(2, 31, 17))
    dx, dy = rng.normal(size=(1, 31)), rng.normal(size=(1, 17))
    S = view(before, spare=2, junk=7.0)
    T, *moves = view(other, spare=1), view(dx), view(dy)
    _native.merge_moments(S.matrix, T.matrix, *(move.matrix for move in moves), 0.3)
    assert error(S.storage[:, :17], before + other + 0.3 * dx.T @ dy) <= 1e-15
    assert kept_spare(S._replace(values=S.storage[:, :17]))


def test_merging_halves_gives_the_moments_of_the_whole():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 9)) + 5, rng.normal(size=(50, 4)) - 2
    sums, means = [], []
    for rows in (slice(0, 13), slice(13, 50)):
        means.append((x[rows].mean(axis=0, keepdims=True), y[rows].mean(axis=0, keepdims=True)))
        S = view(np.zeros((9, 4)))
        sides = [view(side) for side in (x[rows], means[-1][0], y[rows], means[-1][1])]
        _native.cross_moments(S.matrix, *(side.matrix for side in sides), 1)
        sums.append(S)
    dx, dy = [view(means[0][side] - means[1][side]) for side in (0, 1)]
    _native.merge_moments(sums[0].matrix, sums[1].matrix, dx.matrix, dy.matrix, 13 * 37 / 50)
    assert error(sums[0].storage, (x - x.mean(axis=0)).T @ (y - y.mean(axis=0))) <= TOLERANCE
