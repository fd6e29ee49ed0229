"""Centred moments of pieces against the definition on the whole: moves, merges, constancy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyscale.metrics.cross_moments import Column, CrossMoments, add_together
from pyscale.metrics.moments import Moments
from tests import oracles
from tests.metrics.samples import correlated, pieces, quick, seeds


def from_batch(x):
    moments = Moments.empty(x.shape[1], x.device)
    moments.add_(x)
    return moments


def pair_from_batch(x, y):
    """Return the moments of x, of y and of the pair."""
    mx, my = Moments.empty(x.shape[1], x.device), Moments.empty(y.shape[1], y.device)
    xy = CrossMoments.empty([x.shape[1]], my.mean)
    add_together([x], [mx.add_(x)], [Column(xy, 1, y, my.add_(y))])
    return mx, my, xy


def merged(total, part):
    total[2].merge_(part[2], total[0].moves(part[0]), total[1].moves(part[1]))
    total[0].merge_(part[0])
    total[1].merge_(part[1])


def added(total, x, y):
    add_together([x], [total[0].add_(x)], [Column(total[2], 1, y, total[1].add_(y))])


def gathered(x, y, cuts, how):
    """Return the moments of x, of y and of the pair, of non-empty pieces added or merged one after the other."""
    total = None
    for a, b in zip(pieces(x, cuts), pieces(y, cuts), strict=True):
        if len(a) == 0:
            continue
        a, b = torch.from_numpy(a), torch.from_numpy(b)
        if total is None:
            total = pair_from_batch(a, b)
        elif how == "added":
            added(total, a, b)
        else:
            merged(total, pair_from_batch(a, b))
    return total


@pytest.mark.parametrize("how", ["added", "merged"])
@quick
@given(seeds, st.lists(st.integers(0, 25), max_size=4), st.sampled_from([0, 3, 1000]))
def test_any_split_gives_the_moments_of_the_whole(how, seed, cuts, offset):
    x, y = correlated(seed, 25, 4, 3)
    x, y = x + offset, y - 2 * offset
    mx, my, xy = gathered(x, y, cuts, how)
    for left, right, found in (
        (x, y, (xy.S, xy.u, xy.v[0], xy.w[0])),
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
    _, _, xy = pair_from_batch(x, y)
    for value, expected in zip(
        (xy.S, xy.u, xy.v[0], xy.w[0]), oracles.moments(x.double().numpy(), y.double().numpy()), strict=True
    ):
        assert value.dtype == torch.float64
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_merging_reads_the_other_and_shares_nothing():
    x = torch.from_numpy(correlated(1, 20, 4, 3)[0])
    first, second = from_batch(x[:8]), from_batch(x[8:])
    kept = second.state()
    first.merge_(second).merge_(second)
    copied = second.to()
    copied.S.zero_()
    copied.mean.zero_()
    for name, value in kept.items():
        assert torch.equal(torch.as_tensor(getattr(second, name)), torch.as_tensor(value)), name


@quick
@given(seeds, st.lists(st.integers(1, 4), min_size=2, max_size=4), st.integers(1, 9))
def test_layers_side_by_side_are_each_layer_alone(seed, sizes, first):
    """Several layers x with several y, the last of which goes with fewer of the xs."""
    rng = np.random.default_rng(seed)
    xs = [rng.standard_normal((15, p)) + 40 for p in sizes]
    ys = [rng.standard_normal((15, 3)) - 7, xs[0] @ rng.standard_normal((sizes[0], 2))]
    moments_x, moments_y = (
        [Moments.empty(p, torch.device("cpu")) for p in sizes],
        [Moments.empty(y.shape[1], torch.device("cpu")) for y in ys],
    )
    paired = [len(sizes), len(sizes) - 1]
    crosses = [CrossMoments.empty(sizes[:k], y.mean) for k, y in zip(paired, moments_y, strict=True)]
    for rows in (slice(0, first), slice(first, None)):
        a, b = ([torch.from_numpy(t[rows]) for t in side] for side in (xs, ys))
        moves_x, moves_y = ([m.add_(t) for m, t in zip(*p, strict=True)] for p in ((moments_x, a), (moments_y, b)))
        add_together(a, moves_x, [Column(*c) for c in zip(crosses, paired, b, moves_y, strict=True)])
    for cross, y, k in zip(crosses, ys, paired, strict=True):
        parts = zip(cross.S.split(sizes[:k]), cross.u.split(sizes[:k]), cross.v, cross.w, xs, strict=False)
        for S, u, v, w, x in parts:
            for value, expected in zip((S, u, v, w), oracles.moments(x, y), strict=True):
                np.testing.assert_allclose(value.numpy(), expected, rtol=0, atol=1e-9 * np.abs(expected).max())
    kept = crosses[0].kept(sizes, [0, len(sizes) - 1])
    ends = kept.S[sizes[0] :], kept.u[sizes[0] :], kept.v[1], kept.w[1]
    for value, expected in zip(ends, oracles.moments(xs[-1], ys[0]), strict=True):
        np.testing.assert_allclose(value.numpy(), expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_a_batch_wider_than_a_slice():
    """Rows go through in slices; more of them than one slice holds add up the same."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1500, 1600)).astype(np.float32))
    expected = oracles.moments(x.double().numpy(), x.double().numpy())
    moments, _, pair = pair_from_batch(x, x)
    for w in (moments.w, pair.w[0]):
        assert w.item() == pytest.approx(expected[3], rel=1e-10)
    np.testing.assert_allclose(pair.S.numpy(), expected[0], rtol=0, atol=1e-9 * np.abs(expected[0]).max())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_constant_means_to_rounding_of_the_input_type(dtype):
    eps = torch.finfo(dtype).eps
    base = torch.full((10, 3), 1000.0, dtype=dtype)
    stray = base.clone()
    stray[4, 1] *= 1 + 2 * eps
    varied = base.clone()
    varied[4, 1] *= 1 + 16 * eps
    assert from_batch(base).constant
    assert from_batch(stray).constant
    assert not from_batch(varied).constant
    # constant in either piece, but not over both
    assert not from_batch(base).merge_(from_batch(base * 0.5)).constant
    assert from_batch(base).merge_(from_batch(stray)).constant
