"""The wgmma kernels in the emulator: the converting warps' and the copy engine's, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale import _emulated
from tests.emulator import products
from tests.emulator.products import error, features, integers, lower, multiply, truth

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
SIZES = [1, 5, 63, 64, 65, 100, 128, 129, 192, 193, 200, 255, 256, 257, 300, 385, 449, 520]
SHAPES = [40, 100, 150, 230, 260]  # one band to four, and several patches or tiles
TAILS = [1, 7, 8, 63, 64, 65, 1000, 1003]
PATHS = [("tma", BF16, 1), ("tma", F16, 1), ("tma", F32, 2), ("convert", F32, 2), ("convert", BF16, 1)]
# Relative errors in the Frobenius norm, tensor cores truncating as they add.
EXACT = 2e-6  # 16-bit numbers are multiplied without error: only the sums round
LONG = 4e-6  # twice as many of them between two additions to the partial sums, where these are in memory
SPLIT = 8e-6  # two bfloat16 carry 16 bits, and the product of the low parts is left out: 3 units of 2**-18 at most
ROUNDED = 4e-3  # 8 bits


@pytest.fixture(autouse=True)
def gpu():
    _emulated.configure(capability=90, multiprocessors=4, seed=1, truncate=True)
    yield
    _emulated.configure()


def aligned(p: int) -> int:
    """A pitch of p numbers that the copy engine takes."""
    return p + -p % 8


def shift_of(p: int) -> torch.Tensor:
    return torch.randint(-3, 4, (p,), generator=torch.Generator().manual_seed(9)).float()


def check(partial: torch.Tensor, x: torch.Tensor, shift: torch.Tensor | None = None) -> None:
    np.testing.assert_array_equal(lower(partial, x.shape[0]), truth(x, shift))


# ---- sizes: integers, to the bit ----


@pytest.mark.parametrize("dtype", [F16, BF16], ids=str)
@pytest.mark.parametrize("n", SIZES)
def test_copied_rows(n, dtype):
    x = integers(n, 203, dtype, pitch=aligned(203))
    check(*multiply("tma", [x], [2]), x)


@pytest.mark.parametrize("n", SHAPES)
@pytest.mark.parametrize("p", TAILS)
def test_copied_features(p, n):
    x = integers(n, p, BF16, pitch=aligned(p) + 8)
    check(*multiply("tma", [x], [1]), x)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("n", SIZES)
def test_copied_and_converted_rows(n, parts):
    x, shift = integers(n, 203, F32, pitch=aligned(203)), shift_of(203)
    check(*multiply("tma", [x], [2], parts=parts, shifts=[shift]), x, shift)


@pytest.mark.parametrize("n", SHAPES)
@pytest.mark.parametrize("p", [*TAILS, 31, 32, 33])
def test_copied_and_converted_features(p, n):
    x, shift = integers(n, p, F32, pitch=aligned(p) + 4), shift_of(p)
    check(*multiply("tma", [x], [1], parts=2, shifts=[shift]), x, shift)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("dtype", [F32, F16, BF16], ids=str)
@pytest.mark.parametrize("n", SIZES)
def test_converted_rows(n, dtype, parts):
    x, shift = integers(n, 203, dtype), shift_of(203)
    check(*multiply("convert", [x], [2], parts=parts, shifts=[shift]), x, shift)


@pytest.mark.parametrize("dtype", [F32, F16], ids=str)
@pytest.mark.parametrize("n", [40, 130])
@pytest.mark.parametrize("p", TAILS)
def test_converted_features(p, n, dtype):
    x, shift = integers(n, p, dtype, pitch=aligned(p)), shift_of(p)
    check(*multiply("convert", [x], [1], parts=2, shifts=[shift]), x, shift)


@pytest.mark.parametrize("dtype", [F32, F16, BF16], ids=str)
@pytest.mark.parametrize(("pitch", "offset"), [(208, 0), (208, 8), (208, 1), (203, 0), (209, 3)])
def test_converts_rows_of_any_alignment(pitch, offset, dtype):
    x, shift = integers(70, 203, dtype, pitch=pitch, offset=offset), shift_of(203)
    check(*multiply("convert", [x], [1], parts=2, shifts=[shift]), x, shift)


@pytest.mark.parametrize("n", [40, 130])
def test_converts_without_a_shift(n):
    x = integers(n, 203, F32)
    check(*multiply("convert", [x], [1]), x)


# ---- shares and groups ----


@pytest.mark.parametrize(("path", "dtype", "parts"), PATHS, ids=str)
@pytest.mark.parametrize("n", SHAPES)
@pytest.mark.parametrize("splits", [1, 2, 3, 5])
def test_shares(splits, n, path, dtype, parts):
    x = integers(n, 136, dtype)  # three chunks, so that of five shares two are empty
    (partial,) = multiply(path, [x], [splits], parts=parts)
    begin = [3 * s // splits for s in range(splits + 1)]
    for share, first, last in zip(partial, begin, begin[1:], strict=False):
        check(share[None], x[:, 64 * first : 64 * last])


@pytest.mark.parametrize(("path", "dtype", "parts"), PATHS, ids=str)
@pytest.mark.parametrize("n", SHAPES)
def test_groups(n, path, dtype, parts):
    shapes = [(200, 208, 3), (0, 8, 2), (64, 72, 1), (8, 8, 2), (1030, 1032, 2), (65, 80, 1)]
    xs = [integers(n, p, dtype, pitch=pitch, seed=p) for p, pitch, _ in shapes]
    partials = multiply(path, xs, [splits for _, _, splits in shapes], parts=parts)
    for partial, x in zip(partials, xs, strict=True):
        check(partial, x)


# ---- accuracy ----


@pytest.mark.parametrize(("path", "dtype", "parts"), PATHS, ids=str)
@pytest.mark.parametrize("n", [20, 100, 150, 230])
def test_chains_of_sums_stay_short(n, path, dtype, parts):
    # All terms positive: what truncation takes off adds up over the features that an accumulator gathers.
    x = features(n, 4096 + 72, dtype).abs()
    (partial,) = multiply(path, [x], [1], parts=parts)
    assert error(partial, x) <= (SPLIT if parts == 2 else LONG if path == "tma" and n > 128 else EXACT)


@pytest.mark.parametrize(
    ("dtype", "parts", "tolerance"),
    [(F32, 2, SPLIT), (F16, 2, SPLIT), (BF16, 2, SPLIT), (F32, 1, ROUNDED), (F16, 1, ROUNDED), (BF16, 1, ROUNDED)],
    ids=str,
)
@pytest.mark.parametrize("n", [40, 130])
def test_converted_numbers(n, dtype, parts, tolerance):
    x = features(n, 500, dtype, pitch=504, mean=2.0)
    shift = x.float().mean(0)
    for path in ("convert", "tma") if dtype == F32 else ("convert",):
        (partial,) = multiply(path, [x], [1], parts=parts, shifts=[shift])
        assert error(partial, x, shift) <= tolerance


@pytest.mark.parametrize("path", ["convert", "tma"])
@pytest.mark.parametrize("parts", [1, 2])
def test_the_shift_comes_off_before_the_rounding(parts, path):
    x, shift = features(70, 500, F32, mean=1000.0), torch.full((500,), 1000.0)
    (partial,) = multiply(path, [x], [1], parts=parts, shifts=[shift])
    assert error(partial, x, shift) <= (SPLIT if parts == 2 else ROUNDED)


@pytest.mark.parametrize(("path", "dtype", "parts"), PATHS, ids=str)
@pytest.mark.parametrize("n", [40, 150, 260])
def test_same_bits_in_any_order_of_threads(n, path, dtype, parts):
    x = features(n, 1160, dtype)
    results = []
    for seed in (0, 1, 77):
        _emulated.configure(seed=seed, truncate=True)
        results += multiply(path, [x], [2], parts=parts)
    assert all(torch.equal(partial, results[0]) for partial in results)


# ---- guards ----


@pytest.mark.parametrize(("path", "dtype", "parts"), PATHS, ids=str)
@pytest.mark.parametrize("n", [40, 100, 200])
@pytest.mark.parametrize("guard", ["none", "if_plain", "unless_plain"])
def test_guards(guard, n, path, dtype, parts):
    xs, plain = [integers(n, 72, dtype, seed=seed) for seed in range(3)], [True, False, True]
    partials = multiply(path, xs, [1, 2, 1], parts=parts, guard=guard, plain=plain)
    for partial, x, is_plain in zip(partials, xs, plain, strict=True):
        if guard == "none" or is_plain == (guard == "if_plain"):
            check(partial, x)
        else:
            assert (partial == products.UNTOUCHED).all()


# ---- refusals ----


def test_refuses_what_it_cannot_multiply():
    with pytest.raises(RuntimeError, match="1 or 2 parts, not 3"):
        multiply("convert", [features(4, 8, F32)], [1], parts=3)
    with pytest.raises(RuntimeError, match="float64 is multiplied in float64"):
        multiply("convert", [features(4, 8, torch.float64)], [1])
    with pytest.raises(RuntimeError, match="1 or 2 parts, not 3"):
        multiply("tma", [features(4, 8, F32)], [1], parts=3)
    with pytest.raises(RuntimeError, match="float64 is multiplied in float64"):
        multiply("tma", [features(4, 8, torch.float64)], [1])
    with pytest.raises(RuntimeError, match=r"no tensor map for a matrix of bfloat16, shape \(4, 9\) and pitch 9"):
        multiply("tma", [features(4, 9, BF16)], [1])


@pytest.mark.parametrize(
    ("dtype", "n", "p", "pitch", "offset", "takes"),
    [
        (BF16, 4, 16, 16, 0, True),
        (F16, 4, 9, 16, 8, True),
        (F32, 4, 16, 16, 0, True),
        (F32, 4, 16, 18, 0, False),  # rows of 72 bytes
        (torch.float64, 4, 16, 16, 0, False),  # eight bytes
        (BF16, 4, 12, 12, 0, False),  # rows of 24 bytes
        (BF16, 4, 16, 16, 4, False),  # address
        (BF16, 1, 16, 16, 0, True),
        (BF16, 4, 0, 16, 0, False),  # nothing to map
    ],
)
def test_what_the_copy_engine_takes(dtype, n, p, pitch, offset, takes):
    memory = torch.empty(n * pitch + 16, dtype=dtype)
    assert memory.data_ptr() % 16 == 0
    x = _emulated.Matrix(memory.data_ptr() + offset * memory.element_size(), n, p, pitch, products.DTYPES[dtype])
    assert _emulated.tma_takes(x) == takes
