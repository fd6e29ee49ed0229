"""Grams whose float32 products lose digits: few samples with a far one, tiny squares, samples that nearly coincide."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale import ops
from tests.ops import oracle
from tests.tolerances import RELATIVE


def error(x, kernel, centering):
    truth = oracle.gram(x.double().numpy(), kernel, centering)
    K = ops.centered_gram(x, kernel=kernel, centering=centering, out_dtype=torch.float64)
    return np.linalg.norm(K.numpy() - truth) / np.linalg.norm(truth)


def normal(n, p, seed=0):
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("sigmas", [100.0, 3000.0])
@pytest.mark.parametrize("n", [4, 5, 8, 15, 16, 40])
def test_a_far_sample_does_not_drag_the_shift_along(n, sigmas, kernel):
    x = normal(n, 200)
    x[0] += sigmas
    assert error(x.float(), kernel, "unbiased") <= RELATIVE["float32"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [1e-17, 1e-20, 1e-22, 1e-24, 1e-30])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_squares_that_float32_hardly_holds(kernel, scale, dtype):
    assert error((normal(9, 300) * scale).to(dtype), kernel, "double") <= RELATIVE["float32"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_samples_that_are_near_one_another_and_far_from_the_rest(dtype):
    x = normal(24, 6)
    x[:, 0] = 1000.0 * (torch.arange(24) % 3)  # three heaps, each of samples that differ in the other features alone
    x = x.to(dtype)
    assert error(x, "rbf", "unbiased") <= RELATIVE["float32"]
