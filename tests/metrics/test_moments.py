"""Centred moments of pieces against the definition on the whole: moves, merges, constancy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyscale.metrics.moments import CrossMoments, Moments
from tests import oracles
from tests.metrics.samples import correlated, pieces, quick, seeds


def gathered(x, y, cuts):
    """Return the moments of x, of y and of the pair, of non-empty pieces merged one after the other."""
    total = None
    for a, b in zip(pieces(x, cuts), pieces(y, cuts), strict=True):
        if len(a) == 0:
            continue
        a, b = torch.from_numpy(a), torch.from_numpy(b)
        mx, my = Moments.from_batch(a), Moments.from_batch(b)
        part = mx, my, CrossMoments.from_batch(a, b, mx.mean, my.mean)
        if total is None:
            total = part
        else:
            total[2].merge_(part[2], total[0].move(mx), total[1].move(my))
            total[0].merge_(mx)
            total[1].merge_(my)
    return total


@quick
@given(seeds, st.lists(st.integers(0, 25), max_size=4), st.sampled_from([0, 3, 1000]))
def test_any_split_gives_the_moments_of_the_whole(seed, cuts, offset):
    x, y = correlated(seed, 25, 4, 3)
    x, y = x + offset, y - 2 * offset
    mx, my, xy = gathered(x, y, cuts)
    for left, right, found in (
        (x, y, (xy.S, xy.u, xy.v, xy.w)),
        (x, x, (mx.S, mx.u, mx.u, mx.w)),
        (y, y, (my.S, my.u, my.u, my.w)),
    ):
        for value, expected in zip(found, oracles.moments(left, right), strict=True):
            scale = np.abs(expected).max()
            np.testing.assert_allclose(value.numpy(), expected, rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(mx.mean.numpy(), x.mean(axis=0), rtol=1e-13, atol=1e-13)
    assert (mx.n, my.n) == (25, 25)
    assert mx.trace.item() == pytest.approx(((x - x.mean(axis=0)) ** 2).sum(), rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_narrow_types_are_added_in_float64(dtype):
    x, y = (torch.from_numpy(a + 5).to(dtype) for a in correlated(0, 500, 4, 3))
    mx, my = Moments.from_batch(x), Moments.from_batch(y)
    xy = CrossMoments.from_batch(x, y, mx.mean, my.mean)
    for value, expected in zip(
        (xy.S, xy.u, xy.v, xy.w), oracles.moments(x.double().numpy(), y.double().numpy()), strict=True
    ):
        assert value.dtype == torch.float64
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_merging_reads_the_other_and_shares_nothing():
    x = torch.from_numpy(correlated(1, 20, 4, 3)[0])
    first, second = Moments.from_batch(x[:8]), Moments.from_batch(x[8:])
    kept = second.state()
    first.merge_(second).merge_(second)
    copied = second.to()
    copied.S.zero_()
    copied.mean.zero_()
    for name, value in kept.items():
        assert torch.equal(torch.as_tensor(getattr(second, name)), torch.as_tensor(value)), name


def test_a_batch_wider_than_a_slice():
    """Rows go through in slices; more of them than one slice holds add up the same."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1500, 1600)).astype(np.float32))
    moments = Moments.from_batch(x)
    assert moments.w.item() == pytest.approx(oracles.moments(x.double().numpy(), x.double().numpy())[3], rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_constant_means_to_rounding_of_the_input_type(dtype):
    eps = torch.finfo(dtype).eps
    base = torch.full((10, 3), 1000.0, dtype=dtype)
    stray = base.clone()
    stray[4, 1] *= 1 + 2 * eps
    varied = base.clone()
    varied[4, 1] *= 1 + 16 * eps
    assert Moments.from_batch(base).constant
    assert Moments.from_batch(stray).constant
    assert not Moments.from_batch(varied).constant
    # constant in either piece, but not over both
    assert not Moments.from_batch(base).merge_(Moments.from_batch(base * 0.5)).constant
    assert Moments.from_batch(base).merge_(Moments.from_batch(stray)).constant
