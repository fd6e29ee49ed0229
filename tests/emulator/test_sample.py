"""The sampling kernel: the shift, whether the shift is needed, and whether anything varies at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale import _emulated
from tests.emulator.stages import SEEDS, sample
from tests.native import oracle
from tests.native.views import EPSILON, NAMES, view

SAMPLES = 16
ROWS = (1, 2, 5, 15, 16, 17, 65, 200)
WIDTHS = (0, 1, 33, 300)
# Types of the input, and whether the products are exact ones: then the shift is float64.
KINDS = [("float64", True), *((name, exact) for name in NAMES[1:] for exact in (False, True))]


@pytest.fixture(autouse=True, scope="module")
def shuffled_threads():
    _emulated.configure(seed=SEEDS[0])
    yield
    _emulated.configure()


def normal(n, p, mean=0.0, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, p)) + mean * generator.normal(size=p)


def sampled_rows(values):
    n = len(values)
    return values if n < SAMPLES else values[: SAMPLES * (n // SAMPLES) : n // SAMPLES]


def shift_of(rows, exact):
    """The mean of the middle half of sixteen numbers; of fewer, and for float64 products, the mean of all."""
    return (np.sort(rows, axis=0)[4:12] if len(rows) == SAMPLES and not exact else rows).mean(axis=0)


def condition(values, shift):
    """How many times the squares about the shift exceed those about the mean: what a product's errors grow by."""
    return np.sum((values - shift) ** 2) / np.sum((values - values.mean(axis=0)) ** 2)


# ---- the shift ----


@pytest.mark.parametrize(("name", "exact"), KINDS)
def test_the_shift_is_of_rows_spread_over_all(name, exact):
    for n in ROWS:
        views = [view(normal(n, p, mean=30.0), name, spare=n % 3) for p in WIDTHS]
        for x, answer in zip(views, sample(views, exact), strict=True):
            assert answer.shift.dtype == ("float64" if exact else "float32")
            rows = sampled_rows(x.values)
            scale = np.abs(rows).max(axis=0, initial=1.0) * (2.0**-52 if exact else 2.0**-23)
            assert np.all(np.abs(answer.shift - shift_of(rows, exact)) <= SAMPLES * scale), (n, x.values.shape[1])


@pytest.mark.parametrize(("name", "exact"), KINDS)
def test_the_shift_of_equal_rows_is_their_value(name, exact):
    for value in (1 / 3, -1000.0, 6e-5):
        x = view(np.full((50, 7), value), name)
        assert np.array_equal(sample([x], exact)[0].shift, x.values[0])


def test_the_shift_keeps_products_well_conditioned_on_bad_data_too():
    n = 160
    for sampled in (1.0, 0.0):  # large numbers in all sampled rows, or in all others
        values = np.full((n, 5), 1000.0 * (1 - sampled))
        values[:: n // SAMPLES] = 1000.0 * sampled
        x = view(values + 1e-3 * normal(n, 5), "float32")
        kappa = condition(x.values, sample([x])[0].shift)
        assert kappa <= 1 + 2 * n / SAMPLES
        assert kappa > 5  # bad data indeed


def test_samples_far_away_do_not_move_the_shift():
    values = normal(160, 50)
    values[[0, 40, 150]] += 1e6
    assert np.abs(sample([view(values, "float32")])[0].shift).max() < 1.5


def test_more_features_than_one_round_of_thread_blocks():
    values = np.ones((2, 1024 * 256 + 300))
    values[:, -1] = 1.0, 2.0
    answer = sample([view(values, "float32")])[0]
    assert answer.varies
    assert np.array_equal(answer.shift, values.mean(axis=0))


# ---- whether the shift is needed ----


@pytest.mark.parametrize(("name", "exact"), KINDS)
@pytest.mark.parametrize(("mean", "plain"), [(0.0, True), (1.5, True), (2.0, False), (1000.0, False)])
def test_means_that_are_large_against_the_spread_need_the_shift(name, exact, mean, plain):
    # Squares against those about the mean: 1 + mean^2, and 4 is the limit.
    generator = np.random.default_rng(0)
    x = view(generator.normal(size=(100, 400)) + mean * generator.choice([-1, 1], size=400), name)
    assert sample([x], exact)[0].plain == plain


def test_what_has_no_shift_is_taken_as_it_is():
    x = view(normal(20, 300, mean=1000.0), "bfloat16")
    answer = sample([x], shifted=False)[0]
    assert answer.plain
    assert answer.varies
    assert not sample([view(np.ones((20, 300)), "bfloat16")], shifted=False)[0].varies


def test_a_mean_of_few_rows_is_judged_fairly():
    # The mean of two numbers takes half of their spread with it: 1 + 1.4^2 is below the limit, twice that is not.
    x = view(np.random.default_rng(0).normal(size=(2, 1000)) + 1.4, "bfloat16")
    assert sample([x])[0].plain
    # About 5/3 the squares are 2/3 of 9, and 3/2 times as many about the mean of all: more than 4 times.
    assert not sample([view([[1.0], [2.0], [2.0]], "bfloat16")])[0].plain


# ---- whether anything varies ----


@pytest.mark.parametrize(("name", "exact"), KINDS)
def test_nothing_varies_in_equal_rows(name, exact):
    for n in ROWS:
        views = [view(np.full((n, p), value), name) for p in WIDTHS for value in (0.0, 1 / 3, -1000.0, 6e-5)]
        assert not any(answer.varies for answer in sample(views, exact))
    # The plain sum of so many is off by more than 4 eps.
    assert not sample([view(np.full((1000, 2), 1 / 3))])[0].varies


@pytest.mark.parametrize("name", NAMES)
def test_rounding_is_forgiven_and_more_is_not(name):
    for row in (0, 5, 159):  # the first is sampled, the others are not
        values = np.ones((160, 300))
        values[row] += 4 * EPSILON[name]
        assert not sample([view(values, name)])[0].varies
        values[row] += 12 * EPSILON[name]
        assert sample([view(values, name)])[0].varies
    # Eight eps apart and four from the mean between them.
    values = np.repeat([[1.0], [1 + 8 * EPSILON[name]]], 80, axis=0)
    assert not sample([view(values, name)])[0].varies


@pytest.mark.parametrize("name", NAMES)
def test_one_number_that_differs_is_found_wherever_it_is(name):
    for n, p in ((2, 1), (17, 33), (200, 600)):
        for i, j in ((0, 0), (n // 2, p // 2), (n - 1, p - 1)):
            values = np.full((n, p), 2.0)
            values[i, j] = 3.0
            same = view(np.full((n, p), 2.0), name)
            answers = sample([same, view(values, name), same])
            assert [answer.varies for answer in answers] == [False, True, False], (n, p, i, j)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "exact"), KINDS)
def test_what_is_not_finite_varies_and_is_not_plain(name, exact, bad):
    for n, row in ((1, 0), (5, 2), (40, 0), (40, 39)):  # the last is not sampled
        values = np.ones((n, 9))
        values[row, 4] = bad
        answer = sample([view(values, name)], exact)[0]
        assert answer.varies
        assert n == 1 or not answer.plain
        assert sample([view(np.full((n, 9), bad), name)], exact)[0].varies


@pytest.mark.parametrize("name", NAMES)
def test_neither_one_row_nor_none_varies(name):
    for p in WIDTHS:
        assert not sample([view(np.ones((0, p)), name)])[0].varies
        assert not sample([view(normal(1, p), name)])[0].varies


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_answer_is_the_definition(data):
    name, exact = data.draw(st.sampled_from(KINDS))
    n, p = data.draw(st.integers(1, 50)), data.draw(st.integers(1, 20))
    generator = np.random.default_rng(data.draw(st.integers(0, 999)))
    steps = generator.integers(0, data.draw(st.sampled_from([1, 3, 6, 9, 10, 30])), size=(n, p))
    steps[:, generator.random(p) < 0.5] = 0
    x = view(generator.uniform(1, 2, size=p) * (1 + EPSILON[name] * steps), name)
    within, without = (oracle.constant(x.values, limit * EPSILON[name]) for limit in (3.5, 4.5))
    if within == without:  # else it hangs on the rounding of the mean
        assert sample([x], exact)[0].varies != within


# ---- the same bits ----


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_threads_does_not_matter(name):
    x = view(normal(40, 700, mean=2.0), name)
    answers = []
    for seed in SEEDS:
        _emulated.configure(seed=seed)
        answers += sample([x, x])
    assert len({(a.shift.tobytes(), a.varies, a.plain) for a in answers}) == 1
