"""The portable tensor-core Gram against NumPy, on an emulated GPU without Hopper's instructions."""

from __future__ import annotations

import numpy as np
import pytest

from pyscale import _emulated
from tests.emulator.products import integers, moved_address, multiply, normal
from tests.native.views import error, view

NAMES = ("float32", "float16", "bfloat16")
SAMPLES = (1, 5, 63, 64, 65, 128, 129, 200)
FEATURES = (0, 1, 7, 8, 31, 32, 33, 63, 64, 65, 500, 1003)
# Relative error: of numbers in two bfloat16 (16 bits), of numbers in one (8 bits).
TOLERANCE = {2: 1e-5, 1: 1e-2}


@pytest.fixture(autouse=True)
def gpu():
    _emulated.configure(capability=80, multiprocessors=4, seed=1, truncate=True)
    yield
    _emulated.configure()


def truth(x, shift=None):
    values = x.values if shift is None else x.values - shift.values
    return values @ values.T


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", SAMPLES)
def test_integers_are_multiplied_exactly(n, name, parts):
    x = integers(n, 150, name, spare=n % 3)
    (out,) = multiply("mma", [x], splits=[2], parts=parts)
    np.testing.assert_array_equal(out.gram(n), truth(x))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("p", FEATURES)
def test_tails_of_the_features(p, parts):
    for name in ("float32", "bfloat16"):
        for x in (integers(65, p, name, spare=-p % 8), moved_address(integers(65, p, name).values, name)):
            (out,) = multiply("mma", [x], parts=parts)
            np.testing.assert_array_equal(out.gram(65), truth(x))


@pytest.mark.parametrize("n", [40, 130])
@pytest.mark.parametrize("splits", [1, 3, 5])
def test_shares_and_empty_shares(n, splits):
    x = integers(n, 170, "float32")  # three chunks
    (out,) = multiply("mma", [x], splits=[splits])
    np.testing.assert_array_equal(out.gram(n), truth(x))
    shares = [slice(3 * s // splits * 64, 3 * (s + 1) // splits * 64) for s in range(splits)]
    for sums, share in zip(out.sums, shares, strict=True):
        own = x.values[:64, share]
        np.testing.assert_array_equal(sums[0][: len(own), : len(own)], own @ own.T)


def test_rows_beyond_the_last_are_zero():
    shift = view(np.full((1, 70), 2.0), "float32")
    (out,) = multiply("mma", [integers(70, 70, "float32")], [shift])
    assert np.all(out.sums[0, 1:, 6:, :] == 0.0)
    assert not np.isnan(out.sums).any()


@pytest.mark.parametrize("n", [30, 140])
def test_problems_of_a_group(n):
    sizes, splits = (70, 1, 400, 0), [2, 1, 4, 1]
    inputs = [integers(n, p, "float16", seed=p, spare=p % 5) for p in sizes]
    shifts = [view(np.full((1, p), float(i)), "float32") if i % 2 else None for i, p in enumerate(sizes)]
    for out, x, shift in zip(multiply("mma", inputs, shifts, splits), inputs, shifts, strict=True):
        np.testing.assert_array_equal(out.gram(n), truth(x, shift))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_accuracy(name, parts):
    x = normal(70, 700, name)
    (out,) = multiply("mma", [x], splits=[2], parts=parts)
    assert error(out.gram(70), truth(x)) <= TOLERANCE[parts]


@pytest.mark.parametrize("name", NAMES)
def test_shift_is_taken_off_before_the_product(name):
    x = normal(66, 300, name, mean=1000.0)
    shift = view(x.values[:16].mean(axis=0, keepdims=True), "float32", spare=1)
    (out,) = multiply("mma", [x], [shift])
    assert error(out.gram(66), truth(x, shift)) <= TOLERANCE[2]


def test_unaligned_shift():
    x = normal(20, 90, "float32", mean=10.0)
    shift = moved_address(x.values[:1], "float32")
    (out,) = multiply("mma", [x], [shift])
    assert error(out.gram(20), truth(x, shift)) <= TOLERANCE[2]


def test_long_sums_are_not_biased():
    # All products are positive: truncation in every addition shows unless accumulators are begun anew.
    x = view(np.random.default_rng(0).uniform(1, 2, size=(4, 40_000)), "bfloat16")
    (out,) = multiply("mma", [x], parts=1)
    assert error(out.gram(4), truth(x)) <= 5e-6


@pytest.mark.parametrize("name", NAMES)
def test_same_bits_in_any_order_of_threads(name):
    x = normal(130, 200, name, mean=1.0)
    results = []
    for seed in (1, 1, 2, 3):
        _emulated.configure(capability=80, seed=seed, truncate=True)
        results.append(multiply("mma", [x], splits=[2])[0].sums)
    assert all(np.array_equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nonfinite_spoils_its_row_and_column_only(bad):
    values = integers(70, 100, "float32").values.copy()
    values[66, 99] = bad
    (out,) = multiply("mma", [view(values, "float32")])
    G, good = out.gram(70), np.delete(values, 66, axis=0)
    assert not np.isfinite(G[66]).any()
    np.testing.assert_array_equal(np.delete(np.delete(G, 66, axis=0), 66, axis=1), good @ good.T)


def test_refuses_what_it_cannot_multiply():
    with pytest.raises(RuntimeError, match="float64 is multiplied by multiply_exact"):
        multiply("mma", [integers(5, 5, "float64")])
    with pytest.raises(RuntimeError, match="parts is 3, expected 1 or 2"):
        multiply("mma", [integers(5, 5, "float32")], parts=3)
