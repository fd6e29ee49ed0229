"""Co-moments against NumPy on an emulated GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale import _emulated
from tests.emulator.products import DTYPES, features, integers, matrix

# n samples of p features with n of q
SHAPES = [(1, 1, 1), (5, 3, 70), (15, 64, 1), (17, 65, 63), (63, 63, 64), (65, 130, 5), (200, 5, 6)]
TOLERANCE = 1e-13


@pytest.fixture(autouse=True)
def gpu():
    _emulated.configure(capability=80, multiprocessors=4, seed=1)
    yield
    _emulated.configure()


def sums(p, q, spare=0):
    """Sums so far, (p, q), and the room they lie in, whose spare columns must stay 7."""
    room = torch.full((p, q + spare), 7.0, dtype=torch.float64)
    numbers = np.random.default_rng(5).integers(-9, 10, size=(p, q))
    return room[:, :q].copy_(torch.from_numpy(numbers)), room


def workspace(p, q, n):
    return torch.full((1, _emulated.cuda_moments_workspace(p, q, n, 0)), torch.nan, dtype=torch.float64)


def self_moments(S, x, shift):
    n, p = x.shape
    work = workspace(p, p, n)
    _emulated.cuda_self_moments(matrix(S), matrix(x), matrix(shift[None]), matrix(work), 0, 0)
    return S.numpy()


def cross_moments(S, x, a, y, b):
    (n, p), q = x.shape, y.shape[1]
    work = workspace(p, q, n)
    _emulated.cuda_cross_moments(matrix(S), matrix(x), matrix(a[None]), matrix(y), matrix(b[None]), matrix(work), 0, 0)
    return S.numpy()


def centred(x, shift):
    return x.double().numpy() - shift.numpy()


def first_row(x):
    return x[0].double()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cross_moments_of_integers_are_exact(shape, dtype):
    n, p, q = shape
    x, y = integers(n, p, dtype, pitch=p + n % 3), integers(n, q, dtype, pitch=q + 1, offset=1, seed=1)
    a, b = first_row(x), first_row(y)
    S, room = sums(p, q, spare=p % 3)
    expected = S.numpy() + centred(x, a).T @ centred(y, b)
    np.testing.assert_array_equal(cross_moments(S, x, a, y, b), expected)
    assert (room[:, q:] == 7.0).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [shape[:2] for shape in SHAPES], ids=str)
def test_self_moments_of_integers_are_exact(shape, dtype):
    n, p = shape
    x = integers(n, p, dtype, pitch=p + n % 3, offset=1)
    shift = first_row(x)
    S, room = sums(p, p, spare=p % 2)
    lower = np.tril(S.numpy())  # the upper half is not read
    expected = lower + np.tril(lower, -1).T + centred(x, shift).T @ centred(x, shift)
    np.testing.assert_array_equal(self_moments(S, x, shift), expected)
    assert (room[:, p:] == 7.0).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_digit_with_a_mean_of_1000_sigma(dtype):
    x = features(300, 70, dtype, mean=1000.0)
    shift = x.double().mean(0)
    truth = centred(x, shift).T @ centred(x, shift)
    zeros = torch.zeros(70, 70, dtype=torch.float64)
    own = self_moments(zeros.clone(), x, shift)
    assert np.linalg.norm(own - truth) <= TOLERANCE * np.linalg.norm(truth)
    assert np.array_equal(own, own.T)
    cross = cross_moments(zeros.clone(), x, shift, x, shift)
    assert np.linalg.norm(cross - truth) <= TOLERANCE * np.linalg.norm(truth)


@pytest.mark.parametrize("multiprocessors", [1, 4, 132])
def test_few_features_of_many_samples_share_the_samples(multiprocessors):
    _emulated.configure(multiprocessors=multiprocessors, seed=1)
    x, y = integers(3000, 4, torch.float32), integers(3000, 7, torch.float32, seed=1)
    assert _emulated.cuda_moments_workspace(4, 7, 3000, 0) > 0
    a, b = first_row(x), first_row(y)
    S, _ = sums(4, 7)
    expected = S.numpy() + centred(x, a).T @ centred(y, b)
    np.testing.assert_array_equal(cross_moments(S, x, a, y, b), expected)
    own = self_moments(torch.zeros(4, 4, dtype=torch.float64), x, a)
    np.testing.assert_array_equal(own, centred(x, a).T @ centred(x, a))


def test_same_bits_in_any_order_of_threads():
    x = features(400, 66, torch.float32, mean=1.0)
    results = []
    for seed in (1, 1, 2):
        _emulated.configure(seed=seed)
        results.append(self_moments(torch.zeros(66, 66, dtype=torch.float64), x, first_row(x)))
    assert all(np.array_equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nonfinite_spoils_its_row_and_column_only(bad):
    x = integers(40, 70, torch.float64)
    x[39, 66] = bad
    S = self_moments(torch.zeros(70, 70, dtype=torch.float64), x, torch.zeros(70, dtype=torch.float64))
    others = np.arange(70) != 66
    assert not np.isfinite(S[66]).any()
    assert not np.isfinite(S[:, 66]).any()
    np.testing.assert_array_equal(S[np.ix_(others, others)], x.numpy()[:, others].T @ x.numpy()[:, others])


def test_no_samples_add_nothing():
    x, shift, (S, _) = torch.zeros(0, 3), torch.ones(3, dtype=torch.float64), sums(3, 3)
    before = S.numpy().copy()
    np.testing.assert_array_equal(cross_moments(S, x, shift, x, shift), before)
    nothing = torch.zeros(0, 0, dtype=torch.float64)
    assert self_moments(nothing, torch.zeros(5, 0), nothing[:0].new_zeros(0)).shape == (0, 0)


def test_refuses_what_does_not_fit():
    x, y = features(4, 3, torch.float32), features(4, 2, torch.float32)
    a, b, (S, _) = torch.zeros(3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), sums(3, 2)
    with pytest.raises(RuntimeError, match=r"Y has shape \(5, 2\), expected \(4, 2\)"):
        cross_moments(S, x, a, features(5, 2, torch.float32), b)
    with pytest.raises(RuntimeError, match="Y is float64, expected float32"):
        cross_moments(S, x, a, y.double(), b)
    with pytest.raises(RuntimeError, match=r"shift_x has shape \(1, 2\), expected \(1, 3\)"):
        cross_moments(S, x, b, y, b)
    with pytest.raises(RuntimeError, match="shift is float32, expected float64"):
        self_moments(sums(3, 3)[0], x, a.float())
    with pytest.raises(RuntimeError, match=r"S has shape \(3, 2\), expected \(3, 3\)"):
        self_moments(S, x, a)
