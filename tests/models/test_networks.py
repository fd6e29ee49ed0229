"""Networks have the published checkpoints' keys, torchvision's initial weights, and compute the papers' functions."""

from __future__ import annotations

import math
from functools import partial
from itertools import groupby

import pytest
import torch
from torch import nn

from pyscale.models import Scaling, build
from pyscale.models.layers import StochasticDepth
from tests.models import functional
from tests.models.layouts import LAYOUTS, layout


@pytest.mark.parametrize("name", LAYOUTS)
def test_state_dict_keys_order_and_shapes_are_the_published_ones(name):
    with torch.device("meta"):
        state = build(name).state_dict()
    assert [(key, tuple(value.shape)) for key, value in state.items()] == layout(name)


def drawn_in_order(entries, seed):
    """Initial weights as drawn when layers are made in the order of ``entries``: torch's default first, then He's."""
    torch.manual_seed(seed)
    made = {}
    for key, shape in entries:
        if key.endswith(".weight") and len(shape) == 4:
            bias = any(other == key.replace("weight", "bias") for other, _ in entries)
            made[key.removesuffix(".weight")] = nn.Conv2d(shape[1], shape[0], shape[2], bias=bias)
        elif key.endswith(".weight") and len(shape) == 2:
            made[key.removesuffix(".weight")] = nn.Linear(shape[1], shape[0])
    return made


def with_downsample_first(entries):
    """Torchvision makes a ResNet block's shortcut before the block itself."""
    ordered = []
    for _, block in groupby(entries, key=lambda entry: entry[0].split(".")[:2]):
        ordered += sorted(block, key=lambda entry: "downsample" not in entry[0])
    return ordered


TORCHVISION = ["resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0"]


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_same_seed_draws_the_weights_torchvision_draws(name):
    entries = layout(name)
    made = drawn_in_order(with_downsample_first(entries) if name.startswith("resnet") else entries, seed=7)
    for key, _ in entries:  # the second pass is in module order
        layer = made.get(key.removesuffix(".weight"))
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.weight.shape[0] * layer.weight[0, 0].numel()
            with torch.no_grad():
                layer.weight.normal_(0, math.sqrt(2) / math.sqrt(fan_out))
    with torch.no_grad():
        for linear in [layer for layer in made.values() if isinstance(layer, nn.Linear)]:
            if name.startswith("mobilenet"):
                linear.weight.normal_(0, 0.01)
            elif name.startswith("efficientnet"):
                linear.weight.uniform_(-1 / math.sqrt(1000), 1 / math.sqrt(1000))
    torch.manual_seed(7)
    state = build(name).state_dict()
    for key, layer in made.items():
        assert torch.equal(state[f"{key}.weight"], layer.weight), key
    biased = [key for key in state if key in {f"{layer}.bias" for layer in made} and not key.startswith("fc.")]
    assert all(not state[key].any() for key in biased)
    expected = {"mobilenet_v2": 1, "mobilenet_v3_small": 20, "mobilenet_v3_large": 18, "efficientnet_b0": 33}
    assert len(biased) == expected.get(name, 0)


def test_cifar_resnets_draw_he_weights_over_the_fan_in():
    torch.manual_seed(0)
    model = build("cifar_resnet20", scaling=Scaling(width=4))
    for key, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            expected = math.sqrt(2 / layer.weight[0].numel())
            few = 4 / math.sqrt(2 * layer.weight.numel())  # four standard errors of a sample's deviation
            assert abs(layer.weight.std().item() / expected - 1) < few, key


def randomised(model):
    """Norms with statistics of their own, so that a wrong eps, order or key shows."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.002, 1.5, generator=generator)
    return model.double().eval()


small_v3 = partial(functional.mobilenet_v3, strided={1, 2, 4, 9}, swish_from=4)
large_v3 = partial(functional.mobilenet_v3, strided={2, 4, 7, 13}, swish_from=7)


@pytest.mark.parametrize(
    ("name", "scaling", "side", "oracle"),
    [
        ("resnet18", Scaling(), 67, functional.resnet),
        ("resnet34", Scaling(0.5, 0.25), 64, functional.resnet),
        ("resnet50", Scaling(width=0.25), 64, functional.resnet),
        ("resnet_rs50_160", Scaling(), 67, functional.resnet_rs),
        ("resnet_rs152_192", Scaling(0.2, 0.25), 160, functional.resnet_rs),
        ("cifar_resnet20", Scaling(), 32, functional.cifar_resnet),
        ("cifar_resnet8", Scaling(2, 1.7), 17, functional.cifar_resnet),
        ("cifar_resnet8", Scaling(width=0.25), 16, functional.cifar_resnet),
        ("mobilenet_v1", Scaling(), 65, functional.mobilenet_v1),
        ("mobilenet_v1", Scaling(width=0.25), 64, functional.mobilenet_v1),
        ("mobilenet_v2", Scaling(), 65, functional.mobilenet_v2),
        ("mobilenet_v2", Scaling(width=0.35), 64, functional.mobilenet_v2),
        ("mobilenet_v3_small", Scaling(), 65, small_v3),
        ("mobilenet_v3_small", Scaling(width=0.1), 64, small_v3),
        ("mobilenet_v3_large", Scaling(), 65, large_v3),
        ("mobilenet_v3_large", Scaling(width=1.3), 64, large_v3),
        ("tinynet_c", Scaling(), 65, partial(functional.efficientnet, eps=1e-5)),
        ("efficientnet_b0", Scaling(), 65, partial(functional.efficientnet, eps=1e-5)),
        ("efficientnet_b1", Scaling(1.5, 0.3), 64, partial(functional.efficientnet, eps=1e-5)),
        ("efficientnet_b5", Scaling(0.3, 0.25), 64, partial(functional.efficientnet, eps=1e-3)),
    ],
)
def test_forward_is_the_papers(name, scaling, side, oracle):
    torch.manual_seed(0)
    model = randomised(build(name, scaling=scaling, num_classes=11))
    images = torch.rand(2, 3, side, side, dtype=torch.float64)
    with torch.no_grad():
        found, expected = model(images), oracle(model.state_dict(), images)
    assert found.shape == (2, 11)
    assert (found - expected).norm() < 1e-11 * expected.norm()


@pytest.mark.parametrize(("index", "dropout"), list(enumerate([0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.5])))
def test_efficientnets_regularise_and_normalise_as_torchvisions(index, dropout):
    with torch.device("meta"):
        model = build(f"efficientnet_b{index}")
    assert model.classifier[0].p == dropout
    norms = {(m.eps, m.momentum) for m in model.modules() if isinstance(m, nn.BatchNorm2d)}
    assert norms == {(1e-3, 0.01) if index >= 5 else (1e-5, 0.1)}
    drops = [module.p for module in model.modules() if isinstance(module, StochasticDepth)]
    assert drops == pytest.approx([0.2 * block / len(drops) for block in range(len(drops))])


def test_mobilenet_v2_regularises_and_normalises_as_torchvisions():
    with torch.device("meta"):
        model = build("mobilenet_v2")
    assert model.classifier[0].p == 0.2
    assert {(m.eps, m.momentum) for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-5, 0.1)}


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mobilenet_v3_large"])
def test_mobilenets_v3_regularise_and_normalise_as_torchvisions(name):
    with torch.device("meta"):
        model = build(name)
    assert model.classifier[2].p == 0.2
    assert {(m.eps, m.momentum) for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {(1e-3, 0.01)}


@pytest.mark.parametrize(
    ("name", "dropout", "drops"),
    [
        ("resnet_rs50_160", 0.25, [0, 0, 0, 0]),
        ("resnet_rs152_256", 0.25, [0, 0, 0, 0]),
        ("resnet_rs200_256", 0.25, [0.04, 0.06, 0.08, 0.1]),
        ("resnet_rs350_320", 0.4, [0.04, 0.06, 0.08, 0.1]),
    ],
)
def test_resnets_rs_regularise_as_published_and_start_as_their_shortcuts(name, dropout, drops):
    model = build(name, scaling=Scaling(depth=0.1, width=0.125), num_classes=3)
    stages = (model.layer1, model.layer2, model.layer3, model.layer4)
    assert model.dropout.p == dropout
    for stage, drop in zip(stages, drops, strict=True):
        assert [block.stochastic_depth.p for block in stage] == pytest.approx([drop] * len(stage))
        shape = (2, stage[0].conv1.in_channels, 8, 8)
        shortcut = torch.rand(shape)
        block = stage[0].eval()
        torch.testing.assert_close(block(shortcut), block.downsample(shortcut).relu())


@pytest.mark.parametrize(
    ("name", "kind", "modules", "calls"),
    [
        ("resnet18", nn.ReLU, 1 + 8, 1 + 16),
        ("resnet50", nn.ReLU, 1 + 16, 1 + 48),
        ("cifar_resnet20", nn.ReLU, 1 + 9, 1 + 18),
        ("resnet_rs50_160", nn.ReLU, 4 + 16 + 16, 4 + 48 + 16),  # stem, blocks, squeeze and excitation
        ("mobilenet_v1", nn.ReLU, 27, 27),
        ("mobilenet_v2", nn.ReLU6, 35, 35),
        ("mobilenet_v3_small", nn.Hardswish, 1 + 16 + 2, 1 + 16 + 2),  # stem, 8 blocks, head
        ("mobilenet_v3_small", nn.ReLU, 5 + 9, 5 + 9),  # 3 blocks, one of them without expansion; 9 squeezes
        ("efficientnet_b0", nn.SiLU, 49, 49),
    ],
)
def test_activations_are_modules_called_as_often_as_torchvisions(name, kind, modules, calls):
    seen = []
    with torch.device("meta"):
        model = build(name)
        found = [module for module in model.modules() if isinstance(module, kind)]
        for module in found:
            assert module.inplace
            module.register_forward_hook(lambda *_: seen.append(1))
        model.eval()(torch.empty(1, 3, 64, 64))
    # EfficientNet: 49 SiLU = stem, head, 15 expansions, 16 depthwise and 16 in squeeze and excitation.
    assert (len(found), len(seen)) == (modules, calls)


def test_stochastic_depth_drops_whole_branches_and_keeps_their_mean():
    torch.manual_seed(0)
    layer = StochasticDepth(0.25)
    branch = torch.rand(4000, 3, 2, 2) + 0.5
    out = layer(branch)
    kept = out.flatten(1).any(1)
    assert torch.equal(out[~kept], torch.zeros_like(out[~kept]))
    torch.testing.assert_close(out[kept], branch[kept] / 0.75)
    assert abs(kept.float().mean().item() - 0.75) < 4 * math.sqrt(0.25 * 0.75 / 4000)
    assert layer.eval()(branch) is branch
    assert StochasticDepth(0).train()(branch) is branch
