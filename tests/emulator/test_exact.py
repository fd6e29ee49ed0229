"""Float64 products against NumPy on an emulated GPU: exact Grams and all-pairs HSIC."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale import _emulated
from tests.emulator.products import DTYPES, error, features, integers, lower, matrix, multiply, truth

SAMPLES = (1, 5, 63, 64, 65, 128, 129, 200)
FEATURES = (0, 1, 3, 15, 16, 17, 63, 64, 65, 200)
WIDE = (torch.float64, torch.float32)
TOLERANCE = 1e-14


@pytest.fixture(autouse=True)
def gpu():
    _emulated.configure(capability=80, multiprocessors=4, seed=1)
    yield
    _emulated.configure()


# ---- Grams ----


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", SAMPLES)
def test_integers_are_multiplied_exactly(n, dtype):
    x = integers(n, 100, dtype, pitch=100 + n % 3)
    (partial,) = multiply("exact", [x], [2])
    np.testing.assert_array_equal(lower(partial, n), truth(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("p", FEATURES)
def test_tails_of_the_features(p, dtype):
    x = integers(66, p, dtype, pitch=p + 1, offset=1)
    (partial,) = multiply("exact", [x], [1])
    np.testing.assert_array_equal(lower(partial, 66), truth(x))


@pytest.mark.parametrize("splits", [1, 3, 5])
def test_shares_and_empty_shares(splits):
    x = integers(70, 130, torch.float64)  # three chunks
    (partial,) = multiply("exact", [x], [splits])
    for s in range(splits):
        share = x[:, 3 * s // splits * 64 : 3 * (s + 1) // splits * 64]
        np.testing.assert_array_equal(lower(partial[s : s + 1], 70), truth(share))


def test_problems_of_a_group():
    sizes = (70, 1, 200, 0)
    xs = [integers(100, p, torch.bfloat16, pitch=p + i, seed=i) for i, p in enumerate(sizes)]
    shifts = [torch.full((p,), i / 4, dtype=torch.float64) if i % 2 else None for i, p in enumerate(sizes)]
    for partial, x, shift in zip(multiply("exact", xs, [2, 1, 4, 1], shifts=shifts), xs, shifts, strict=True):
        np.testing.assert_array_equal(lower(partial, 100), truth(x, shift))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_digit_with_a_mean_of_1000_sigma(dtype):
    x = features(66, 300, dtype, mean=1000.0)
    shift = x.double().mean(0)
    (partial,) = multiply("exact", [x], [2], shifts=[shift])
    assert error(partial, x, shift) <= TOLERANCE


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nonfinite_spoils_its_row_and_column_only(bad):
    x = integers(128, 40, torch.float64)
    x[66, 39] = bad
    G = lower(multiply("exact", [x], [1])[0], 128)
    assert not np.isfinite(G[66, :67]).any()
    assert not np.isfinite(G[66:, 66]).any()
    others = np.arange(128) != 66
    np.testing.assert_array_equal(G[np.ix_(others, others)], truth(x[others]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_same_bits_in_any_order_of_threads(dtype):
    x = features(70, 100, dtype, mean=1.0)
    results = []
    for seed in (1, 1, 2):
        _emulated.configure(capability=80, seed=seed)
        results.append(multiply("exact", [x], [2])[0])
    assert all(torch.equal(results[0], other) for other in results[1:])


# ---- all-pairs HSIC ----


def hsic_pairs(v, w, spare=0):
    """H (L, M) of rows v (L, N), w (M, N), in memory with columns to spare, which must stay 7."""
    (L, N), M = v.shape, len(w)
    room = torch.full((L, M + spare), 7.0, dtype=torch.float64)
    H = room[:, :M]
    workspace = torch.full((1, _emulated.cuda_hsic_workspace(L, M, N, 0)), torch.nan, dtype=torch.float64)
    _emulated.cuda_hsic_pairs(matrix(H), matrix(v), matrix(w), matrix(workspace), 0, 0)
    assert (room[:, M:] == 7.0).all()
    return H.numpy()


def products(v, w):
    return v.double().numpy() @ w.double().numpy().T


@pytest.mark.parametrize("dtype", WIDE, ids=str)
@pytest.mark.parametrize(
    "shape", [(1, 1, 0), (1, 1, 1), (3, 2, 6), (5, 63, 100), (64, 65, 130), (70, 3, 2016)], ids=str
)
def test_pairs(shape, dtype):
    L, M, N = shape
    v, w = integers(L, N, dtype, pitch=N + L % 2), integers(M, N, dtype, pitch=N + M % 3, offset=1, seed=1)
    np.testing.assert_array_equal(hsic_pairs(v, w, spare=N % 4), products(v, w))


@pytest.mark.parametrize("dtype", WIDE, ids=str)
@pytest.mark.parametrize("shape", [(1, 3), (5, 64), (65, 1000), (130, 33)], ids=str)
def test_pairs_of_a_set_with_itself(shape, dtype):
    v = features(*shape, dtype)
    H = hsic_pairs(v, v, spare=1)
    np.testing.assert_allclose(H, products(v, v), rtol=TOLERANCE, atol=1e-12)
    assert np.array_equal(H, H.T)


@pytest.mark.parametrize("multiprocessors", [1, 4, 132])
def test_pairs_of_few_rows_and_many_terms_share_the_terms(multiprocessors):
    _emulated.configure(multiprocessors=multiprocessors, seed=1)
    v, w = integers(3, 5000, torch.float32), integers(2, 5000, torch.float32, seed=1)
    assert _emulated.cuda_hsic_workspace(3, 2, 5000, 0) > 0
    np.testing.assert_array_equal(hsic_pairs(v, w), products(v, w))


def test_pairs_have_the_same_bits_in_any_order_of_threads():
    v = features(66, 400, torch.float32)
    results = []
    for seed in (1, 1, 2):
        _emulated.configure(seed=seed)
        results.append(hsic_pairs(v, v))
    assert all(np.array_equal(results[0], other) for other in results[1:])


def test_pairs_of_nothing():
    assert hsic_pairs(torch.zeros(0, 10), torch.zeros(3, 10)).shape == (0, 3)
    assert np.array_equal(hsic_pairs(torch.zeros(2, 0), torch.zeros(3, 0)), np.zeros((2, 3)))


def test_pairs_refuse_what_does_not_fit():
    v, w = features(3, 10, torch.float64), features(2, 11, torch.float64)
    with pytest.raises(RuntimeError, match=r"W has shape \(2, 11\), expected \(2, 10\)"):
        hsic_pairs(v, w)
    with pytest.raises(RuntimeError, match="W is float32, expected float64"):
        hsic_pairs(v, features(2, 10, torch.float32))
    with pytest.raises(RuntimeError, match="V is bfloat16, expected float64 or float32"):
        hsic_pairs(features(3, 10, torch.bfloat16), features(2, 10, torch.bfloat16))
    H = torch.zeros(3, 3, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"workspace has shape \(1, 3\), expected \(1, 0\)"):
        _emulated.cuda_hsic_pairs(matrix(H), matrix(v), matrix(v), matrix(H[:1]), 0, 0)
