"""The GPU's Gram kernel against the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale import _native
from tests.native.views import CODES, NAMES, error
from tests.tolerances import RELATIVE

pytestmark = pytest.mark.cuda


def device_matrix(x):
    name = str(x.dtype).removeprefix("torch.")
    return _native.Matrix(x.data_ptr(), x.shape[0], x.shape[1], max(x.stride(0), 1), CODES[name])


def cuda_gram(x, shift=None, dtype=torch.float64):
    """The Gram matrix of the rows of ``x``; the output has three columns to spare, which must stay 7."""
    n = len(x)
    room = torch.full((n, n + 3), 7.0, dtype=dtype, device="cuda")
    workspace = torch.full((1, _native.cuda_gram_workspace(*x.shape)), torch.nan, dtype=torch.float64, device="cuda")
    stream = torch.cuda.current_stream().cuda_stream
    move = None if shift is None else device_matrix(shift)
    _native.cuda_gram(
        device_matrix(room[:, :n]), device_matrix(x), move, device_matrix(workspace), x.device.index, stream
    )
    torch.cuda.synchronize()
    assert (room[:, n:] == 7.0).all()
    return room[:, :n].cpu().numpy()


def samples(n, p, name, spare=0, mean=3.0):
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(n, p + spare)) + mean)
    return values.to("cuda", getattr(torch, name))[:, :p]


def truth(x, shift=None):
    values = x.double().cpu().numpy()
    if shift is not None:
        values = values - shift.double().cpu().numpy()
    return values @ values.T


@pytest.mark.parametrize("name", NAMES)
def test_small_shapes(name):
    for n in (0, 1, 63, 64, 65, 130):
        for p in (0, 1, 31, 33, 1025):
            x = samples(n, p, name, spare=n % 3)
            K = cuda_gram(x)
            assert error(K, truth(x)) <= RELATIVE[name], (n, p)
            assert np.array_equal(K, K.T)


@pytest.mark.parametrize("name", NAMES)
def test_small_shift_is_taken_off_before_the_product(name):
    x = samples(70, 2100, name, mean=300.0)
    shift = x.double().mean(dim=0, keepdim=True).to(torch.float64 if name == "float64" else torch.float32)
    assert error(cuda_gram(x, shift), truth(x, shift)) <= RELATIVE[name]


@pytest.mark.parametrize("name", NAMES)
def test_many_features(name):
    x = samples(200, 100_000, name)
    K = cuda_gram(x)
    assert error(K, truth(x)) <= RELATIVE[name]
    assert np.array_equal(K, cuda_gram(x))


def test_small_float32_output_is_the_float64_one_rounded():
    x = samples(70, 500, "float32")
    assert np.array_equal(cuda_gram(x, dtype=torch.float32), cuda_gram(x).astype(np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_small_nonfinite_spoils_its_row(bad):
    x = samples(70, 500, "float32")
    x[66, 333] = bad
    finite = np.isfinite(cuda_gram(x))
    assert not finite[66].any()
    assert not finite[:, 66].any()
    assert finite.sum() == 69 * 69


def test_an_unknown_device_is_an_error():
    x = samples(4, 4, "float32")
    G = torch.zeros(4, 4, device="cuda")
    workspace = torch.zeros(1, _native.cuda_gram_workspace(4, 4), dtype=torch.float64, device="cuda")
    matrices = [device_matrix(G), device_matrix(x), None, device_matrix(workspace)]
    with pytest.raises(RuntimeError, match=r"CUDA: .*cudaErrorInvalidDevice"):
        _native.cuda_gram(*matrices, 99, 0)


def test_a_short_workspace_is_refused():
    x, G = samples(4, 4, "float32"), torch.zeros(4, 4, device="cuda")
    workspace = torch.zeros(1, 5, dtype=torch.float64, device="cuda")
    matrices = [device_matrix(G), device_matrix(x), None, device_matrix(workspace)]
    with pytest.raises(RuntimeError, match=r"workspace has shape \(1, 5\)"):
        _native.cuda_gram(*matrices, 0, 0)
