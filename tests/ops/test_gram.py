"""``ops.centered_gram`` and ``ops.packed_gram``: the kernels and their twins against the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale import ops
from pyscale.ops import reference
from tests.ops import oracle
from tests.tolerances import RELATIVE

KERNELS = ("linear", "rbf")
CENTERINGS = ("none", "double", "unbiased")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def twin(x, kernel="linear", centering="none", bandwidth=1.0, out_dtype=torch.float64):
    return reference.gram(x, kernel, centering, bandwidth, out_dtype)[0]


def kernel_op(x, kernel="linear", centering="none", bandwidth=1.0, out_dtype=torch.float64):
    return ops.centered_gram(x, kernel=kernel, centering=centering, bandwidth=bandwidth, out_dtype=out_dtype)


def relative_error(K, truth):
    truth = np.asarray(truth)
    return np.linalg.norm(np.asarray(K, dtype=np.float64) - truth) / max(np.linalg.norm(truth), 1e-300)


def torch_error(x, kernel, centering, truth):
    """What a user's plain torch code in the same dtype would get wrong."""
    if kernel == "linear" and x.dtype in (torch.float32, torch.float64):
        K = x @ x.T
        if centering != "none":
            n = len(x)
            H = torch.eye(n, dtype=x.dtype) - 1 / n
            K = H @ K @ H if centering == "double" else reference.center(K, centering)
        return relative_error(K, truth)
    return 0.0


@pytest.mark.parametrize("implementation", [kernel_op, twin], ids=["kernel", "twin"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("centering", CENTERINGS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(4, 1), (5, 3), (13, 300), (25, 1031), (49, 7)], ids=str)
def test_agrees_with_the_definition(implementation, shape, kernel, centering, dtype):
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1).to(dtype)
    truth = oracle.gram(x.double().numpy(), kernel, centering, 0.7)
    K = implementation(x, kernel, centering, 0.7)
    allowed = max(RELATIVE[str(dtype).removeprefix("torch.")], 2 * torch_error(x, kernel, centering, truth))
    assert relative_error(K, truth) <= allowed
    assert torch.equal(K, K.T)


@pytest.mark.parametrize("offset", [0.0, 1.0, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize("centering", ["double", "unbiased"])
def test_large_means_cost_no_digits(centering, offset):
    """The shift comes before the product: the error is that of the rounded input, not of its mean's square."""
    x = torch.randn(40, 500, generator=torch.Generator().manual_seed(1)) + offset
    truth = oracle.gram(x.numpy(), "linear", centering)
    assert relative_error(kernel_op(x, "linear", centering), truth) <= RELATIVE["float32"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_packed_is_the_lower_triangle_of_the_unbiased_matrix(kernel):
    x = torch.randn(11, 20, dtype=torch.float64)
    packed = ops.packed_gram(x, kernel=kernel)
    truth = oracle.packed(oracle.gram(x.numpy(), kernel, "unbiased"))
    np.testing.assert_allclose(packed.values.numpy(), truth, rtol=0, atol=1e-12 * np.abs(truth).max())
    np.testing.assert_allclose(
        reference.packed_gram(x, kernel, 1.0, torch.float64)[0].numpy(), truth, rtol=0, atol=1e-12 * np.abs(truth).max()
    )


@given(n=st.integers(4, 30), p=st.integers(1, 70), pitch=st.integers(0, 5), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_any_row_pitch_and_layout(n, p, pitch, seed):
    wide = torch.randn(n, p + pitch, generator=torch.Generator().manual_seed(seed))
    truth = oracle.gram(wide[:, :p].numpy(), "linear", "double")
    for x in (wide[:, :p], wide[:, :p].T.contiguous().T, wide.flip(0)[:, :p].flip(0)):
        assert relative_error(kernel_op(x, centering="double"), truth) <= RELATIVE["float32"]
    rows = wide[:, :p].repeat_interleave(2, 0)[::2]
    assert torch.equal(kernel_op(rows, centering="double"), kernel_op(wide[:, :p].contiguous(), centering="double"))


@pytest.mark.parametrize("centering", CENTERINGS)
def test_expanded_rows_are_read_as_they_are(centering):
    x = torch.randn(1, 9).expand(6, 9)
    truth = oracle.gram(x.numpy(), "linear", centering)
    np.testing.assert_allclose(kernel_op(x, centering=centering), truth, atol=1e-12 + 1e-6 * np.abs(truth).max())


def test_the_same_bits_twice_and_for_a_view_of_the_same_numbers():
    x = torch.randn(130, 5000)
    first = ops.centered_gram(x, threads=2)
    assert torch.equal(first, ops.centered_gram(x, threads=2))


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_samples(n):
    x = torch.randn(n, 4, dtype=torch.float64)
    K = ops.centered_gram(x, centering="none")
    np.testing.assert_allclose(K.numpy(), x.numpy() @ x.numpy().T, atol=1e-14)
    with pytest.raises(ValueError, match=rf"x has {n} samples; centering='unbiased' needs at least 4"):
        ops.centered_gram(x, centering="unbiased")
    if n < 2:
        with pytest.raises(ValueError, match="needs at least 2"):
            ops.centered_gram(x)


def test_no_features_give_a_gram_of_zeros():
    assert torch.equal(ops.centered_gram(torch.randn(5, 0), centering="double"), torch.zeros(5, 5))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_shows(bad):
    x = torch.randn(6, 300)
    x[2, 111] = bad
    assert not ops.centered_gram(x).isfinite().all()
    assert not ops.packed_gram(x).values.isfinite().any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "implementation", [ops.packed_gram, lambda x: reference.packed_gram(x, "linear", 1.0, x.dtype)]
)
def test_constant_to_rounding(implementation, dtype):
    base = torch.tensor([0.1, 1000.3, -7.7, 0.0], dtype=torch.float64).to(dtype)
    x = base.expand(8, 4).clone()
    assert implementation(x)[1]
    x[3, 2] *= 1 + 2 * torch.finfo(dtype).eps  # one rounding away is still constant
    assert implementation(x)[1]
    x[3, 2] *= 1 + 16 * torch.finfo(dtype).eps
    assert not implementation(x)[1]


def test_out_dtype():
    x = torch.randn(5, 6)
    assert ops.centered_gram(x).dtype == torch.float32
    assert ops.centered_gram(x.double()).dtype == torch.float64
    assert ops.centered_gram(x.half()).dtype == torch.float32
    assert ops.centered_gram(x, out_dtype=torch.float64).dtype == torch.float64
    with pytest.raises(ValueError, match=r"out_dtype is torch\.float16"):
        ops.centered_gram(x, out_dtype=torch.float16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "poly"}, "kernel is 'poly'; expected one of 'linear', 'rbf'"),
        ({"centering": "single"}, "centering is 'single'"),
        ({"kernel": "rbf", "bandwidth": 0.0}, "bandwidth is 0.0"),
        ({"kernel": "rbf", "bandwidth": float("nan")}, "bandwidth is nan"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        ops.centered_gram(torch.randn(5, 6), **options)


def test_a_bandwidth_that_is_no_number():
    with pytest.raises(TypeError, match="bandwidth is '1'; expected a positive multiple"):
        ops.centered_gram(torch.randn(5, 6), kernel="rbf", bandwidth="1")


def test_twice_torchs_error_at_most():
    """On a wide float32 activation the error stays below twice that of ``x @ x.T``, without any centring."""
    x = torch.randn(64, 100_000, generator=torch.Generator().manual_seed(3)).relu()
    truth = oracle.gram(x.numpy())
    assert relative_error(kernel_op(x), truth) <= 2 * relative_error(x @ x.T, truth)
