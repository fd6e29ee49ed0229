"""The kernel that adds the splits' partial sums into a Gram matrix."""

from __future__ import annotations

import numpy as np
import pytest

from pyscale import _emulated
from tests.emulator.stages import BLOCK, SEEDS, reduce

NAMES = ("float32", "float64")


@pytest.fixture(autouse=True, scope="module")
def shuffled_threads():
    _emulated.configure(seed=SEEDS[0])
    yield
    _emulated.configure()


def triangle(blocks):
    """The lower triangle of blocks that a product writes: (r, c) at r (r + 1) / 2 + c."""
    return [(r, c) for r in range(blocks) for c in range(r + 1)]


def cut(lower, name):
    """Partial sums (splits, blocks, BLOCK, BLOCK) of lower triangles (splits, n, n), NaN wherever G has no element."""
    splits, n, _ = lower.shape
    side = -(-n // BLOCK)
    padded = np.full((splits, side * BLOCK, side * BLOCK), np.nan)
    padded[:, :n, :n] = np.where(np.tril(np.ones((n, n), dtype=bool)), lower, np.nan)
    tiles = [padded[:, r * BLOCK : (r + 1) * BLOCK, c * BLOCK : (c + 1) * BLOCK] for r, c in triangle(side)]
    return np.ascontiguousarray(np.stack(tiles, axis=1)).astype(name)


def mirrored(lower):
    return np.tril(lower) + np.tril(lower, -1).T


def normal(splits, n, seed=0):
    return np.random.default_rng(seed).normal(size=(splits, n, n))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 63, 64, 65, 127, 128, 129, 200, 257])
def test_splits_are_added_in_float64_into_both_halves(n, name):
    # Sums of integers beyond float32's, one bit apart: each must be right to the last.
    for splits in (1, 2, 7, 8, 9, 21):
        sums = np.random.default_rng(n).integers(2**23, 2**24, size=(splits, n, n)).astype(float)
        G = reduce(n, [cut(sums, name)])[0]
        assert np.array_equal(G, mirrored(sums.sum(axis=0))), splits


@pytest.mark.parametrize("name", NAMES)
def test_problems_of_a_group_have_their_own_splits(name):
    for n in (5, 100, 200, 260):
        sums = [normal(splits, n, seed=splits).astype(name).astype(float) for splits in (3, 1, 17)]
        grams = reduce(n, [cut(s, name) for s in sums])
        for G, s in zip(grams, sums, strict=True):
            assert np.allclose(G, mirrored(s.sum(axis=0)), rtol=1e-14, atol=1e-14)
            assert np.array_equal(G, G.T)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_where_it_is(bad):
    sums = normal(4, 100)
    sums[2, 70, 3] = bad
    G = reduce(100, [cut(sums, "float32")])[0]
    assert not np.isfinite(G[70, 3])
    assert np.isfinite(G).sum() == 100 * 100 - 2


@pytest.mark.parametrize("n", [50, 100, 200, 260])
def test_the_same_bits_whoever_shares_the_launch_and_in_any_order(n):
    partial = cut(normal(19, n), "float32")
    other = cut(normal(5, n), "float32")
    bits = set()
    for seed in SEEDS:
        _emulated.configure(seed=seed)
        bits |= {reduce(n, [partial])[0].tobytes(), reduce(n, [other, partial])[1].tobytes()}
    assert len(bits) == 1
