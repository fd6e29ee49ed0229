"""The emulator itself: its models of the GPU's instructions beside NumPy, and kernels with one bug each, all caught."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

_emulated = pytest.importorskip("pyscale._emulated", reason="built with PYSCALE_EMULATOR=ON")
selftest = _emulated.selftest
Bug = selftest.Bug

SEEDS = range(4)
DTYPES = {
    torch.float64: _emulated.DType.f64,
    torch.float32: _emulated.DType.f32,
    torch.float16: _emulated.DType.f16,
    torch.bfloat16: _emulated.DType.bf16,
}


@pytest.fixture(autouse=True)
def device():
    _emulated.configure()
    yield
    _emulated.configure()


def matrix(x):
    return _emulated.Matrix(x.data_ptr(), x.shape[0], x.shape[1], x.stride(0), DTYPES[x.dtype])


def normal(rows, columns, dtype, seed=0):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def product(A, B):
    return A.double().numpy() @ B.double().numpy().T


def relative_error(result, truth):
    """Infinite where a NaN is."""
    error = np.linalg.norm(result.double().numpy() - truth) / np.linalg.norm(truth)
    return error if np.isfinite(error) else np.inf


def outcome(kernel, *arguments):
    """The bytes of the result, or the error's message."""
    try:
        return kernel(*arguments).numpy().tobytes()
    except RuntimeError as error:
        return str(error)


# ---- threads ----


def row_sums(X, bug=Bug.none):
    out = torch.full((1, X.shape[0]), torch.nan, dtype=torch.float64)
    selftest.row_sums(matrix(out), matrix(X), bug)
    return out


def relay(rounds, bug=Bug.none):
    out = torch.full((1, 64), torch.nan, dtype=torch.float64)
    selftest.relay(matrix(out), rounds, bug)
    return out[0]


def relayed(rounds):
    return sum(64.0 * r + np.arange(64) for r in range(rounds))


@pytest.mark.parametrize("seed", SEEDS)
def test_shuffles_and_barriers_add_rows(seed):
    _emulated.configure(seed=seed)
    X = normal(5, 256, torch.float32)
    np.testing.assert_allclose(row_sums(X)[0], X.double().sum(1), rtol=1e-5, atol=1e-5)


def test_each_shuffle_reads_the_lane_it_names():
    out = torch.empty(4, 32, dtype=torch.float64)
    selftest.shuffles(matrix(out))
    lane = np.arange(32)
    down = np.where(lane + 3 < 32, lane + 3, lane)
    up = np.where(lane >= 2, lane - 2, lane)
    within_eight = lane // 8 * 8 + (lane + 7) % 8
    np.testing.assert_array_equal(out.numpy(), 100.0 + np.stack([lane ^ 5, down, up, within_eight]))


@pytest.mark.parametrize("seed", SEEDS)
def test_named_barriers_hand_over(seed):
    _emulated.configure(seed=seed)
    np.testing.assert_array_equal(relay(7), relayed(7))


def test_atomics_add():
    out = torch.empty(1, 3, dtype=torch.float64)
    selftest.counts(matrix(out))
    np.testing.assert_array_equal(out.numpy()[0], [-4 * 95 * 96 / 2, 96 * (0 + 1 + 2 + 3), 4 * 96 * 2.0**40])


@pytest.mark.parametrize("seed", SEEDS)
def test_missing_syncthreads_is_seen(seed):
    _emulated.configure(seed=seed)
    assert row_sums(normal(5, 256, torch.float32), Bug.no_syncthreads).isnan().any()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bug", [Bug.no_full_wait, Bug.early_release], ids=lambda bug: bug.name)
def test_missing_named_barrier_is_seen(bug, seed):
    _emulated.configure(seed=seed)
    assert outcome(relay, 7, bug) not in (outcome(relay, 7), relayed(7).tobytes())


@pytest.mark.parametrize(
    ("bug", "message"),
    [
        (Bug.missing_warp, "deadlock: threads .* wait for barrier 0, where 224 of 256 threads have come"),
        (Bug.partial_shuffle, "deadlock: .* wait for a shuffle of warp 2, where 31 of 32 lanes have come"),
        (Bug.unequal_barrier, "barrier 0 for (128|256) threads, while others wait at it for"),
        (Bug.shared_overrun, "wrote beyond the 32 bytes of shared memory"),
        (Bug.too_much_shared, "the device has 232448"),
        (Bug.misaligned_load, "a load of 16 bytes from an address that is no multiple"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.parametrize("seed", SEEDS)
def test_misuse_is_an_error_and_leaves_the_emulator_usable(bug, message, seed):
    _emulated.configure(seed=seed)
    X = normal(2, 256, torch.float32)
    with pytest.raises(RuntimeError, match=message):
        row_sums(X, bug)
    np.testing.assert_allclose(row_sums(X)[0], X.double().sum(1), rtol=1e-5, atol=1e-5)


def test_launches_of_several_callers_take_turns():
    X = normal(200, 256, torch.float32)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(row_sums, [X] * 8))
    for result in results:
        assert torch.equal(result, row_sums(X))


@pytest.mark.parametrize("option", ["capability", "multiprocessors"])
def test_configure_refuses_what_no_device_has(option):
    with pytest.raises(RuntimeError, match=f"{option} is 0"):
        _emulated.configure(**{option: 0})


def test_errors_name_block_and_thread():
    with pytest.raises(RuntimeError, match=r"block \(0, 0, 0\), thread \d+: .*store_shared"):
        stored_product(*operands(64, 64), Bug.misaligned_store)


# ---- products of a warp ----


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_warp_product(dtype):
    A, B, D = normal(16, 16, dtype), normal(8, 16, dtype, 1), normal(16, 8, torch.float32, 2)
    truth = D.double().numpy() + product(A, B)
    selftest.warp_product(matrix(D), matrix(A), matrix(B))
    np.testing.assert_allclose(D, truth, rtol=1e-6)  # one rounding to float32


def test_warp_product_in_float64():
    A, B, D = normal(8, 4, torch.float64), normal(8, 4, torch.float64, 1), normal(8, 8, torch.float64, 2)
    truth = D.numpy() + product(A, B)
    selftest.warp_product_exact(matrix(D), matrix(A), matrix(B))
    np.testing.assert_allclose(D, truth, rtol=1e-13)


def test_truncation_rounds_the_accumulator_toward_zero():
    A, B = torch.zeros(16, 16, dtype=torch.bfloat16), torch.zeros(8, 16, dtype=torch.bfloat16)
    A[:, 0], B[:, 0] = 2.0**-13, 1.5 * 2.0**-11  # 3/4 of the distance between 1 and the next float32
    for truncate, expected in ((False, 1 + 2.0**-23), (True, 1.0)):
        for sign in (1, -1):
            D, signed = torch.full((16, 8), float(sign)), sign * A
            _emulated.configure(truncate=truncate)
            selftest.warp_product(matrix(D), matrix(signed), matrix(B))
            np.testing.assert_array_equal(D, np.full((16, 8), sign * expected, dtype=np.float32))


# ---- products of a warpgroup ----


def operands(columns, depth, dtype=torch.bfloat16, rows=64):
    """Rows of 16-byte multiples, as TMA asks; beyond the depth they are NaN, which nobody may read."""
    pitch = (depth + 7) // 8 * 8
    tensors = []
    for seed, count in enumerate((rows, columns)):
        x = torch.full((count, pitch), torch.nan, dtype=dtype)
        x[:, :depth] = normal(count, depth, dtype, seed)
        tensors.append(x[:, :depth])
    return tensors


def tile_product(A, B, bug=Bug.none, columns=None):
    D = torch.full((64, columns or B.shape[0]), torch.nan)
    selftest.tile_product(matrix(D), matrix(A), matrix(B), bug)
    return D


def stored_product(A, B, bug=Bug.none):
    D = torch.full((64, 64), torch.nan)
    selftest.stored_product(matrix(D), matrix(A), matrix(B), bug)
    return D


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("columns", [64, 128, 192, 256])
def test_tile_product(columns, dtype):
    A, B = operands(columns, 300, dtype)
    assert relative_error(tile_product(A, B), product(A, B)) < 1e-6


def test_what_lies_outside_of_the_matrix_is_zero():
    A, B = operands(100, 77, rows=50)
    D = tile_product(A, B, columns=128)
    assert relative_error(D[:50, :100], product(A, B)) < 1e-6
    assert not D[50:].any()
    assert not D[:, 100:].any()


def test_stored_product():
    A, B = operands(64, 300)
    assert relative_error(stored_product(A, B), product(A, B)) < 1e-6


@pytest.mark.parametrize("multiply", [tile_product, stored_product], ids=["tile", "stored"])
def test_correct_kernels_agree_for_all_seeds(multiply):
    A, B = operands(64, 450)
    results = []
    for seed in (*SEEDS, *SEEDS):
        _emulated.configure(seed=seed)
        results.append(multiply(A, B))
    for result in results[1:]:
        assert torch.equal(result, results[0])


@pytest.mark.parametrize("bug", [Bug.no_full_wait, Bug.early_release], ids=lambda bug: bug.name)
def test_one_seed_gives_one_result(bug):
    """Even of a kernel whose result depends on who comes first."""
    A, B = operands(64, 450)
    _emulated.configure(seed=3)
    first = outcome(tile_product, A, B, bug)
    assert outcome(tile_product, A, B, bug) == first


# What each bug must lead to: a message, or a wrong result.
WRONG = None
TILE_BUGS = {
    Bug.no_full_wait: "one arrival more than the 1 expected",  # the stage goes back before it was filled
    Bug.early_release: WRONG,
    Bug.no_wgmma_wait: "ends before its wgmma products: no wgmma_wait",
    Bug.no_swizzle: WRONG,
    Bug.no_wgmma_fence: "without a wgmma_fence",
    Bug.no_init_fence: "no fence_barrier_init",
    Bug.over_arrival: "one arrival more than the 1 expected",
    Bug.too_many_bytes: "deadlock: .* which lacks 0 of 1 arrivals and 16 bytes",
    Bug.missing_release: "deadlock: .* thread 128 waits for the mbarrier .* lacks 1 of 1 arrivals",
    Bug.misaligned_tile: "load_tile's destination: .* misaligned, expected a multiple of 1024",
    Bug.bad_descriptor: "descriptor of a has a stride of 512 bytes",
    Bug.unlike_descriptors: "lanes of the warpgroup disagree",
    Bug.lone_setmaxnreg: "deadlock: .* registers_decrease of warpgroup 1, where 96 of 128 lanes",
    Bug.too_many_registers: "setmaxnreg ask for 100352 registers",
}
STORED_BUGS = {
    Bug.no_proxy_fence: WRONG,
    Bug.no_swizzle: WRONG,
    Bug.early_release: "deadlock: .* for the mbarrier",  # some threads miss a phase
    Bug.misaligned_store: "store_shared: .* misaligned",
    Bug.store_overrun: "store_shared: bytes .* of which the launch gave 16400",
}


def check_caught(multiply, bug, message, seed):
    A, B = operands(64, 450)
    truth = product(A, B)
    _emulated.configure(seed=seed)
    if message is WRONG:
        assert relative_error(multiply(A, B, bug), truth) > 1e-2
    else:
        with pytest.raises(RuntimeError, match=message):
            multiply(A, B, bug)
    assert relative_error(multiply(A, B), truth) < 1e-6


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bug", TILE_BUGS, ids=lambda bug: bug.name)
def test_bugs_of_the_tile_product_are_caught(bug, seed):
    check_caught(tile_product, bug, TILE_BUGS[bug], seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bug", STORED_BUGS, ids=lambda bug: bug.name)
def test_bugs_of_the_stored_product_are_caught(bug, seed):
    check_caught(stored_product, bug, STORED_BUGS[bug], seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tile_that_was_not_waited_for_spoils_the_result(seed):
    _emulated.configure(seed=seed)
    A, B = operands(64, 128)  # no stage is used twice, so nothing else goes wrong
    assert outcome(tile_product, A, B, Bug.no_full_wait) != tile_product(A, B).numpy().tobytes()
    assert relative_error(tile_product(A, B), product(A, B)) < 1e-6


def test_hopper_instructions_need_hopper():
    _emulated.configure(capability=80)
    with pytest.raises(RuntimeError, match=r"compute capability 8\.0; it needs 9\.0"):
        tile_product(*operands(64, 64))
