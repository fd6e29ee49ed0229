from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native.calls import hsic_pairs
from tests.native.views import error, view

TOLERANCE = 1e-13  # float64 products and sums, whatever the input


def rows(n, length, seed):
    return np.random.default_rng(seed).normal(size=(n, length))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_two_sets_of_rows(data):
    name = data.draw(st.sampled_from(["float64", "float32"]))
    lengths = st.integers(0, 40)
    n = data.draw(st.integers(0, 800))
    v = view(rows(data.draw(lengths), n, 1), name, spare=data.draw(st.integers(0, 5)))
    w = view(rows(data.draw(lengths), n, 2), name, spare=data.draw(st.integers(0, 5)))
    H = hsic_pairs(v, w, threads=data.draw(st.integers(1, 3)))
    assert error(H.values, v.values @ w.values.T) <= TOLERANCE


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", ["float64", "float32"])
def test_a_set_against_itself_is_symmetric(name, threads):
    v = view(rows(40, 5000, 0), name)
    H = hsic_pairs(v, v, threads)
    assert error(H.values, v.values @ v.values.T) <= TOLERANCE
    assert np.array_equal(H.values, H.values.T)


def test_equal_rows_in_other_memory_give_the_same_numbers():
    v, w = view(rows(30, 2016, 0), "float32"), view(rows(30, 2016, 0), "float32")
    assert error(hsic_pairs(v, v).values, hsic_pairs(v, w).values) <= TOLERANCE


def test_small_differences_of_large_float32_rows_are_kept():
    v = view(1e4 + rows(5, 3000, 0), "float32")
    assert error(hsic_pairs(v, v).values, v.values @ v.values.T) <= TOLERANCE


@pytest.mark.parametrize(("m", "n"), [(0, 7), (7, 0), (0, 0), (300, 200), (130, 1300), (1300, 1100)])
def test_few_and_many_sets_on_either_side(m, n):
    v, w = view(rows(m, 500, 1), "float32"), view(rows(n, 500, 2), "float32")
    H = hsic_pairs(v, w, threads=2)
    assert error(H.values, v.values @ w.values.T) <= TOLERANCE
