"""The flag: every feature j has max_i |x_ij - m_j| <= 4 eps max_i |x_ij|."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import oracle
from tests.native.calls import gram, packed_gram
from tests.native.views import EPSILON, NAMES, view


@pytest.mark.parametrize("centering", oracle.CENTERINGS)
@pytest.mark.parametrize("value", [0.0, 1 / 3, -1000.0, 6e-5])
@pytest.mark.parametrize("name", NAMES)
def test_equal_samples_are_constant(name, value, centering):
    x = view(np.full((26, 200), value), name)
    assert gram(x, centering=centering)[1]
    assert packed_gram(x)[1]


@pytest.mark.parametrize("name", NAMES)
def test_rounding_is_forgiven_and_more_is_not(name):
    values = np.ones((26, 200))
    values[7] += 4 * EPSILON[name]  # 4 eps above 25 others: within 4 eps of the mean
    assert gram(view(values, name))[1]
    values[7] += 12 * EPSILON[name]
    assert not gram(view(values, name))[1]


@pytest.mark.parametrize("p", [1, 192, 193, 700])
@pytest.mark.parametrize("name", NAMES)
def test_one_varying_feature_is_enough(name, p):
    for j in {0, p // 2, p - 1}:
        values = np.full((25, p), 2.0)
        values[24, j] = 3.0
        assert not gram(view(values, name))[1]


def test_features_of_different_scale_are_judged_apart():
    values = np.tile([1e6, 1e-6], (8, 1))
    assert gram(view(values))[1]
    values[3, 1] = 1.1e-6
    assert not gram(view(values))[1]


def test_a_varying_feature_is_found_in_every_threads_share():
    for j in (0, 4000, 7999):
        values = np.ones((50, 8000))
        values[10, j] = 0.0
        assert not gram(view(values), threads=3)[1]


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (1, 5), (7, 0)])
def test_nothing_to_vary_is_constant(shape):
    assert gram(view(np.random.default_rng(0).normal(size=shape)), centering="none")[1]


def test_many_equal_float64_samples_are_constant():
    # Their plain sum is off by more than 4 eps.
    assert gram(view(np.full((1000, 2), 1 / 3)))[1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_finite_is_not_constant(name, bad):
    values = np.ones((5, 9))
    values[2, 4] = bad
    assert not gram(view(values, name))[1]
    assert not gram(view(np.full((5, 9), bad), name))[1]


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_the_flag_is_its_definition(data):
    name = data.draw(st.sampled_from(NAMES))
    n, p = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 20))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    steps = rng.integers(0, data.draw(st.sampled_from([1, 3, 6, 30])), size=(n, p))
    x = view(rng.uniform(1, 2, size=p) * (1 + EPSILON[name] * steps), name)
    within, without = (oracle.constant(x.values, limit * EPSILON[name]) for limit in (3.5, 4.5))
    if within == without:  # else it hangs on the rounding of the mean
        assert gram(x)[1] == within
