"""The centring kernels: row sums, the three centrings, packed triangles, and the answer about constancy."""

from __future__ import annotations

import numpy as np
import pytest

from pyscale import _emulated
from tests.emulator.stages import SEEDS, center
from tests.native import oracle

SIZES = (4, 5, 31, 32, 33, 63, 64, 65, 200)


@pytest.fixture(autouse=True, scope="module")
def shuffled_threads():
    _emulated.configure(seed=SEEDS[0])
    yield
    _emulated.configure()


def symmetric(n, seed=0, diagonal=1.0):
    """A Gram matrix of n samples, its diagonal that much larger."""
    x = np.random.default_rng(seed).normal(size=(n, n + 3)) + 1.0
    G = x @ x.T
    G = (G + G.T) / 2
    np.fill_diagonal(G, diagonal * G.diagonal())
    return G


def truth(G, centering):
    n = len(G)
    if centering == "double":
        H = np.eye(n) - np.full((n, n), 1 / n)
        return H @ G @ H
    return oracle.unbiased(G) if centering == "unbiased" else G


@pytest.mark.parametrize("centering", oracle.CENTERINGS)
def test_the_definitions(centering):
    for n in SIZES if centering == "unbiased" else (1, 2, 3, *SIZES):
        grams = [symmetric(n, seed) for seed in range(3)]
        for K, G in zip(center(grams, centering, spare=n % 3)[0], grams, strict=True):
            assert np.allclose(K, truth(G, centering), rtol=1e-12, atol=1e-12 * np.abs(G).max()), n
            assert np.array_equal(K, K.T)


def test_no_centring_changes_nothing():
    G = symmetric(70)
    G[3, 5] = G[5, 3] = np.nan
    assert np.array_equal(center([G], "none")[0][0], G, equal_nan=True)


def test_what_the_centrings_promise():
    n = 100
    G = symmetric(n)
    scale = np.abs(G).max()
    for centering in ("double", "unbiased"):
        K = center([G], centering)[0][0]
        assert np.abs(K.sum(axis=1)).max() <= 1e-13 * n * scale
    assert np.all(K.diagonal() == 0)


def test_a_large_diagonal_costs_the_unbiased_centring_no_digits():
    G = symmetric(60)
    large = symmetric(60, diagonal=1e14)
    assert np.array_equal(center([G], "unbiased")[0][0], center([large], "unbiased")[0][0])


@pytest.mark.parametrize("name", ["float64", "float32"])
def test_a_packed_triangle_is_the_matrix_below_the_diagonal(name):
    for n in SIZES:
        grams = [symmetric(n, seed) for seed in range(2)]
        packed = center(grams, "unbiased", packed=True, name=name)[0]
        full = center(grams, "unbiased", name=name)[0]
        for v, K in zip(packed, full, strict=True):
            assert np.array_equal(v, oracle.packed(K).astype(name)), n


@pytest.mark.parametrize("centering", oracle.CENTERINGS)
def test_float32_is_float64_rounded_once(centering):
    G = symmetric(65)
    wide, narrow = (center([G], centering, name=name, spare=2)[0][0] for name in ("float64", "float32"))
    assert narrow.dtype == np.float32
    assert np.array_equal(narrow, wide.astype(np.float32))


@pytest.mark.parametrize("packed", [False, True])
def test_each_problem_is_told_whether_it_is_constant(packed):
    varies = [True, False, False, True]
    assert center([symmetric(70)] * 4, "unbiased", packed=packed, varies=varies)[1] == [not v for v in varies]


@pytest.mark.parametrize("centering", ["double", "unbiased"])
def test_what_is_not_finite_spoils_its_own_matrix_only(centering):
    good, bad = symmetric(40), symmetric(40)
    bad[7, 2] = bad[2, 7] = np.nan
    (a, b, c), *_ = center([good, bad, good], centering)
    off = ~np.eye(40, dtype=bool)
    assert np.isnan(b[off]).all()
    assert np.isfinite(a).all()
    assert np.array_equal(a, c)


@pytest.mark.parametrize("centering", ["double", "unbiased"])
def test_the_floor_is_of_the_largest_diagonal_element(centering):
    for n in (4, 31, 257, 600):
        grams = [symmetric(n, seed, diagonal) for seed, diagonal in ((0, 1.0), (1, 50.0))]
        for at, G in zip((n - 1, n // 2), grams, strict=True):
            G[at, at] = 1e6
        grams.append(np.zeros((n, n)))
        floors = center(grams, centering, noise=2.0**-10, least=1e-30)[2]
        assert floors == [2.0**-10 * 1e6, 2.0**-10 * 1e6, 1e-30]


def test_nothing_centred_has_no_floor():
    assert center([symmetric(5)], "none", noise=1.0)[2] == [-1.0]  # as it was


def test_a_packed_triangle_of_another_centring_is_refused():
    with pytest.raises(RuntimeError, match="packed triangle is of the unbiased centring"):
        center([symmetric(5)], "double", packed=True)


@pytest.mark.parametrize("centering", oracle.CENTERINGS)
def test_the_order_of_threads_does_not_matter(centering):
    G = symmetric(130)
    bits = set()
    for seed in SEEDS:
        _emulated.configure(seed=seed)
        bits.add(center([G], centering)[0][0].tobytes())
    assert len(bits) == 1
