"""The precision of a product, and Grams of several sets at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale import ops
from pyscale.ops import library, reference
from tests.ops import oracle

KERNELS = ("linear", "rbf")


def activations(n, p, dtype=torch.float32, mean=1000.0, seed=0):
    x = torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + mean
    return x.to(dtype)


def relative_error(K, truth):
    return np.linalg.norm(np.asarray(K, dtype=np.float64) - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kernel", KERNELS)
def test_exact_is_float64_whatever_the_input(kernel, dtype):
    x = activations(12, 40, dtype, mean=10.0)
    truth = oracle.gram(x.double().numpy(), kernel, "double")
    K = ops.centered_gram(x, kernel=kernel, precision="exact", out_dtype=torch.float64)
    assert relative_error(K, truth) <= 1e-12


def test_exact_holds_what_float32_products_cannot():
    x = activations(8, 5, mean=0.0) * 1e25
    assert not torch.isfinite(ops.packed_gram(x).values).all()
    exact = ops.packed_gram(x, precision="exact", out_dtype=torch.float64)
    assert relative_error(exact.values, 1e50 * ops.packed_gram((x / 1e25).double()).values.numpy()) <= 1e-6


def test_exact_judges_constancy_by_the_inputs_own_rounding():
    x = torch.full((6, 3), 0.1) * (1 + torch.finfo(torch.float32).eps * torch.arange(6)[:, None] % 2)
    assert ops.packed_gram(x).constant
    assert ops.packed_gram(x, precision="exact").constant
    assert not ops.packed_gram(x.double()).constant


def test_fast_is_a_gpus_shortcut():
    x = activations(9, 30)
    assert torch.equal(ops.centered_gram(x, precision="fast"), ops.centered_gram(x))


@pytest.mark.parametrize("op", [ops.centered_gram, ops.packed_gram, lambda x, **o: ops.packed_grams([x], **o)])
def test_another_precision_is_refused(op):
    with pytest.raises(ValueError, match="precision is 'half'; expected one of 'default', 'exact', 'fast'"):
        op(activations(9, 3), precision="half")


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_group_is_its_sets_one_by_one(kernel):
    xs = [activations(9, p, seed=p) for p in (1, 7, 300)]
    xs.append(torch.full((9, 4), 3.0))
    if kernel == "rbf":
        xs.pop()  # it has no width
    group = ops.packed_grams(xs, kernel=kernel, bandwidth=0.7)
    assert group.values.shape == (len(xs), 36)
    for x, values, constant in zip(xs, group.values, group.constant, strict=True):
        one = ops.packed_gram(x, kernel=kernel, bandwidth=0.7)
        assert torch.equal(values, one.values)
        assert constant == one.constant


def test_a_group_of_several_types_takes_the_widest():
    x = activations(6, 5, torch.float64)
    group = ops.packed_grams([x.bfloat16(), x, x.float()])
    assert group.values.dtype == torch.float64
    assert torch.equal(group.values[1], ops.packed_gram(x).values)
    assert torch.equal(group.values[2], ops.packed_gram(x.float(), out_dtype=torch.float64).values)


def test_a_groups_errors_name_the_set():
    x = activations(6, 5)
    with pytest.raises(ValueError, match="xs is empty"):
        ops.packed_grams([])
    with pytest.raises(ValueError, match=r"xs\[0\] has 6 samples and xs\[1\] has 5"):
        ops.packed_grams([x, x[:5]])
    with pytest.raises(TypeError, match=r"xs\[1\] has dtype int64"):
        ops.packed_grams([x, x.long()])
    with pytest.raises(ValueError, match=r"xs\[0\] has 3 samples; the unbiased estimator needs at least 4"):
        ops.packed_grams([x[:3]])


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradient_of_a_group(kernel):
    xs = [activations(7, p, torch.float64, 0.0, seed=p).requires_grad_() for p in (2, 3)]
    assert torch.autograd.gradcheck(lambda *xs: ops.packed_grams(xs, kernel=kernel).values, xs)


def test_opcheck_of_a_group():
    xs = [activations(7, p, torch.float64, 0.0).requires_grad_() for p in (2, 3)]
    torch.library.opcheck(library.packed_grams, (xs, "linear", 1.0, torch.float64, 0, "default"))


def test_a_group_compiles_whole():
    def loss(x, y):
        return ops.packed_grams([x, y]).values.square().sum()

    xs = [activations(7, p, torch.float64, 0.0).requires_grad_() for p in (2, 3)]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(*xs), xs), torch.autograd.grad(loss(*xs), xs))


def test_the_twin_agrees_with_exact():
    x = activations(11, 60)
    twin = reference.packed_gram(x.double(), "linear", 1.0, torch.float64)[0]
    assert relative_error(ops.packed_gram(x, precision="exact", out_dtype=torch.float64).values, twin.numpy()) <= 1e-12
