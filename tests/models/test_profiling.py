"""Counting and timing: what is counted, whatever class it is, and that nothing is left changed."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import nn

from pyscale.models import build, profile, timing


class HiddenConvolution(nn.Conv2d):
    """Pads by itself and calls the functional convolution: counters that look at module classes miss it."""

    def forward(self, x):
        return nn.functional.conv2d(nn.functional.pad(x, (0, 1, 0, 1)), self.weight, self.bias, self.stride)


class Functional(nn.Module):
    """A convolution and a matrix product without modules of their own."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.rand(5, 3, 3, 3))
        self.matrix = nn.Parameter(torch.rand(5, 2))

    def forward(self, x):
        return nn.functional.conv2d(x, self.kernel).mean((2, 3)) @ self.matrix


def test_counts_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, groups=1), nn.Conv2d(8, 8, 3, groups=4), nn.Flatten())
    model.append(nn.Linear(8 * 3 * 3, 7))
    found = profile(model, image_size=10, repeats=0)
    grouped = 8 * 3 * 3 * (8 // 4) * 9
    assert found.macs == 8 * 5 * 5 * 3 * 9 + grouped + 72 * 7
    assert found.activations == 8 * 5 * 5 + 8 * 3 * 3
    assert found.parameters == (8 * 27 + 8) + (8 * 2 * 9 + 8) + (72 * 7 + 7)
    assert found.bytes == 4 * found.parameters


def test_subclasses_and_functions_are_counted_like_any_other():
    found = profile(HiddenConvolution(3, 8, 2, stride=1), image_size=6, repeats=0)
    assert (found.macs, found.activations) == (8 * 36 * 3 * 4, 8 * 36)
    found = profile(Functional(), image_size=6, repeats=0)
    assert (found.macs, found.activations) == (5 * 16 * 27 + 5 * 2, 5 * 16)


def test_transposed_convolutions_are_counted():
    found = profile(nn.ConvTranspose2d(3, 4, 2, stride=2, bias=False), image_size=5, repeats=0)
    assert (found.macs, found.activations) == (5 * 5 * 3 * 4 * 4, 4 * 10 * 10)


@pytest.mark.parametrize("name", ["resnet18", "cifar_resnet14", "mobilenet_v2", "efficientnet_b0"])
def test_counts_are_the_same_on_the_cpu_and_on_the_meta_device(name):
    real = profile(build(name), image_size=48, repeats=0)
    with torch.device("meta"):
        meta = profile(build(name), image_size=48)
    assert (real.parameters, real.macs, real.activations, real.bytes) == (
        meta.parameters,
        meta.macs,
        meta.activations,
        meta.bytes,
    )
    assert math.isnan(meta.latency)


def test_shared_parameters_count_once():
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    model[1].weight = model[0].weight
    found = profile(model, image_size=2, repeats=0)
    assert found.parameters == 9 + 3 + 3
    assert found.macs == 2 * 9 * 4


def test_bytes_are_those_of_the_state_dict():
    model = build("cifar_resnet8")
    found = profile(model, repeats=0)
    assert found.bytes == sum(value.numel() * value.element_size() for value in model.state_dict().values())
    half = profile(model.to(torch.bfloat16), repeats=0)
    assert (half.parameters, half.macs) == (found.parameters, found.macs)
    assert half.bytes < 0.51 * found.bytes + 8 * 100  # the batch counts stay 8 bytes each


def test_a_model_is_counted_at_its_own_resolution_unless_told():
    model = build("cifar_resnet8", image_size=16)
    assert profile(model, repeats=0).image_size == 16
    at_32 = profile(model, 32, repeats=0)
    assert at_32.image_size == 32
    head = 64 * 10
    assert at_32.macs - head == 4 * (profile(model, repeats=0).macs - head)


class Recorder(nn.Module):
    """Notes how it is called."""

    image_size = 4

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, 1)
        self.calls = []

    def forward(self, x):
        self.calls.append((tuple(x.shape), self.training, torch.is_grad_enabled()))
        return self.convolution(x)


def test_latency_is_the_median_of_passes_in_eval_mode_after_warming_up(monkeypatch):
    ticks = iter([0.0, 90.0, 100.0, 190.0, 200.0, 290.0, 300.0, 303.0, 310.0, 311.0, 320.0, 327.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(ticks))
    model = Recorder().train()
    found = profile(model, in_channels=2, batch_size=5, repeats=3)
    assert found.latency == 3.0  # median of 3, 1 and 7; the warm-up took 90 each
    assert found.batch_size == 5
    assert model.calls == [((1, 2, 4, 4), False, False)] + 6 * [((5, 2, 4, 4), False, False)]
    assert found.macs == 2 * 16


def test_latency_is_measured():
    found = profile(build("cifar_resnet8", image_size=8), repeats=2)
    assert found.latency > 0
    with pytest.raises(FrozenInstanceError):
        found.latency = 0


def test_a_compiled_model_is_counted_as_it_was_and_timed_as_it_is():
    model = build("cifar_resnet8", image_size=8)
    compiled = torch.compile(model, backend="eager")
    plain, found = profile(model, repeats=0), profile(compiled, repeats=1)
    assert (found.parameters, found.macs, found.activations) == (plain.parameters, plain.macs, plain.activations)
    assert found.latency > 0
    assert profile(compiled, repeats=0).macs == plain.macs  # and once the code is there


def test_modes_weights_and_random_state_are_left_as_found():
    model = build("cifar_resnet8", image_size=8).train()
    model.layer2.eval()
    modes = {key: module.training for key, module in model.named_modules()}
    state = {key: value.clone() for key, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    profile(model, repeats=1)
    assert {key: module.training for key, module in model.named_modules()} == modes
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())


def test_modes_are_restored_when_the_model_fails():
    model = build("cifar_resnet8").train()
    with pytest.raises(RuntimeError, match="channels"):
        profile(model, in_channels=5)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "image_size: the model carries none"),
        ({"image_size": 0}, ValueError, "image_size: expected at least 1, got 0"),
        ({"image_size": 8.0}, TypeError, "image_size: expected an integer, got 8.0"),
        ({"image_size": 8, "batch_size": 0}, ValueError, "batch_size: expected at least 1"),
        ({"image_size": 8, "repeats": -1}, ValueError, "repeats: expected at least 1"),
        ({"image_size": 8, "in_channels": 0}, ValueError, "in_channels: expected at least 1"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        profile(nn.Conv2d(3, 3, 1), **arguments)


def test_only_modules_are_profiled():
    with pytest.raises(TypeError, match=r"model: expected a torch\.nn\.Module, got str"):
        profile("resnet18")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_counts_and_latency_on_a_gpu():
    model = build("efficientnet_b0")
    on_cpu = profile(model, image_size=64, repeats=0)
    on_gpu = profile(model.cuda(), image_size=64, batch_size=8)
    assert (on_gpu.macs, on_gpu.activations, on_gpu.bytes) == (on_cpu.macs, on_cpu.activations, on_cpu.bytes)
    assert 0 < on_gpu.latency < 60
