"""The portable tensor-core Gram against NumPy, on an emulated GPU without Hopper's instructions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale import _emulated
from tests.emulator.products import error, features, integers, lower, multiply, truth

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SAMPLES = (1, 5, 63, 64, 65, 128, 129, 200)
FEATURES = (0, 1, 7, 8, 31, 32, 33, 63, 64, 65, 203)
# Relative error of numbers in two bfloat16 (16 bits), and of numbers in one (8 bits).
TOLERANCE = {2: 1e-5, 1: 1e-2}


@pytest.fixture(autouse=True)
def gpu():
    _emulated.configure(capability=80, multiprocessors=4, seed=1, truncate=True)
    yield
    _emulated.configure()


def constant_shift(p, value):
    return torch.full((p,), float(value))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", SAMPLES)
def test_integers_are_multiplied_exactly(n, dtype, parts):
    x = integers(n, 150, dtype, pitch=150 + n % 3)
    (partial,) = multiply("mma", [x], [2], parts=parts)
    np.testing.assert_array_equal(lower(partial, n), truth(x))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("p", FEATURES)
def test_tails_of_the_features(p, parts):
    aligned, unaligned = {"pitch": p + -p % 8}, {"pitch": p + -p % 8, "offset": 1}
    for dtype in (torch.float32, torch.bfloat16):
        for memory in (aligned, unaligned):
            x = integers(65, p, dtype, **memory)
            (partial,) = multiply("mma", [x], [1], parts=parts)
            np.testing.assert_array_equal(lower(partial, 65), truth(x))


@pytest.mark.parametrize("n", [40, 130])
@pytest.mark.parametrize("splits", [1, 3, 5])
def test_shares_and_empty_shares(n, splits):
    x = integers(n, 170, torch.float32)  # three chunks
    (partial,) = multiply("mma", [x], [splits])
    for s in range(splits):
        share = x[:, 3 * s // splits * 64 : 3 * (s + 1) // splits * 64]
        np.testing.assert_array_equal(lower(partial[s : s + 1], n), truth(share))


@pytest.mark.parametrize("n", [30, 140])
def test_problems_of_a_group(n):
    sizes = (70, 1, 400, 0)
    xs = [integers(n, p, torch.float16, pitch=p + i, seed=i) for i, p in enumerate(sizes)]
    shifts = [constant_shift(p, i) if i % 2 else None for i, p in enumerate(sizes)]
    for partial, x, shift in zip(multiply("mma", xs, [2, 1, 4, 1], parts=2, shifts=shifts), xs, shifts, strict=True):
        np.testing.assert_array_equal(lower(partial, n), truth(x, shift))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_accuracy(dtype, parts):
    x = features(70, 700, dtype)
    (partial,) = multiply("mma", [x], [2], parts=parts)
    assert error(partial, x) <= TOLERANCE[parts]


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_shift_is_taken_off_before_the_product(dtype, offset):
    x = features(66, 300, dtype, mean=1000.0)
    shift = torch.full((offset + 300,), torch.nan)[offset:].copy_(x[:16].float().mean(0))
    (partial,) = multiply("mma", [x], [1], parts=2, shifts=[shift])
    assert error(partial, x, shift) <= TOLERANCE[2]


def test_long_sums_are_not_biased():
    # All products are positive: tensor cores that truncate show it, unless their sums are kept short.
    x = features(4, 20_000, torch.bfloat16).abs_()
    (partial,) = multiply("mma", [x], [1])
    assert error(partial, x) <= 5e-6


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_same_bits_in_any_order_of_threads(dtype):
    x = features(130, 200, dtype, mean=1.0)
    results = []
    for seed in (1, 1, 2):
        _emulated.configure(capability=80, seed=seed, truncate=True)
        results.append(multiply("mma", [x], [2], parts=2)[0])
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nonfinite_spoils_its_row_and_column_only(bad):
    x = integers(128, 100, torch.float32)
    x[66, 99] = bad
    G = lower(multiply("mma", [x], [1], parts=2)[0], 128)
    assert not np.isfinite(G[66, :67]).any()
    assert not np.isfinite(G[66:, 66]).any()
    others = np.arange(128) != 66
    np.testing.assert_array_equal(G[np.ix_(others, others)], truth(x[others]))


def test_refuses_what_it_cannot_multiply():
    with pytest.raises(RuntimeError, match="float64 is multiplied by multiply_exact"):
        multiply("mma", [features(5, 5, torch.float64)], [1])
    with pytest.raises(RuntimeError, match="parts is 3, expected 1 or 2"):
        multiply("mma", [features(5, 5, torch.float32)], [1], parts=3)
