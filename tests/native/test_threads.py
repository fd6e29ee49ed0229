"""The same bits for the same input and number of threads; nearly the same for another number."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native.calls import gram, hsic_pairs
from tests.native.views import error, view
from tests.tolerances import RELATIVE

# Enough work for three threads: many features, which they share; few, where they share the tiles; and so many samples
# that tiles take in several chunks of features at once, the last time fewer.
SHAPES = [(40, 9000), (400, 100), (1500, 800)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["float64", "float32"])
def test_threads_agree(name, shape):
    x = view(np.random.default_rng(0).normal(size=shape) + 1, name)
    one = gram(x, centering="unbiased")[0].values
    for threads in (2, 3, 8):
        many = gram(x, centering="unbiased", threads=threads)[0].values
        assert error(many, one) <= RELATIVE[name]
        assert np.array_equal(many, many.T)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_call_gives_the_same_bits(threads, shape):
    x = view(np.random.default_rng(0).normal(size=shape), "float32")
    first = gram(x, "rbf", threads=threads)[0].values
    pairs = hsic_pairs(x, x, threads).values
    for _ in range(5):
        assert np.array_equal(gram(x, "rbf", threads=threads)[0].values, first)
        assert np.array_equal(hsic_pairs(x, x, threads).values, pairs)


def test_where_the_input_lies_does_not_matter():
    values = np.random.default_rng(0).normal(size=(40, 3001))
    first = gram(view(values, "float32"))[0].values
    for spare in (1, 2, 7, 1095):  # the last makes rows of whole pages
        assert np.array_equal(gram(view(values, "float32", spare))[0].values, first)
