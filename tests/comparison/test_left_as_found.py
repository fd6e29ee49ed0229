"""After a comparison, finished or not, models, hooks, modes, gradients and random numbers are as they were."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils.data import DataLoader, TensorDataset

import pyscale as ps
from tests.comparison.networks import InPlaceNet, mlp, pictures, vectors


def hooks(model):
    return [
        (name, len(module._forward_hooks), len(module._forward_pre_hooks)) for name, module in model.named_modules()
    ]


def mixed_modes(model):
    """Training, but for one frozen norm, as in fine-tuning."""
    model.train()
    model.bn.eval()
    return model


@pytest.mark.parametrize("mode", ["minibatch", "exact"])
def test_modes_buffers_parameters_and_hooks(mode):
    x, y = mixed_modes(InPlaceNet(seed=1)), mixed_modes(InPlaceNet(seed=2))
    x.fc.register_forward_hook(lambda module, inputs, output: None)
    before = [
        ({k: v.clone() for k, v in m.state_dict().items()}, hooks(m), [z.training for z in m.modules()]) for m in (x, y)
    ]
    ps.compare(x, y, pictures(16, 16), mode=mode, features="pool", progress=False)
    for model, (state, hooked, training) in zip((x, y), before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
        assert hooks(model) == hooked
        assert [module.training for module in model.modules()] == training
        assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_models_run_in_eval_and_inference_mode():
    seen = []

    class Probe(nn.Module):
        def forward(self, x):
            seen.append((self.training, torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
            return x

    model = nn.Sequential(Probe(), nn.Linear(4, 3)).train()
    ps.compare(model, model, vectors(8), progress=False)
    assert seen == [(False, True, False)]
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


class Broken(nn.Module):
    """Fails in its second batch."""

    def __init__(self, error):
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.error, self.runs = error, 0

    def forward(self, x):
        self.runs += 1
        x = self.fc(x)
        if self.runs == 2:
            torch.rand(3)
            raise self.error
        return x


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
@pytest.mark.parametrize("mode", ["minibatch", "exact"])
def test_a_failure_half_way_leaves_no_trace(mode, error):
    x, y = mlp(4, 4).train(), Broken(error).train()
    state = torch.get_rng_state()
    fused = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(type(error)):
        ps.compare(x, y, vectors(8, 8, 8), mode=mode, progress=False)
    for model in (x, y):
        assert hooks(model) == [(name, 0, 0) for name, _ in model.named_modules()]
        assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.backends.mha.get_fastpath_enabled() == fused
    assert not torch.is_inference_mode_enabled()


def test_random_state_is_untouched():
    """A shuffling loader draws from torch, permutations from a generator of their own."""
    model = mlp(4, 8, 3)
    loader = DataLoader(TensorDataset(torch.randn(32, 4)), batch_size=8, shuffle=True)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    ps.compare(model, model, loader, permutations=5, progress=False)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]


@pytest.mark.cuda
def test_models_go_to_the_device_and_come_back():
    x, y = InPlaceNet(seed=1), InPlaceNet(seed=2)
    batches = pictures(16, 16)
    c = ps.compare(x, y, batches, device="cuda", progress=False)
    expected = ps.compare(x, y, batches, progress=False)
    assert c.meta["device"].startswith("cuda")
    np.testing.assert_allclose(c.values, expected.values, atol=1e-3)
    assert {p.device.type for m in (x, y) for p in m.parameters()} == {"cpu"}


@pytest.mark.cuda
def test_models_on_two_devices_are_refused():
    with pytest.raises(ValueError, match=r"model_x is on cpu and model_y on cuda:0.*device="):
        ps.compare(InPlaceNet(), InPlaceNet().cuda(), pictures(8), progress=False)


@pytest.mark.parametrize("mode", ["minibatch", "exact"])
@pytest.mark.parametrize("features", ["flatten", "pool"])
def test_no_activation_outlives_the_layer_after_the_next(mode, features):
    """Consumed inside the hook: else memory would hold every activation of the network, or of both."""
    alive, most = [], []

    class Layer(nn.Conv2d):
        def forward(self, x):
            most.append(sum(not reference.expired() for reference in alive))
            y = super().forward(x)
            alive.append(StorageWeakRef(y.untyped_storage()))
            return y

    def network(seed):
        torch.manual_seed(seed)
        return nn.Sequential(*(Layer(3, 3, 3, padding=1) for _ in range(5)))

    x, y = network(1), network(2)
    ps.compare(x, y, pictures(8, 8, side=6), mode=mode, features=features, progress=False)
    assert len(most) == 20
    assert max(most) <= 1  # the input of the layer that runs


def test_nothing_is_kept_after_a_comparison():
    references = []

    class Layer(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            references.append(StorageWeakRef(y.untyped_storage()))
            return y

    model = nn.Sequential(Layer(4, 5), Layer(5, 6))
    c = ps.compare(model, model, vectors(8, 8), progress=False)
    assert c.rows == ["0", "1"]
    assert all(reference.expired() for reference in references)
