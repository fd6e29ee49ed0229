"""The twins keep the digits of their type, whatever torch is set to, and derivatives those of the activations' type."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pyscale as ps
from pyscale.ops import reference
from tests.ops import oracle
from tests.tolerances import RELATIVE


def activations(n=12, p=300, mean=1.0, dtype=torch.float32, seed=0):
    return (torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + mean).to(dtype)


def relative_error(value, truth):
    value, truth = np.asarray(value, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    return np.linalg.norm(value - truth) / np.linalg.norm(truth)


def gradient(x, y, **options):
    x = x.clone().requires_grad_()
    ps.cka(x, y, **options).backward()
    return x.grad


TWINS = {
    "gram": lambda x: reference.gram(x, "linear", "double", 1.0, torch.float64)[0],
    "uncentred": lambda x: reference.gram(x, "linear", "none", 1.0, torch.float64)[0],
    "rbf": lambda x: reference.gram(x, "rbf", "double", 1.0, torch.float64)[0],
    "packed_gram": lambda x: reference.packed_gram(x, "linear", 1.0, torch.float64)[0],
    "hsic_pairs": lambda x: reference.hsic_pairs(x, x + 1),
    "cross_moments": lambda x: reference.cross_moments(x[:, :5], x[0, :5], x[:, 5:9], x[0, 5:9]),
    "gradient": lambda x: gradient(x, x + activations(seed=1)),
}


@pytest.fixture(params=["float64 sums", "float32 sums"])
def sums(request, monkeypatch):
    """Let the twins add in float32 too, as on a device that has no float64: there autocast reaches all products."""
    if request.param == "float32 sums":
        monkeypatch.setattr(reference, "accumulator_dtype", lambda device: torch.float32)


@pytest.mark.parametrize("name", TWINS)
def test_autocast_narrows_nothing(sums, name):
    x = activations()
    expected = TWINS[name](x)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x.T).dtype == torch.bfloat16  # it would
        assert torch.equal(TWINS[name](x), expected)


@pytest.fixture(params=["high", "medium", "newer interface"])
def reduced(request):
    """Let torch round the operands of float32 products, by either of its interfaces."""
    if request.param == "newer interface":
        if not hasattr(torch.backends.cuda.matmul, "fp32_precision"):
            pytest.skip("this torch has the older interface alone")
        before = torch.backends.cuda.matmul.fp32_precision
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        yield
        torch.backends.cuda.matmul.fp32_precision = before
    else:
        torch.set_float32_matmul_precision(request.param)
        yield
        torch.set_float32_matmul_precision("highest")


def test_reduced_float32_products_are_formed_in_float64(reduced):
    a, b = activations(9, 70), activations(9, 70, seed=1)
    assert torch.equal(reference.product(a, b.T), (a.double() @ b.double().T).float())


def test_the_setting_does_not_outlive_its_test():
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_derivatives_for_16_bit_activations_lose_no_more_than_their_last_rounding(estimator, kernel):
    """Those of a CKA with respect to the Gram are below what float16 holds; those with respect to x are not."""
    x = activations(64, 2048, 0.0, torch.float16)
    y = (x + activations(64, 2048, 0.0, seed=1)).half()
    options = {"estimator": estimator, "kernel": kernel}
    truth = gradient(x.double(), y.double(), **options)
    found = gradient(x, y, **options)
    assert found.dtype == torch.float16
    assert relative_error(found, truth) <= 1e-3 + relative_error(truth.half(), truth)


@pytest.mark.parametrize("scale", [1e-18, 1e-12, 1e12, 1e17])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_derivatives_of_any_size(kernel, scale):
    """With respect to the Gram they are of the size of 1 / x², which float32 may not hold."""
    x, y = scale * activations(10, 30), scale * activations(10, 30, seed=1)
    truth = gradient(x.double(), y.double(), kernel=kernel)
    assert relative_error(gradient(x, y, kernel=kernel), truth) <= RELATIVE["float32"]


def test_a_constant_sum_has_no_derivative():
    x = activations(6, 4).requires_grad_()
    (ps.ops.centered_gram(x, centering="double") * 0).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_the_twin_is_the_definition_in_float64(kernel, mean):
    x = activations(12, 300, mean, torch.float64)
    K = reference.gram(x, kernel, "unbiased", 1.0, torch.float64)[0]
    assert relative_error(K, oracle.gram(x.numpy(), kernel, "unbiased")) <= RELATIVE["float64"]
