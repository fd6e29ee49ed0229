"""The ops on a GPU against the oracle; the tests named ``small`` also run under compute-sanitizer."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale import ops
from tests.ops import oracle
from tests.tolerances import RELATIVE

pytestmark = pytest.mark.cuda

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def relative_error(K, truth):
    return np.linalg.norm(K.double().cpu().numpy() - truth) / max(np.linalg.norm(truth), 1e-300)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("centering", ["none", "double", "unbiased"])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("shape", [(4, 1), (5, 33), (65, 130), (64, 2049)], ids=str)
def test_small_shapes_agree_with_the_definition(shape, kernel, centering, dtype):
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1).to(dtype)
    truth = oracle.gram(x.double().numpy(), kernel, centering)
    K = ops.centered_gram(x.cuda(), kernel=kernel, centering=centering, out_dtype=torch.float64)
    assert K.is_cuda
    # Of few samples centring leaves little of an RBF kernel, and its errors are in proportion to what was there before.
    whole = oracle.gram(x.double().numpy(), kernel, "none" if kernel == "rbf" else centering)
    allowed = RELATIVE[str(dtype).removeprefix("torch.")] * np.linalg.norm(whole)
    assert np.linalg.norm(K.double().cpu().numpy() - truth) <= allowed
    assert torch.equal(K, K.T)


@pytest.mark.parametrize("n", [64, 200, 513])
def test_wide_activations_with_large_means(n):
    x = torch.randn(n, 70_000, device="cuda") + 1000
    truth = oracle.gram(x.double().cpu().numpy(), "linear", "double")
    assert relative_error(ops.centered_gram(x), truth) <= RELATIVE["float32"]


def test_small_pitches_streams_and_the_same_bits_twice():
    wide = torch.randn(70, 300, device="cuda")
    x = wide[:, 3:-5]
    first = ops.packed_gram(x).values
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        second = ops.packed_gram(x.contiguous()).values
    stream.synchronize()
    assert torch.equal(first, second)


def test_small_constancy_and_empty_shapes():
    assert ops.packed_gram(torch.full((8, 3), 0.1, device="cuda")).constant
    assert ops.centered_gram(torch.empty(0, 5, device="cuda"), centering="none").shape == (0, 0)
    assert torch.equal(ops.centered_gram(torch.empty(5, 0, device="cuda")), torch.zeros(5, 5, device="cuda"))


def test_small_gradient():
    x = torch.randn(9, 5, dtype=torch.float64, device="cuda", requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: ops.packed_gram(x, kernel="rbf").values, (x,))


def test_compiled_whole():
    def loss(x):
        return ops.centered_gram(x).square().sum()

    x = torch.randn(9, 5, device="cuda")
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), loss(x))


def test_running_out_of_memory_is_torchs_error():
    x = torch.zeros(2_000_000, 1, device="cuda")  # its triangle would take 8 TB
    with pytest.raises(torch.OutOfMemoryError):
        ops.packed_gram(x)
    assert ops.packed_gram(x[:8]).constant
