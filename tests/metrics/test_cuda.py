"""The metrics on a GPU: the same numbers, on the device they came from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pyscale as ps
from pyscale.metrics import AllPairsMoments, MinibatchCKA, PermutationNull, StreamingCCA, StreamingCKA
from pyscale.ops import packed_gram
from tests import oracles
from tests.metrics.samples import correlated
from tests.tolerances import RELATIVE

pytestmark = pytest.mark.cuda


def on_gpu(*arrays, dtype=torch.float64):
    return [torch.from_numpy(a).to("cuda", dtype) for a in arrays]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("n", [24, 120])
def test_cka_is_the_oracles(dtype, kernel, n):
    x, y = on_gpu(*correlated(0, n, 30, 40), dtype=dtype)
    for estimator in ("unbiased", "biased"):
        value = ps.cka(x, y, kernel=kernel, estimator=estimator)
        assert (value.device, value.shape) == (x.device, ())
        expected = oracles.cka(x.double().cpu().numpy(), y.double().cpu().numpy(), kernel, estimator)
        assert value.item() == pytest.approx(expected, rel=10 * RELATIVE[str(dtype).removeprefix("torch.")])


@pytest.mark.parametrize("offset", [0, 10, 1000])
def test_large_means_in_float32(offset):
    x, y = on_gpu(*(a + offset for a in correlated(1, 64, 200, 40)), dtype=torch.float32)
    expected = oracles.cka(x.double().cpu().numpy(), y.double().cpu().numpy())
    assert ps.cka(x, y).item() == pytest.approx(expected, abs=1e-4)


def test_gradients_are_those_of_the_cpu():
    x, y = correlated(2, 16, 12, 9)
    for function in (ps.cka, ps.procrustes, lambda a, b: ps.svcca(a, b, variance=0.9).mean):
        gradients = []
        for device in ("cpu", "cuda"):
            a = torch.from_numpy(x).to(device).requires_grad_()
            function(a, torch.from_numpy(y).to(device)).backward()
            gradients.append(a.grad.cpu())
        torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)


def test_other_metrics_are_those_of_the_cpu():
    x, y = correlated(3, 60, 8, 5)
    a, b = on_gpu(x, y)
    np.testing.assert_allclose(ps.cca(a, b).correlations.cpu(), ps.cca(x, y).correlations, atol=1e-10)
    assert ps.cca(a, b).mean.device == a.device
    assert ps.svcca(a, b).mean.item() == pytest.approx(ps.svcca(x, y).mean, rel=1e-9)
    assert ps.pwcca(a, b).item() == pytest.approx(ps.pwcca(x, y), rel=1e-9)
    assert ps.procrustes(a, b).item() == pytest.approx(ps.procrustes(x, y), rel=1e-9)
    assert ps.chance(a, b, estimator="biased").item() == pytest.approx(ps.chance(x, y, estimator="biased"), rel=1e-9)
    np.testing.assert_allclose(ps.cka_matrix([a, b]).cpu(), ps.cka_matrix([x, y]), rtol=1e-9)


def test_streams_are_those_of_the_cpu():
    batches = [correlated(t, n, 6, 4) for t, n in enumerate((20, 7, 33))]
    for make in (StreamingCKA, StreamingCCA, MinibatchCKA, AllPairsMoments):
        metrics = [make(), make()]
        for x, y in batches:
            for metric, (a, b) in zip(metrics, ((x, y), on_gpu(x, y)), strict=True):
                metric.update(*((a, b) if "Streaming" in make.__name__ else ([a], [b])))
        assert metrics[1].device.type == "cuda"
        cpu, gpu, moved = (metric.compute() for metric in (*metrics, metrics[1].to("cpu")))
        for result in (gpu, moved):
            for name in ("values", "stderr", "zscores", "mean", "r2"):
                if hasattr(cpu, name):
                    found = torch.as_tensor(getattr(result, name)).cpu()
                    np.testing.assert_allclose(found, getattr(cpu, name), rtol=1e-8)
            if make in (StreamingCKA, AllPairsMoments):
                np.testing.assert_allclose(torch.as_tensor(result).cpu(), cpu, rtol=1e-8)


def test_states_move_and_are_checked():
    x, y = correlated(4, 20, 4, 3)
    metric = StreamingCKA().update(x, y).to("cuda").update(*on_gpu(x, y))
    with pytest.raises(ValueError, match="on cpu and the metric on cuda:0"):
        metric.update(x, y)
    with pytest.raises(ValueError, match="x is on cuda:0 and y on cpu"):
        ps.cka(on_gpu(x)[0], torch.from_numpy(y))
    loaded = StreamingCKA().load_state_dict(metric.state_dict())
    assert loaded.device.type == "cuda"
    assert StreamingCKA().to("cpu").load_state_dict(metric.state_dict()).device.type == "cpu"


def test_permutations_are_those_of_the_cpu():
    grams = [packed_gram(torch.from_numpy(a)).values[None] for a in correlated(5, 12, 6, 5)]
    sums = [
        PermutationNull(4).update_packed(*(g.to(device) for g in grams), 12).compute() for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(*sums, rtol=1e-10)


def test_the_same_bits_each_time():
    x, y = on_gpu(*correlated(6, 64, 500, 300), dtype=torch.float32)
    first = ps.cka(x, y)
    assert all(torch.equal(ps.cka(x, y), first) for _ in range(5))
