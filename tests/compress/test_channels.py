"""Channels taken out: which, from which layers, and that what is left computes what it should."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest
import torch
from torch import nn

from pyscale.compress import Schedule, load, prune, reshape, save
from pyscale.models import build
from tests.compress.networks import convolutional, shake

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def cut(model, amount, **options):
    return prune(model, amount, granularity="channel", example=IMAGES, **options)


def network(name, seed=0):
    torch.manual_seed(seed)
    return shake(build(name, num_classes=7, image_size=32)).eval()


FAMILIES = ["resnet18", "cifar_resnet14", "mobilenet_v2", "efficientnet_b0"]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_becomes_smaller_and_still_runs(name, tmp_path):
    model = network(name)
    pruned = prune(model, 0.5, granularity="channel")
    before, after = (sum(p.numel() for p in net.parameters()) for net in (model, pruned))
    assert after < 0.6 * before
    with torch.no_grad():
        scores = pruned(IMAGES)
    assert scores.shape == (2, 7)
    assert torch.isfinite(scores).all()
    save(pruned, tmp_path / "m.psz")
    fresh = network(name, seed=5)
    load(tmp_path / "m.psz", into=fresh)
    assert str(fresh) == str(pruned)
    with torch.no_grad():
        assert torch.equal(fresh(IMAGES), scores)
    pruned.train()
    nn.functional.cross_entropy(pruned(IMAGES), torch.tensor([0, 1])).backward()
    assert all(parameter.grad is not None for parameter in pruned.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_channels_that_are_zero_are_removed_without_changing_the_outputs(name):
    """Half of the inner channels of every block made zero: they are the ones to go, and nothing else changes."""
    model = network(name)
    dead = 0
    for layer, norm in inner_pairs(model):
        half = layer.out_channels // 2
        for tensor in (layer.weight, norm.weight, norm.bias, norm.running_mean):
            tensor.data[:half] = 0
        dead += half
    for gate in [module for module in model.modules() if hasattr(module, "fc2")]:
        half = gate.fc2.out_channels // 2  # what gates and reads a channel counts towards its magnitude
        for tensor in (gate.fc1.weight.transpose(0, 1), gate.fc2.weight, gate.fc2.bias):
            tensor.data[:half] = 0
    names = {module: name for name, module in model.named_modules()}
    amounts = {names[layer]: 0.5 for layer, _ in inner_pairs(model)}
    amounts |= {name: 0.5 for name in names.values() if name.endswith("fc2")}  # gates, one a channel
    pruned = prune(model, amounts, granularity="channel")
    left = sum(layer.out_channels for layer, _ in inner_pairs(pruned))
    assert left == sum(layer.out_channels for layer, _ in inner_pairs(model)) - dead
    with torch.no_grad():
        torch.testing.assert_close(pruned(IMAGES), model(IMAGES), rtol=1e-3, atol=1e-4)


def inner_pairs(model):
    """First convolutions of residual blocks with their norms: nothing but the block reads them."""
    for name, module in model.named_modules():
        if hasattr(module, "conv1") and hasattr(module, "conv2"):
            yield module.conv1, module.bn1
        elif isinstance(module, nn.Sequential) and name.endswith(("conv", "block")) and len(module) > 3:
            for part in list(module)[:2]:  # the expansion and the depthwise convolution that keeps its channels
                yield part[0], part[1]


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_the_least_channels_go(scope):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 10, 3), nn.ReLU(), nn.Conv2d(10, 4, 1), nn.Flatten(), nn.LazyLinear(2))
    model(IMAGES)
    with torch.no_grad():
        model[0].weight[[1, 4, 7]] *= 0.01
        model[2].weight[:, [1, 4, 7]] *= 0.01
    pruned = cut(model, {"0": 0.3} if scope == "layer" else 0.3, keep=["2"], scope=scope)
    kept = [0, 2, 3, 5, 6, 8, 9]
    assert torch.equal(pruned[0].weight, model[0].weight[kept])
    assert torch.equal(pruned[0].bias, model[0].bias[kept])
    assert torch.equal(pruned[2].weight, model[2].weight[:, kept])


def test_shares_are_taken_from_every_layer_or_from_all_together():
    model = network("resnet18")
    for amount in (0.25, 0.5):
        by_layer = prune(model, amount, granularity="channel", scope="layer")
        for (layer, _), (old, _) in zip(inner_pairs(by_layer), inner_pairs(model), strict=True):
            assert layer.out_channels == old.out_channels - int(amount * old.out_channels)
    together = prune(model, 0.5, granularity="channel")
    shares = [
        a.out_channels / b.out_channels for (a, _), (b, _) in zip(*map(inner_pairs, (together, model)), strict=True)
    ]
    assert np.ptp(shares) > 0.01


def test_inputs_outputs_and_kept_layers_stay():
    model = convolutional()
    pruned = cut(model, 0.5, keep=["6"])
    assert (pruned[0].in_channels, pruned[6].out_channels, pruned[9].out_features) == (3, 6, 5)
    assert pruned[0].out_channels == pruned[3].out_channels == pruned[3].groups == pruned[6].in_channels == 4
    assert pruned[9].in_features == 24


def test_pixels_behind_a_flattened_channel_go_with_it():
    model = convolutional()
    pruned = cut(model, {"6": 0.5}, scope="layer")
    assert (pruned[6].out_channels, pruned[9].in_features) == (3, 12)


def test_channels_that_plain_code_counts_on_are_left():
    """The padded shortcuts of a CIFAR ResNet read fixed numbers of channels."""
    pruned = prune(network("cifar_resnet14"), 0.5, granularity="channel")
    assert pruned.conv1.out_channels == 16
    assert pruned.layer1[0].conv1.out_channels < 16


class Misaligned(nn.Module):
    """Runs with a channel less, but then adds unlike channels: the check of values finds it."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        x = self.first(x)
        return self.head(self.second(x) + x.flip(1))


def test_channels_that_would_be_misaligned_are_left():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="no channel can be removed"):
        cut(Misaligned(), 0.5)


def test_schedules_remove_a_share_at_every_step():
    seen = []
    pruned = cut(
        convolutional(width=16),
        {"0": 0.75, "3": 0.75},
        schedule=Schedule("iterative", 2),
        finetune=lambda model: seen.append(model[0].out_channels),
    )
    assert seen == [8, 4]
    assert pruned[0].out_channels == 4


def test_the_model_given_is_left_as_it_was():
    model = convolutional()
    model.train()
    model[1].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    drawn = torch.random.get_rng_state()
    cut(model, 0.5)
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert cut(model, 0.5, inplace=True) is model
    assert (model.training, model[1].training, model[2].training) == (True, False, True)
    assert not any(module._forward_hooks for module in model.modules())


def test_groups_of_zeros_go_first_and_are_no_trouble():
    model = convolutional()
    for layer in (model[0], model[1], model[3], model[4]):
        nn.init.zeros_(layer.weight)
    nn.init.zeros_(model[6].weight)
    pruned = cut(model, 0.5)
    assert pruned[0].out_channels < 8
    pruned(IMAGES)


def test_a_layer_keeps_one_channel_at_least():
    pruned = cut(convolutional(), 0.99)
    assert min(pruned[0].out_channels, pruned[6].out_channels) == 1
    pruned(IMAGES)


def test_what_does_not_fit_is_explained():
    model = convolutional()
    with pytest.raises(ValueError, match="example: pass a batch"):
        prune(model, 0.5, granularity="channel")
    with pytest.raises(ValueError, match=r"example: the model does not accept a batch of \(2, 1, 32, 32\)"):
        prune(model, 0.5, granularity="channel", example=IMAGES[:, :1])
    with pytest.raises(TypeError, match="example must be a tensor, got list"):
        prune(model, 0.5, granularity="channel", example=[1])
    with pytest.raises(ValueError, match="keep: 'head' match no layer; there are 0, 3, 6, 9"):
        cut(model, 0.5, keep=["head"])


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    found = builtins.__import__
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(ImportError, match=r"pip install 'pyscale\[compress\]'"):
        cut(convolutional(), 0.5)
    assert builtins.__import__ is found


def test_reshaping_resizes_every_kind_of_layer():
    def made(a, b):
        return nn.Sequential(
            nn.Conv2d(3, a, 3),
            nn.GroupNorm(2, a),
            nn.PReLU(a),
            nn.Conv2d(a, 2 * a, 3, groups=a),
            nn.Conv2d(2 * a, b, 1, groups=2),
            nn.ConvTranspose2d(b, 2 * b, 2, groups=b),
            nn.ConvTranspose2d(2 * b, b, 1, groups=2),
            nn.InstanceNorm2d(b, affine=True, track_running_stats=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(b, b),
            nn.LayerNorm(b),
        )

    narrow, wide = made(4, 6).eval(), made(8, 10).eval()
    assert reshape(wide, narrow.state_dict()) is wide
    assert str(wide) == str(narrow)
    assert torch.equal(wide(IMAGES), narrow(IMAGES))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.weight": torch.zeros(8, 3, 5, 5)}, r"0.weight of shape \(8, 3, 5, 5\) does not fit Conv2d"),
        ({"1.running_mean": torch.zeros(8, 1)}, "1.running_mean of shape .* does not fit BatchNorm2d"),
        ({"more": torch.zeros(1)}, "state_dict: not in the model: more"),
    ],
)
def test_what_can_t_be_reshaped_is_explained_and_changes_nothing(change, message):
    model = convolutional()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        reshape(model, {**before, "9.weight": torch.zeros(5, 12), **change})
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_filters_must_fill_the_groups():
    model = nn.Sequential(nn.Conv2d(8, 8, 3, groups=4))
    with pytest.raises(ValueError, match=r"0\.weight has 6 filters, no multiple of 4"):
        reshape(model, {"0.weight": torch.zeros(6, 2, 3, 3), "0.bias": torch.zeros(6)})
