"""The Gaussian kernel: distances from Gram matrices, their exact median, the exponential."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale import _emulated
from tests.emulator.stages import SEEDS, exponentiate
from tests.oracles import kernel_matrix

SIZES = (2, 3, 4, 5, 63, 64, 65, 200)


@pytest.fixture(autouse=True, scope="module")
def shuffled_threads():
    _emulated.configure(seed=SEEDS[0])
    yield
    _emulated.configure()


def gram(x):
    x = np.asarray(x, dtype=np.float64)
    G = x @ x.T
    return np.tril(G) + np.tril(G, -1).T


def gram_of(squares):
    """A matrix whose squared distances are exactly these (n, n)."""
    return -np.asarray(squares) / 2


def from_pairs(values):
    """Squared distances (n, n) from those of the pairs i > j; as many as fit are taken."""
    n = (1 + int(np.sqrt(1 + 8 * len(values)))) // 2
    D = np.zeros((n, n))
    D[np.tril_indices(n, -1)] = values[: n * (n - 1) // 2]
    return D + D.T


def scale_of(D, bandwidth=1.0):
    """2 sigma^2 by the median that sorting finds."""
    return 2 * (bandwidth * np.median(np.sqrt(D[np.tril_indices(len(D), -1)]))) ** 2


def check(D, bandwidth=1.0):
    """Whether the kernel of these squared distances has the exact median, to a few last places of its exponents."""
    K = exponentiate([gram_of(D)], bandwidth)[0]
    exponents = -D / scale_of(D, bandwidth)
    seen = exponents > -700
    assert np.allclose(np.log(K[seen]), exponents[seen], rtol=3e-15, atol=2.3e-16)
    assert np.all(K[exponents < -746] == 0)
    assert np.all(K.diagonal() == 1)
    assert np.array_equal(K, K.T)


@pytest.mark.parametrize("bandwidth", [1.0, 0.3])
def test_the_kernel_of_samples(bandwidth):
    for n in SIZES:
        xs = [np.random.default_rng(seed).normal(size=(n, p)) for seed, p in enumerate((1, 7, 40))]
        for K, x in zip(exponentiate([gram(x) for x in xs], bandwidth), xs, strict=True):
            assert np.allclose(K, kernel_matrix(x, "rbf", bandwidth), rtol=1e-11, atol=1e-300), n
            assert np.all(K.diagonal() == 1)
            assert np.array_equal(K, K.T)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_median_is_exact(data):
    generator = np.random.default_rng(data.draw(st.integers(0, 999)))
    pairs = data.draw(st.sampled_from([1, 3, 6, 10, 15, 2016]))
    pool = data.draw(
        st.lists(st.floats(1e-150, 1e150), min_size=1, max_size=8)
        | st.lists(st.integers(0, 300).map(lambda k: 1 + k * 2.0**-52), min_size=1, max_size=300)
    )
    check(from_pairs(generator.choice(pool, size=pairs)))


def test_every_digit_of_the_median_counts():
    # Numbers that part in one digit only, the last, the one above it, ...
    for ulps in (1, 2**8, 2**19, 2**30, 2**41):
        values = (1.0 + 2.0**-52 * ulps * np.random.default_rng(ulps).permutation(190)).tolist()
        check(from_pairs(values))


def test_the_two_middle_ones_may_part_in_any_digit():
    for apart in (2.0**-52, 2.0**-40, 2.0**-30, 1e-6, 1.0, 1e10, 1e250):
        low, high = 1.0, 1.0 + apart
        check(from_pairs([low] * 3 + [high] * 3))  # an even number: one of each
        check(from_pairs([low] * 4 + [high] * 2))
        check(from_pairs([low] * 7 + [high] * 8))  # an odd one


def test_distances_over_the_whole_range_of_numbers():
    exponents = np.random.default_rng(0).uniform(-300, 300, size=2016)
    check(from_pairs(10.0**exponents))


def test_many_equal_distances():
    check(2 * (1 - np.eye(130)))  # of the corners of a simplex
    steps = np.arange(70.0)[:, None]
    check((steps - steps.T) ** 2)


def test_half_of_the_pairs_may_be_equal_samples():
    x = [0.0, 0.0, 0.0, 5.0]  # distances 0, 0, 0, 5, 5, 5: the median is 2.5
    K = exponentiate([gram(np.array(x)[:, None])])[0]
    assert np.allclose(K[3, :3], np.exp(-25 / (2 * 2.5**2)), rtol=1e-14)
    assert np.all(K[:3, :3] == 1)


def test_rounding_below_zero_is_no_distance():
    D = from_pairs(np.arange(1.0, 11.0))
    G = gram_of(D)
    G[1, 0] = G[0, 1] = 1e-16
    D[1, 0] = D[0, 1] = 0
    K = exponentiate([G])[0]
    assert K[1, 0] == 1
    assert np.allclose(K, np.exp(-D / scale_of(D)), rtol=1e-14)


@pytest.mark.parametrize("n", [2, 5, 70])
def test_there_is_no_kernel_without_a_scale(n):
    equal = np.zeros((n, 3))
    nearly = equal.copy()
    nearly[-1] = 1.0  # with n = 5 and more the median is still 0
    for x in (equal, nearly) if n > 4 else (equal,):
        assert np.isnan(exponentiate([gram(x)])[0]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e308])  # the last: its distances overflow
@pytest.mark.parametrize("place", [(0, 0), (66, 66), (66, 3), (69, 68)])
def test_what_is_not_finite_spoils_its_own_matrix_only(place, bad):
    good = gram(np.random.default_rng(0).normal(size=(70, 5)))
    spoiled = good.copy()
    spoiled[place] = spoiled[place[::-1]] = bad
    a, b, c = exponentiate([good, spoiled, good])
    assert np.isfinite(a).all()
    assert np.array_equal(a, c)
    assert np.isnan(b).all()


def test_one_sample_is_like_itself():
    assert exponentiate([np.array([[5.0]])])[0] == 1
    assert np.isnan(exponentiate([np.array([[np.nan]])])[0])


def test_the_order_of_threads_does_not_matter():
    grams = [gram(np.random.default_rng(seed).normal(size=(150, 4))) for seed in range(2)]
    bits = set()
    for seed in SEEDS:
        _emulated.configure(seed=seed)
        bits.add(b"".join(K.tobytes() for K in exponentiate(grams)))
    assert len(bits) == 1
    _emulated.configure(seed=SEEDS[0])
    assert np.array_equal(exponentiate(grams[1:])[0], exponentiate(grams)[1])
