"""The metrics on a GPU: the same numbers, on the device they came from."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import pyscale as ps
from pyscale.metrics import AllPairsMoments, MinibatchCKA, PermutationNull, StreamingCCA, StreamingCKA
from pyscale.metrics.packing import Attempts, attempt, attempt_exactly
from pyscale.ops import packed_gram, packed_grams
from tests import oracles
from tests.metrics.samples import correlated
from tests.metrics.test_packing import FIT, LAYERS, LINEAR
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
            if make in (
                StreamingCKA,
                AllPairsMoments,
            ):  # a number and an array, which have attributes of such names too
                np.testing.assert_allclose(torch.as_tensor(result).cpu(), cpu, rtol=1e-8)
                continue
            names = [name for name in ("values", "stderr", "zscores", "mean", "r2") if hasattr(cpu, name)]
            assert names
            for name in names:
                found = torch.as_tensor(getattr(result, name)).cpu()
                np.testing.assert_allclose(found, getattr(cpu, name), rtol=1e-8)


def test_tables_of_all_pairs_are_those_of_the_cpu():
    """Nuclear norms come from matrix products here, of layers whose ranks are not multiples of anything."""
    x, y = correlated(7, 90, 20, 13)
    rows = {"a": x, "relu": np.maximum(x, 0), "wide": np.hstack([x, x[:, :9]]), "few": x[:, :3]}
    columns = {"same": x[:, ::-1].copy(), "b": y, "square": y**2}
    cpu, gpu = AllPairsMoments(), AllPairsMoments()
    for part in (slice(0, 30), slice(30, 90)):
        cpu.update(*({name: t[part] for name, t in side.items()} for side in (rows, columns)))
        gpu.update(
            *(dict(zip(side, on_gpu(*(t[part] for t in side.values())), strict=True)) for side in (rows, columns))
        )
    for method in ("cka", "cca", "cca_r2", "svcca", "pwcca", "procrustes", "chance_cka", "chance_cca_r2", "zscores"):
        np.testing.assert_allclose(getattr(gpu, method)(), getattr(cpu, method)(), rtol=1e-8, atol=1e-9)


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


# ---- Grams of many layers, judged together ----


def test_what_is_trusted_is_what_is_trusted_on_the_cpu():
    attempts = Attempts.stacked(attempt(x.cuda(), **LINEAR) for x, _ in LAYERS.values())
    assert attempts.trusted().tolist() == [fine for _, fine in LAYERS.values()]
    for name in FIT:
        found, expected = (attempt_exactly(LAYERS[name][0].to(device), **LINEAR) for device in ("cuda", "cpu"))
        assert found.trusted()
        assert found.constant.item() == expected.constant.item()
        scale = expected.values.abs().max().item()
        if not found.constant:
            np.testing.assert_allclose(found.values.cpu(), expected.values, rtol=1e-9, atol=1e-9 * scale)


def layers_of(seed, n=32):
    x, y = correlated(seed, n, 50, 40)
    return {"conv": x, "relu": np.maximum(x, 0), "wide": np.tile(y, (1, 30)) + 5, "narrow": y[:, :1]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_minibatches_of_many_layers_are_those_of_the_cpu(kernel, dtype):
    metrics = {"cpu": MinibatchCKA(kernel=kernel), "cuda": MinibatchCKA(kernel=kernel)}
    for seed in range(3):
        layers = {name: torch.from_numpy(x).to(dtype) for name, x in layers_of(seed).items()}
        for device, metric in metrics.items():
            metric.update({name: x.to(device) for name, x in layers.items()}, [layers["conv"].to(device)])
    cpu, gpu = (metrics[device].compute() for device in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu.values, cpu.values, atol=1e-4 if kernel == "rbf" else 2e-5)
    assert (np.abs(gpu.values) <= 1 + 1e-12).all()
    assert gpu.values[0, 0] == pytest.approx(1, abs=1e-12)  # one set of numbers, given twice


def test_the_layers_of_a_minibatch_may_hold_what_float32_cannot():
    layers = {name: x.cuda() for name, (x, _) in LAYERS.items() if name in ("varied", "large", "faint")}
    values = MinibatchCKA().update(layers).compute().values
    np.testing.assert_allclose(values, 1, atol=1e-5)
    with pytest.raises(ValueError, match="activations of layer 'NaN' in batch 0 hold NaN"):
        MinibatchCKA().update({**layers, "NaN": LAYERS["NaN"][0].cuda()})


def waits(run):
    """Return how often ``run`` waited for the GPU."""
    run()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_minibatch_is_waited_for_once_however_many_layers_it_has(kernel):
    layers = {name: torch.from_numpy(x).float().cuda() for name, x in layers_of(0).items()}
    metric = MinibatchCKA(kernel=kernel)
    assert waits(lambda: metric.update(layers, list(layers.values()))) == 1
    xs = list(layers.values())
    more = [x + 1 for x in xs] + xs
    assert waits(lambda: ps.cka_matrix(xs, kernel=kernel)) == waits(lambda: ps.cka_matrix(xs, more, kernel=kernel))


def test_permutations_are_not_waited_for():
    v = packed_gram(torch.randn(32, 20, device="cuda")).values[None]
    null = PermutationNull(20)
    assert waits(lambda: null.update_packed(v, v, 32)) == 0


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_grams_are_captured_in_a_graph(kernel):
    """After one call outside of it; the graph then reads what lies in the captured tensors."""
    x = torch.randn(64, 3000, device="cuda")
    y = torch.randn(64, 500, device="cuda")

    def form():
        return packed_gram(x, kernel=kernel).values, packed_grams([x, y], kernel=kernel).values

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        form()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        one, many = form()
    for _ in range(2):
        x.copy_(torch.randn_like(x))
        y.copy_(torch.randn_like(y))
        graph.replay()
        expected, expected_many = form()
        assert torch.equal(one, expected)
        assert torch.equal(many, expected_many)
