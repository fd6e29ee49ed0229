"""Published and independently reproduced numbers on one vector that anybody can draw."""

from __future__ import annotations

import numpy as np
import pytest

import pyscale as ps


@pytest.fixture(scope="module")
def pair():
    state = np.random.RandomState(1337)  # what np.random.seed(1337) gives
    x = state.randn(100, 10)
    return x, state.randn(100, 10) + x


@pytest.mark.parametrize(
    ("kernel", "estimator", "bandwidth", "expected", "digits"),
    [
        ("linear", "biased", 1.0, 0.5576132566, 1e-10),
        ("linear", "unbiased", 1.0, 0.5134564895, 1e-10),
        ("rbf", "biased", 0.5, 0.6540059, 1e-7),
        ("rbf", "unbiased", 0.5, 0.4199522, 1e-7),
    ],
)
def test_cka(pair, kernel, estimator, bandwidth, expected, digits):
    value = ps.cka(*pair, kernel=kernel, estimator=estimator, bandwidth=bandwidth)
    assert type(value) is float
    assert value == pytest.approx(expected, abs=digits)


def test_cca(pair):
    result = ps.cca(*pair)
    assert result.r2 == pytest.approx(0.54540, abs=5e-6)  # the sets centred; a published 0.54312 forgot to
    assert result.mean == pytest.approx(0.73101, abs=5e-6)
