"""NaN and infinity come through: never hidden, never hanging."""

from __future__ import annotations

import numpy as np
import pytest

from tests.native.calls import gram, hsic_pairs, packed_gram
from tests.native.views import NAMES, error, view
from tests.tolerances import RELATIVE


def spoiled(bad, n=30, p=250):
    values = np.random.default_rng(0).normal(size=(n, p))
    values[25, 200] = bad
    return values


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_raw_gram_spoils_only_its_row_and_column(name, bad):
    x = view(spoiled(bad), name)
    K = gram(x, centering="none")[0].values
    assert not np.isfinite(K[25]).any()
    assert not np.isfinite(K[:, 25]).any()
    others = np.arange(30) != 25
    clean = x.values[others]
    assert error(K[np.ix_(others, others)], clean @ clean.T) <= RELATIVE[name]


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_centred_grams_are_spoiled_whole(name, bad, kernel):
    x = view(spoiled(bad), name)
    assert np.isnan(gram(x, kernel, "double")[0].values).all()
    assert np.isnan(packed_gram(x, kernel)[0].values).all()
    unbiased = gram(x, kernel, "unbiased")[0].values
    assert np.isnan(unbiased[~np.eye(30, dtype=bool)]).all()


def test_overflow_of_float32_products_shows():
    x = view(np.full((3, 4), 1e30), "float32")
    assert np.isinf(gram(x, centering="none")[0].values).all()
    assert np.isinf(gram(view(np.full((3, 4), 1e30)), centering="none", name="float32")[0].values).all()


def test_hsic_pairs_spoil_only_their_row():
    v = np.random.default_rng(0).normal(size=(14, 300))
    v[3, 299] = np.nan
    H = hsic_pairs(view(v), view(v))
    expected = np.zeros((14, 14), dtype=bool)
    expected[3] = expected[:, 3] = True
    assert np.array_equal(np.isnan(H.values), expected)
