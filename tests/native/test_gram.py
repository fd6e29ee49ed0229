from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native import oracle
from tests.native.calls import gram, packed_gram
from tests.native.views import NAMES, error, kept_spare, view
from tests.tolerances import RELATIVE

# Panels hold 6, 12, 24 or 48 rows and chunks 192 features; one off either side of each.
ROWS = (0, 1, 2, 3, 4, 5, 11, 12, 13, 23, 24, 25, 47, 48, 49, 97)
FEATURES = (0, 1, 15, 16, 17, 191, 192, 193, 1000)


def samples(n, p, seed=0, mean=3.0, scale=1.0):
    return scale * (np.random.default_rng(seed).normal(size=(n, p)) + mean)


@pytest.mark.parametrize("centering", oracle.CENTERINGS)
@pytest.mark.parametrize("name", NAMES)
def test_every_edge_shape_matches_the_definition(name, centering):
    for n in ROWS:
        if centering == "unbiased" and n == 2:
            continue  # divides by n - 2; see below
        for p in FEATURES:
            x = view(samples(n, p), name, spare=(n + p) % 3)
            K, _ = gram(x, centering=centering)
            # Of three samples the unbiased centring leaves nothing but rounding.
            scale = np.linalg.norm(oracle.gram(x.values, centering="double")) if n == 3 else 0.0
            assert error(K.values, oracle.gram(x.values, centering=centering), scale) <= RELATIVE[name], (n, p)
            assert np.array_equal(K.values, K.values.T), (n, p)


def test_two_samples_have_no_unbiased_centring():
    K, _ = gram(view([[1.0], [2.0]]), centering="unbiased")
    assert np.isnan(K.values[0, 1])
    assert np.isnan(K.values[1, 0])
    assert K.values[0, 0] == K.values[1, 1] == 0


@pytest.mark.parametrize("name", NAMES)
def test_many_features_stay_as_accurate_as_few(name):
    x = view(samples(25, 40_000), name)
    K, _ = gram(x, centering="unbiased", threads=2)
    assert error(K.values, oracle.gram(x.values, centering="unbiased")) <= RELATIVE[name] / 10


@pytest.mark.parametrize("centering", ["double", "unbiased"])
@pytest.mark.parametrize("name", ["float64", "float32"])
def test_large_means_cost_no_digits(name, centering):
    x = view(samples(30, 2000, mean=1000.0), name)
    K, _ = gram(x, centering=centering)
    assert error(K.values, oracle.gram(x.values, centering=centering)) <= RELATIVE[name]


@pytest.mark.parametrize("mean", [0.0, 0.5, 2.0, 30.0, "some", "one"])
@pytest.mark.parametrize("centering", oracle.CENTERINGS)
def test_bfloat16_is_as_exact_multiplied_in_pairs_as_shifted(centering, mean):
    """Features with means are shifted, others multiplied as they are where the instruction set has such products."""
    p = 3 * 192 + 57
    values = samples(50, p, mean=0.0 if isinstance(mean, str) else mean)
    if mean == "some":
        values[:, 192:384] += 30
    if mean == "one":  # sample, far from the others
        values[7] += 100
    for odd in (0, 1):
        x = view(values[:, odd:], "bfloat16", spare=odd)
        K, _ = gram(x, centering=centering)
        assert error(K.values, oracle.gram(x.values, centering=centering)) <= 2e-6
        assert np.array_equal(K.values, gram(x, centering=centering, threads=3)[0].values)


def test_chunks_that_are_multiplied_at_once_may_be_of_both_kinds():
    values = samples(1500, 5 * 192 + 40, mean=0.0)
    values[:, 192:384] += 30  # shifted: the chunks beside it go in pairs where there are such products
    x = view(values, "bfloat16")
    K, _ = gram(x, threads=2)
    assert error(K.values, oracle.gram(x.values, centering="double")) <= 2e-6
    assert np.array_equal(K.values, K.values.T)


@pytest.mark.parametrize("size", [1e-30, 1e-38, 1e-40])  # 1e-38 is less than bfloat16's smallest normal number
def test_bfloat16_squares_below_float32s_smallest_numbers_are_not_lost(size):
    x = view(samples(20, 200, mean=0.0, scale=size), "bfloat16")
    K, _ = gram(x)
    assert error(K.values, oracle.gram(x.values, centering="double")) <= RELATIVE["bfloat16"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bfloat16_that_is_not_finite_shows(value):
    values = samples(9, 40, mean=0.0)
    values[4, 33] = value
    K, _ = gram(view(values, "bfloat16"), centering="none")
    assert not np.isfinite(K.values[4, 4])
    assert np.isfinite(np.delete(np.delete(K.values, 4, 0), 4, 1)).all()


def test_cka_at_means_of_a_thousand_deviations():
    shared = samples(64, 500, mean=0.0)
    x, y = (view(shared + samples(64, 500, seed, mean=1000.0), "float32") for seed in (1, 2))
    v, w = (packed_gram(z, name="float32")[0].values[0].astype(np.float64) for z in (x, y))
    assert abs(v @ w / np.sqrt((v @ v) * (w @ w)) - oracle.cka(x.values, y.values)) <= 1e-6


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("name", NAMES)
def test_errors_are_relative_to_the_scale(name, scale):
    x = view(samples(13, 300, scale=scale), name)
    K, _ = gram(x)
    assert error(K.values, oracle.gram(x.values, centering="double")) <= RELATIVE[name]


def test_half_precision_is_converted_exactly():
    bits = np.arange(1 << 16, dtype=np.uint16)
    halves = bits.view(np.float16)
    finite = halves[np.isfinite(halves)].astype(np.float64)  # every subnormal, zero and normal number
    for start in range(0, len(finite), 16):
        x = view(finite[None, start : start + 16], "float16")
        K, _ = gram(x, centering="none")
        assert K.values[0, 0] == pytest.approx(np.sum(x.values**2), rel=1e-6)


@pytest.mark.parametrize("name", ["float64", "float32"])
def test_output_type_and_pitch_are_the_callers(name):
    x = view(samples(27, 100))
    K, _ = gram(x, name=name, spare=5)
    assert kept_spare(K)
    assert np.array_equal(K.values, gram(x)[0].values.astype(name))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_shape_and_pitch(data):
    name = data.draw(st.sampled_from(NAMES))
    centering = data.draw(st.sampled_from(oracle.CENTERINGS))
    n, p = data.draw(st.integers(4, 60)), data.draw(st.integers(0, 420))
    x = view(samples(n, p, seed=data.draw(st.integers(0, 99))), name, spare=data.draw(st.integers(0, 9)))
    K, _ = gram(x, centering=centering, threads=data.draw(st.integers(1, 4)), spare=data.draw(st.integers(0, 3)))
    assert error(K.values, oracle.gram(x.values, centering=centering)) <= RELATIVE[name]
    assert np.array_equal(K.values, K.values.T)
    assert kept_spare(K)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("name", ["float64", "float32"])
def test_packed_triangle_is_the_unbiased_one(name, kernel):
    for n in (3, 4, 5, 24, 25, 50):
        x = view(samples(n, 70), "float32")
        v, _ = packed_gram(x, kernel, 0.7, name=name)
        K, _ = gram(x, kernel, "unbiased", 0.7, name=name)
        assert np.array_equal(v.values, oracle.packed(K.values))


@pytest.mark.parametrize("n", [0, 1])
def test_packed_triangle_of_fewer_than_two_samples_is_empty(n):
    v, flag = packed_gram(view(np.ones((n, 3))))
    assert v.values.shape == (1, 0)
    assert flag


@pytest.mark.parametrize("centering", oracle.CENTERINGS)
@pytest.mark.parametrize("n", [3, 4, 5, 6, 25])  # odd and even numbers of pairs
@pytest.mark.parametrize("name", NAMES)
def test_rbf_matches_the_definition(name, n, centering):
    x = view(samples(n, 50, mean=0.0), name)
    K, _ = gram(x, "rbf", centering, 0.5)
    assert error(K.values, oracle.gram(x.values, "rbf", centering, 0.5), scale=n**0.5) <= RELATIVE[name]
    assert np.array_equal(K.values, K.values.T)


def test_rbf_distances_survive_large_means():
    x = view(samples(20, 300, mean=1000.0), "float32")
    K, _ = gram(x, "rbf", "none")
    assert error(K.values, oracle.gram(x.values - x.values.mean(axis=0), "rbf")) <= RELATIVE["float32"]


def test_rbf_of_one_or_no_sample():
    assert gram(view([[5.0, 6.0]]), "rbf", "none")[0].values == 1
    assert gram(view(np.zeros((0, 2))), "rbf", "none")[0].values.shape == (0, 0)


def test_rbf_without_a_scale_is_nan():
    same = np.ones((5, 3))
    same[0] = 2.0  # 4 of the 10 distances are not 0, the median is
    for values in (same, np.ones((5, 3)), np.zeros((3, 0))):
        K, _ = gram(view(values), "rbf", "none")
        assert np.isnan(K.values).all()
