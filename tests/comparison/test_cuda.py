"""Comparisons on a GPU: the numbers of the CPU, without waiting inside hooks, without keeping activations."""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

import pyscale as ps
from tests.comparison.networks import InPlaceNet, mlp, pictures, vectors

pytestmark = [pytest.mark.cuda, pytest.mark.usefixtures("float32_convolutions")]

OPTIONS = [{}, {"kernel": "rbf"}, {"features": "pool"}, {"permutations": 9}]


def networks(dtype=torch.float32):
    return InPlaceNet(6, seed=1).to(dtype), InPlaceNet(9, seed=2).to(dtype)


def on_gpu(batches):
    return [batch.cuda() for batch in batches]


@pytest.mark.parametrize("options", OPTIONS)
def test_networks_that_work_in_place_get_the_numbers_of_the_cpu(options):
    x, y = networks()
    batches = pictures(16, 16, 11)
    expected = ps.compare(x, y, batches, progress=False, **options)
    found = ps.compare(x.cuda(), y.cuda(), batches, progress=False, **options)
    assert (found.rows, found.columns) == (expected.rows, expected.columns)
    assert found.meta["device"].startswith("cuda")
    np.testing.assert_allclose(found.values, expected.values, atol=1e-4 if "kernel" in options else 2e-5)
    np.testing.assert_allclose(found.zscores, expected.zscores, atol=1e-2)
    if found.pvalues is not None:
        np.testing.assert_allclose(found.pvalues, expected.pvalues, atol=0.11)  # a tie may fall to either side


def test_float64_networks_are_compared_in_float64():
    x, y = networks(torch.float64)
    batches = pictures(16, 9, dtype=torch.float64)
    expected = ps.compare(x, y, batches, progress=False)
    found = ps.compare(x.cuda(), y.cuda(), batches, progress=False)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_network_and_its_copy_in_half_precision(dtype):
    x, y = InPlaceNet(8, seed=3).to("cuda", dtype), InPlaceNet(8, seed=3).to("cuda", dtype)
    values = ps.compare(x, y, on_gpu(pictures(32, 32, dtype=dtype)), progress=False).values
    np.testing.assert_allclose(np.diag(values), 1, atol=1e-12)
    assert np.abs(values).max() <= 1 + 1e-12


def test_similarities_never_exceed_one():
    x, y = (net.cuda() for net in networks())
    found = ps.compare(x, y, on_gpu(pictures(16, 16)), progress=False).values
    itself = ps.compare(x, x, on_gpu(pictures(16, 16)), progress=False).values
    assert max(np.abs(found).max(), np.abs(itself).max()) <= 1 + 1e-12
    assert (np.diag(itself) == 1).all()


def test_the_same_bits_each_time():
    x, y = (net.cuda() for net in networks())
    batches = on_gpu(pictures(16, 16))
    first, *others = (ps.compare(x, y, batches, progress=False).values for _ in range(5))
    assert all(np.array_equal(first, other) for other in others)


# ---- Waiting ----


@contextmanager
def told_of_waits(mode):
    """Have torch raise ("error") or warn ("warn") where the GPU is waited for."""
    set_mode = torch.cuda.set_sync_debug_mode
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the mode calls itself a prototype
        set_mode(mode)
    try:
        yield
    finally:
        set_mode("default")


def without_waiting(model, batch):
    with told_of_waits("error"):
        return model(batch)


@pytest.mark.parametrize("options", OPTIONS)
def test_hooks_wait_for_nothing(options):
    x, y = (net.cuda() for net in networks())
    batches = on_gpu(pictures(16, 11))
    expected = ps.compare(x, y, batches, progress=False, **options)  # also makes cuDNN ready
    found = ps.compare(x, y, batches, forward=without_waiting, progress=False, **options)
    np.testing.assert_array_equal(found.values, expected.values)


def waits(x, y, batches, **options):
    """Return how often a comparison waited for the GPU."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with told_of_waits("warn"):
            ps.compare(x, y, batches, progress=False, **options)
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("options", OPTIONS)
def test_every_batch_is_waited_for_once(options):
    x, y = (net.cuda() for net in networks())
    batches = on_gpu(pictures(16, 16, 16, 16))
    assert waits(x, y, batches, **options) - waits(x, y, batches[:3], **options) == 1


# ---- Second looks ----


@pytest.mark.parametrize("scale", [1e-25, 1e20])
def test_what_default_products_cannot_hold_is_formed_from_float64_ones(scale):
    x, y = mlp(6, 20, 4, seed=1), mlp(6, 20, 4, seed=1).cuda()
    with torch.no_grad():
        for parameter in x.parameters():
            parameter *= scale
    c = ps.compare(x.cuda(), y, vectors(16, 16, p=6), layers="0", progress=False)
    assert c.values[0, 0] == pytest.approx(1, abs=1e-5)


def test_layers_without_variation_are_named():
    x, y = mlp(4, 8, 3, seed=1).cuda(), mlp(4, 8, 3, seed=2).cuda()
    nn.init.constant_(y[0].bias, -1000.0)
    with pytest.warns(UserWarning, match="^layer '1' of model_y, layer '2' of model_y are constant to rounding"):
        c = ps.compare(x, y, vectors(16, 16), progress=False)
    assert np.isnan(c.values).tolist() == [[False, True, True]] * 3


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "infinity")])
def test_non_finite_activations_are_named_and_leave_the_gpu_usable(value, word):
    x, y = mlp(4, 8, 3, seed=1).cuda(), mlp(4, 8, 3, seed=2).cuda()
    with torch.no_grad():
        y[2].bias[1] = value
    with pytest.raises(ValueError, match=f"^activations of layer '2' of model_y in batch 0 hold {word}"):
        ps.compare(x, y, vectors(16, 16), progress=False)
    assert (np.diag(ps.compare(x, x, vectors(16, 16), progress=False).values) == 1).all()


# ---- Streams, devices, memory ----


def test_on_a_stream_of_the_users():
    x, y = (net.cuda() for net in networks())
    batches = pictures(16, 16)
    expected = ps.compare(x, y, batches, progress=False)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        found = ps.compare(x, y, batches, progress=False)
    np.testing.assert_array_equal(found.values, expected.values)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_no_activation_is_kept(kernel):
    """Beyond the forward pass alone: a workspace, packed Grams and part of one activation, not one of each layer."""
    layers, n, width, side = 12, 64, 32, 64
    torch.manual_seed(0)
    convolutions = (nn.Conv2d(3 if i == 0 else width, width, 3, padding=1) for i in range(layers))
    model = nn.Sequential(*convolutions).cuda().eval()
    batch = torch.randn(n, 3, side, side, device="cuda")
    activation = 4 * n * width * side * side

    def peak(run):
        run()  # what cuDNN and the kernels allocate once
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    with torch.inference_mode():
        alone = peak(lambda: model(batch))
    compared = peak(lambda: ps.compare(model, model, [batch, batch], kernel=kernel, progress=False))
    assert compared - alone < 1.5 * activation


needs_two = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")


@needs_two
def test_on_another_device_than_the_current_one():
    x, y = networks()
    batches = pictures(16, 16)
    expected = ps.compare(x, y, batches, progress=False)
    found = ps.compare(x.to("cuda:1"), y.to("cuda:1"), batches, progress=False)
    assert torch.cuda.current_device() == 0
    np.testing.assert_allclose(found.values, expected.values, atol=2e-5)


@needs_two
def test_a_model_spread_over_two_devices():
    class Spread(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(6, 20, device="cuda:0"), nn.Linear(20, 4, device="cuda:1")

        def forward(self, x):
            return self.second(torch.relu(self.first(x)).to("cuda:1"))

    values = ps.compare(Spread(), Spread(), vectors(16, 16, p=6), progress=False).values
    np.testing.assert_allclose(np.diag(values), 1, atol=1e-6)
