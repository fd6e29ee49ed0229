"""The ops as torch sees them: schemas, fake kernels, gradients, compilation."""

from __future__ import annotations

import pytest
import torch

from pyscale.ops import library

OPS = torch.ops.pyscale
KERNELS = ("linear", "rbf")
CENTERINGS = ("none", "double", "unbiased")


def activations(n=9, p=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, p, dtype=torch.float64, generator=generator).requires_grad_()


@pytest.mark.parametrize("n", [8, 9])  # an even and an odd number of pairs: two middle distances or one
@pytest.mark.parametrize("centering", CENTERINGS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_gradient_of_gram(kernel, centering, n):
    assert torch.autograd.gradcheck(
        lambda x: library.gram(x, kernel, centering, 0.7, torch.float64, 0, "default")[0], (activations(n),)
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradient_of_packed_gram(kernel):
    assert torch.autograd.gradcheck(
        lambda x: library.packed_gram(x, kernel, 0.7, torch.float64, 0, "default")[0], (activations(8),)
    )


def test_gradient_of_hsic_pairs():
    v, w = activations(3, 10, 1), activations(4, 10, 2)
    assert torch.autograd.gradcheck(lambda v, w: library.hsic_pairs(v, w, 0), (v, w))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_gradients_have_the_inputs_dtype(dtype):
    x = activations().detach().to(dtype).requires_grad_()
    library.packed_gram(x, "linear", 1.0, torch.float32, 0, "default")[0].square().sum().backward()
    wide = x.detach().double().requires_grad_()
    library.packed_gram(wide, "linear", 1.0, torch.float64, 0, "default")[0].square().sum().backward()
    assert x.grad.dtype == dtype
    error = (x.grad.double() - wide.grad).norm() / wide.grad.norm()
    assert error <= 16 * torch.finfo(dtype).eps


@pytest.mark.parametrize("centering", CENTERINGS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_opcheck_gram(kernel, centering):
    torch.library.opcheck(OPS.gram.default, (activations(), kernel, centering, 0.7, torch.float64, 0, "default"))


@pytest.mark.parametrize("kernel", KERNELS)
def test_opcheck_packed_gram(kernel):
    torch.library.opcheck(OPS.packed_gram.default, (activations(), kernel, 0.7, torch.float32, 0, "default"))


def test_opcheck_hsic_pairs():
    torch.library.opcheck(OPS.hsic_pairs.default, (activations(3, 10), activations(4, 10), 0))


@pytest.mark.parametrize("second", [False, True])
def test_opcheck_add_moments(second):
    x = activations().detach()
    zero = torch.zeros(5, dtype=torch.float64)
    other = (x.flip(0), zero) if second else (None, None)
    torch.library.opcheck(OPS.add_moments.default, (torch.zeros(5, 5, dtype=torch.float64), x, zero, *other, 0))


def test_compiled_whole():
    def loss(x):
        values, _ = library.packed_gram(x, "rbf", 1.0, torch.float64, 0, "default")
        return values.square().sum()

    x = activations()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    (expected,) = torch.autograd.grad(loss(x), x)
    (actual,) = torch.autograd.grad(compiled(x), x)
    torch.testing.assert_close(actual, expected)
