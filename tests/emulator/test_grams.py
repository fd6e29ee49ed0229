"""Whole centred Grams from the CUDA engine, through ``pyscale.ops``, on the emulated GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale import _emulated
from pyscale.ops import cuda, reference
from tests.ops import oracle
from tests.tolerances import RELATIVE

KERNELS = ("linear", "rbf")
CENTERINGS = ("none", "double", "unbiased")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
FAST = 1e-2  # one product of numbers rounded to 8 bits


@pytest.fixture(autouse=True, params=[80, 90], ids=["sm_80", "sm_90"])
def gpu(request, monkeypatch):
    """Let the ops call the emulated kernels on tensors in the CPU's memory."""
    _emulated.configure(capability=request.param, multiprocessors=4, seed=1, truncate=True)
    monkeypatch.setattr(cuda, "_native", _emulated)
    monkeypatch.setattr(cuda, "_queue", lambda x: (0, 0))
    yield request.param
    _emulated.configure()


def activations(n, p, dtype=torch.float32, mean=1.0, seed=0):
    x = torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + mean
    return x.to(dtype)


def gram(x, kernel="linear", centering="double", bandwidth=1.0, out_dtype=torch.float64, precision="default"):
    return cuda.gram(x, kernel, centering, bandwidth, out_dtype, precision)


def relative_error(K, truth):
    return np.linalg.norm(np.asarray(K, dtype=np.float64) - truth) / max(np.linalg.norm(truth), 1e-300)


def tolerance(dtype):
    return RELATIVE[str(dtype).removeprefix("torch.")]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("centering", CENTERINGS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [(4, 1), (5, 33), (65, 130)], ids=str)
def test_agrees_with_the_definition(shape, kernel, centering, dtype):
    x = activations(*shape, dtype)
    truth = oracle.gram(x.double().numpy(), kernel, centering, 0.7)
    K, constant = gram(x, kernel, centering, 0.7)
    assert relative_error(K, truth) <= tolerance(dtype)
    assert torch.equal(K, K.T)
    assert not constant


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [63, 64, 129, 200, 257])
def test_tiles_and_their_edges(n, dtype):
    x = activations(n, 200, dtype)
    K, _ = gram(x, centering="unbiased")
    assert relative_error(K, oracle.gram(x.double().numpy(), "linear", "unbiased")) <= tolerance(dtype)
    assert torch.equal(K, K.T)


@pytest.mark.parametrize("mean", [0.0, 10.0, 1000.0])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_large_means_cost_no_digits(dtype, mean):
    x = activations(24, 2500, dtype, mean)  # chains of products longer than one accumulator may gather
    K, _ = gram(x)
    assert relative_error(K, oracle.gram(x.double().numpy(), "linear", "double")) <= tolerance(dtype)


@pytest.mark.parametrize("sigmas", [100.0, 1000.0, 3000.0])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_sample_far_from_the_others_costs_these_no_digits(kernel, sigmas):
    x = activations(64, 200, mean=0.0)
    y = x[:, :100] + activations(64, 100, mean=0.0, seed=1)
    x[0] += sigmas  # one of the sampled rows
    y[0] += sigmas
    U, truth = [], []
    for features in (x, y):
        U.append(gram(features, kernel, "unbiased")[0].numpy())
        truth.append(oracle.gram(features.double().numpy(), kernel, "unbiased"))

    def cka(K, L):
        return np.sum(K * L) / np.sqrt(np.sum(K * K) * np.sum(L * L))

    assert abs(cka(*U) - cka(*truth)) <= 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_precisions(dtype):
    x = activations(40, 600, dtype, mean=3.0)
    truth = oracle.gram(x.double().numpy(), "linear", "double")
    errors = {p: relative_error(gram(x, precision=p)[0], truth) for p in ("exact", "default", "fast")}
    assert errors["exact"] <= RELATIVE["float64"]
    assert errors["default"] <= RELATIVE["float32"]
    assert errors["fast"] <= FAST
    assert errors["exact"] < errors["default"] <= errors["fast"]


@pytest.mark.parametrize("precision", ["default", "exact", "fast"])
def test_a_group_is_its_sets_one_by_one_whatever_else_is_in_it(precision):
    sizes = [1, 700, 64, 0, 130]
    xs = [activations(20, p, seed=p) for p in sizes]
    v, constant = cuda.packed_grams(xs, "linear", 1.0, torch.float32, precision)
    for x, values, flag in zip(xs, v, constant, strict=True):
        truth = oracle.gram(x.double().numpy(), "linear", "unbiased")[np.tril_indices(20, -1)]
        bound = {"default": RELATIVE["float32"], "exact": 1e-7, "fast": FAST}[precision]
        assert relative_error(values, truth) <= bound
        assert flag == (x.shape[1] == 0)


def test_more_sets_than_a_launch_takes():
    xs = [activations(5, 1 + i % 3, seed=i) for i in range(70)]
    v, _ = cuda.packed_grams(xs, "linear", 1.0, torch.float64, "exact")
    for x, values in zip(xs, v, strict=True):
        assert torch.equal(values, cuda.packed_gram(x, "linear", 1.0, torch.float64, "exact")[0])


def test_a_group_of_several_types():
    xs = [activations(12, 30 + i, dtype, seed=i) for i, dtype in enumerate((*DTYPES, *DTYPES))]
    v, constant = cuda.packed_grams(xs, "linear", 1.0, torch.float64, "default")
    assert not constant.any()
    for x, values in zip(xs, v, strict=True):
        assert torch.equal(values, cuda.packed_gram(x, "linear", 1.0, torch.float64, "default")[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_group_of_aligned_and_unaligned_rows(dtype):
    wide = [activations(9, p, dtype, seed=p) for p in (64, 72, 80)]
    xs = [wide[0], wide[1][:, 3:], wide[2][:, :65]]  # only the first can be copied by tiles
    v, _ = cuda.packed_grams(xs, "linear", 1.0, torch.float64, "default")
    for x, values in zip(xs, v, strict=True):
        truth = oracle.gram(x.double().numpy(), "linear", "unbiased")[np.tril_indices(9, -1)]
        assert relative_error(values, truth) <= tolerance(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_constancy_is_the_definitions(dtype):
    eps = torch.finfo(dtype).eps
    base = torch.full((30, 50), 0.75, dtype=dtype)
    nearly, varied, last = base.clone(), base.clone(), base.clone()
    nearly[7, 3] *= 1 + 2 * eps
    varied[:, 20] *= 1 + 16 * eps * (torch.arange(30) % 2)
    last[29, 49] = 1.5
    for x in (base, nearly, varied, last):
        assert gram(x)[1] == reference.is_constant(x)


def test_nan_and_infinity_show():
    for value in (torch.nan, torch.inf):
        x = activations(8, 40)
        x[3, 5] = value
        K, constant = gram(x)
        assert not torch.isfinite(K).any() or not torch.isfinite(K[3]).any()
        assert not constant


def test_same_bits_twice_and_under_another_thread_order(gpu):
    x = activations(70, 300)
    first = [gram(x, kernel, "unbiased")[0] for kernel in KERNELS]
    _emulated.configure(capability=gpu, multiprocessors=4, seed=99, truncate=True)
    assert all(torch.equal(gram(x, kernel, "unbiased")[0], K) for kernel, K in zip(KERNELS, first, strict=True))


def test_pitches_and_columns_that_are_not_adjacent():
    wide = activations(20, 100)
    for x in (wide[:, 7:40], wide[::2], wide.T[:20]):
        truth = oracle.gram(x.double().numpy(), "linear", "double")
        assert relative_error(gram(x)[0], truth) <= RELATIVE["float32"]


def test_no_samples_and_no_features():
    assert gram(torch.empty(0, 5), centering="none")[0].shape == (0, 0)
    K, constant = gram(torch.empty(5, 0))
    assert torch.equal(K, torch.zeros(5, 5, dtype=torch.float64))
    assert constant


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_hsic_of_all_pairs(dtype):
    v, w = activations(5, 300, dtype, mean=0.0), activations(70, 300, dtype, mean=0.0, seed=1)
    expected = v.double().numpy() @ w.double().numpy().T
    assert relative_error(cuda.hsic_pairs(v, w), expected) <= 1e-14
    square = cuda.hsic_pairs(w, w)
    assert torch.equal(square, square.T)
    # one arithmetic for all: a set and its copy agree to the bit, so that their CKA is 1
    assert torch.equal(cuda.hsic_pairs(w, w.clone()).diagonal(), square.diagonal())


def test_self_moments_are_added():
    x, mean = activations(37, 90, torch.bfloat16), torch.full((90,), 1.5, dtype=torch.float64)
    out = torch.eye(90, dtype=torch.float64)
    cuda.add_self_moments(out, x, mean)
    centred = x.double().numpy() - 1.5
    assert relative_error(out, np.eye(90) + centred.T @ centred) <= 1e-14
