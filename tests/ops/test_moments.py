"""Co-moments and all-pairs products against NumPy, and their twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale import ops
from pyscale.ops import reference

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(0, 3, 2), (1, 1, 1), (50, 7, 30), (300, 25, 13)], ids=str)
def test_add_moments(shape, dtype):
    n, p, q = shape
    x, y = (100 + torch.randn(n, p)).to(dtype), torch.randn(n, q).to(dtype)
    a, b = torch.randn(p, dtype=torch.float64), torch.randn(q, dtype=torch.float64)
    X, Y = x.double().numpy() - a.numpy(), y.double().numpy() - b.numpy()
    start = torch.randn(p, q, dtype=torch.float64)
    cross = ops.add_moments_(start.clone(), x, a, y, b)
    np.testing.assert_allclose(cross, start.numpy() + X.T @ Y, rtol=1e-12, atol=1e-9)
    own = ops.add_moments_(torch.zeros(p, p, dtype=torch.float64), x, a)
    np.testing.assert_allclose(own, X.T @ X, rtol=1e-12, atol=1e-9)
    assert torch.equal(own, own.T)
    np.testing.assert_allclose(reference.cross_moments(x, a, y, b), X.T @ Y, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(("n", "p"), [(40, 1030), (2100, 5), (1030, 1030)], ids=str)
def test_few_and_many_samples_and_features(n, p):
    generator = torch.Generator().manual_seed(n)
    x, y = torch.randn(n, p, generator=generator) + 30, torch.randn(n, 7, generator=generator)
    a, b = x.double().mean(0), y.double().mean(0)
    X, Y = (t.double().numpy() - shift.numpy() for t, shift in ((x, a), (y, b)))
    for threads in (None, 1, 3):
        own, cross = torch.ones(p, p, dtype=torch.float64), torch.ones(p, 7, dtype=torch.float64)
        ops.add_moments_(own, x, a, threads=threads)
        ops.add_moments_(cross, x, a, y, b, threads=threads)
        np.testing.assert_allclose(own, 1 + X.T @ X, rtol=1e-12, atol=1e-10)
        np.testing.assert_allclose(cross, 1 + X.T @ Y, rtol=1e-12, atol=1e-10)


def test_merge_moments_leaves_the_other_alone():
    S, T = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    dx, dy = torch.randn(4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    before, other = S.clone(), T.clone()
    assert ops.merge_moments_(S, T, dx, dy, 2.5) is S
    np.testing.assert_allclose(S, before.numpy() + other.numpy() + 2.5 * np.outer(dx, dy), rtol=1e-14, atol=1e-14)
    assert torch.equal(T, other)


def test_merge_moments_into_a_view():
    whole = torch.zeros(6, 6, dtype=torch.float64)
    ones = torch.ones(3, dtype=torch.float64)
    ops.merge_moments_(whole[::2, ::2], torch.ones(3, 3, dtype=torch.float64), ones, ones, 1.0)
    assert whole.sum() == 18
    assert whole[::2, ::2].eq(2).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 0), (3, 2, 6), (17, 9, 1000), (5, 41, 32_640)], ids=str)
def test_hsic_pairs(shape, dtype):
    L, M, N = shape
    v, w = torch.randn(L, N).to(dtype), torch.randn(M, N).to(dtype)
    truth = v.double().numpy() @ w.double().numpy().T
    np.testing.assert_allclose(ops.hsic_pairs(v, w), truth, rtol=1e-12, atol=1e-11)
    np.testing.assert_allclose(reference.hsic_pairs(v, w), truth, rtol=1e-12, atol=1e-11)
    own = ops.hsic_pairs(v, v)
    np.testing.assert_allclose(own, v.double().numpy() @ v.double().numpy().T, rtol=1e-12, atol=1e-11)
    assert torch.equal(own, own.T)


def test_hsic_pairs_refuses_rows_of_different_lengths():
    with pytest.raises(ValueError, match=r"v has shape \(2, 3\) and w \(2, 4\)"):
        ops.hsic_pairs(torch.zeros(2, 3), torch.zeros(2, 4))
