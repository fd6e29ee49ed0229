"""Building by name: identity at scale 1, every scaled network trains, recipes, and what bad arguments get."""

from __future__ import annotations

import copy
import json
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from pyscale.models import Network, Recipe, Scaling, build, compound, names, rebuild

FAMILIES = [
    "resnet18",
    "resnet50",
    "resnet_rs50_160",
    "cifar_resnet14",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "tinynet_c",
]


def small(name, scaling=None, **arguments):
    return build(name, scaling=scaling, num_classes=7, image_size=arguments.pop("image_size", 32), **arguments)


@pytest.mark.parametrize("name", [*FAMILIES, "efficientnet_b1"])
def test_scale_one_is_the_base_bit_for_bit(name):
    torch.manual_seed(3)
    base = build(name, num_classes=7).eval()
    drawn = torch.random.get_rng_state()
    torch.manual_seed(3)
    scaled = build(name, scaling=Scaling(1, 1, 1), num_classes=7).eval()
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert scaled.architecture == base.architecture
    assert list(scaled.state_dict()) == list(base.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(scaled.state_dict().values(), base.state_dict().values(), strict=True))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(scaled(images), base(images))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "scaling",
    [
        Scaling(depth=1.4),
        Scaling(depth=0.4),
        Scaling(width=1.3),
        Scaling(width=0.3),
        Scaling(resolution=1.5),
        Scaling(resolution=0.6),
    ],
    ids=lambda s: f"{s.depth:.2g}-{s.width:.2g}-{s.resolution:.2g}",
)
def test_every_scaled_network_runs_forward_and_backward(name, scaling):
    torch.manual_seed(0)
    model = small(name, scaling).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # a branch that starts at zero would stop the gradient of all before
    assert model.image_size == math.floor(32 * scaling.resolution + 0.5)
    images = torch.rand(4, 3, model.image_size, model.image_size)
    loss = nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 2, 6]))
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    moved = [key for key, parameter in model.named_parameters() if parameter.grad.any()]
    assert len(moved) > 0.9 * len(list(model.parameters()))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("width", [0.3, 1.1])
def test_every_width_is_a_multiple_of_eight_within_ten_per_cent(name, width):
    with torch.device("meta"):
        base, scaled = build(name), build(name, scaling=Scaling(width=width))
    squeezed = (".fc1", ".fc2")  # squeeze and excitation works with a quarter of another layer's width
    pairs = [
        (before, after)
        for (key, before), after in zip(base.named_modules(), scaled.modules(), strict=True)
        if isinstance(before, nn.Conv2d) and not key.endswith(squeezed)
    ]
    assert len(pairs) > 10
    for before, after in pairs:
        assert after.out_channels % 8 == 0
        assert after.out_channels >= 0.9 * width * before.out_channels
        assert (after.stride, after.kernel_size) == (before.stride, before.kernel_size)


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("resnet18", {"layer1": 56, "layer2": 28, "layer3": 14, "layer4": 7}),
        ("resnet50", {"layer1": 56, "layer2": 28, "layer3": 14, "layer4": 7}),
        ("resnet_rs50_160", {"maxpool": 56, "layer1": 56, "layer2": 28, "layer3": 14, "layer4": 7}),
        ("cifar_resnet14", {"layer1": 224, "layer2": 112, "layer3": 56}),
        ("mobilenet_v1", {"model": 7}),
        ("mobilenet_v2", {"features": 7}),
        ("mobilenet_v3_small", {"features": 7}),
        ("mobilenet_v3_large", {"features": 7}),
        (
            "efficientnet_b0",
            {f"features.{stage}": side for stage, side in enumerate((112, 112, 56, 28, 14, 14, 7, 7, 7))},
        ),
    ],
)
def test_scaled_networks_keep_every_stride_of_the_main_branch(name, sides):
    found = {}
    with torch.device("meta"):
        model = build(name, scaling=Scaling(1.7, 1.6)).eval()
        for key in sides:
            model.get_submodule(key).register_forward_hook(
                lambda _, __, out, key=key: found.__setitem__(key, out.shape[-1])
            )
        model(torch.empty(1, 3, 224, 224))
    assert found == sides


@pytest.mark.parametrize("depth", [0.4, 1.2])
def test_depth_is_rounded_up_in_every_stage(depth):
    with torch.device("meta"):
        resnet = build("resnet50", scaling=Scaling(depth=depth))
        cifar = build("cifar_resnet20", scaling=Scaling(depth=depth))
        first = build("mobilenet_v1", scaling=Scaling(depth=depth))
        mobile = build("mobilenet_v2", scaling=Scaling(depth=depth))
        third = build("mobilenet_v3_large", scaling=Scaling(depth=depth))
        efficient = build("efficientnet_b0", scaling=Scaling(depth=depth))
    stages = (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4)
    assert [len(stage) for stage in stages] == [math.ceil(depth * blocks) for blocks in (3, 4, 6, 3)]
    assert [len(stage) for stage in (cifar.layer1, cifar.layer2, cifar.layer3)] == [math.ceil(3 * depth)] * 3
    assert len(first.model) == 1 + sum(math.ceil(depth * blocks) for blocks in (1, 2, 2, 6, 2))
    assert len(third.features) == 2 + sum(math.ceil(depth * blocks) for blocks in (1, 2, 3, 4, 2, 3))
    assert len(mobile.features) == 2 + sum(math.ceil(depth * blocks) for blocks in (1, 2, 3, 4, 3, 3, 1))
    assert [len(stage) for stage in efficient.features[1:-1]] == [
        math.ceil(depth * blocks) for blocks in (1, 2, 2, 3, 3, 4, 1)
    ]


@pytest.mark.parametrize(
    ("depth", "hidden"),
    [
        (1, [16, 72, 88, 96, 240, 240, 120, 144, 288, 576, 576]),
        (0.5, [16, 72, 96, 240, 120, 288, 576]),
        (1.5, [16, 16, 72, 88, 88, 96, 240, 240, 240, 240, 120, 144, 144, 288, 576, 576, 576, 576]),
    ],
)
def test_deeper_mobilenet_v3_repeats_each_stages_last_block(depth, hidden):
    with torch.device("meta"):
        model = build("mobilenet_v3_small", scaling=Scaling(depth=depth))
    depthwise = [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert depthwise == hidden


def test_tinynets_keep_a_wide_head():
    with torch.device("meta"):
        heads = [build("tinynet_c", scaling=Scaling(width=width)).classifier[1].in_features for width in (0.5, 1, 2)]
        stem = build("tinynet_c").features[0][0].out_channels
    assert heads == [1280, 1280, 4 * 352]
    assert stem == 32


def test_the_base_resolution_can_be_another():
    model = build("cifar_resnet8", scaling=Scaling(resolution=1.5), in_channels=1, image_size=8)
    assert model.image_size == 12
    assert model.conv1.in_channels == 1
    assert build("efficientnet_b3", image_size=64).image_size == 64
    assert model(torch.zeros(2, 1, 12, 12)).shape == (2, 10)


def test_classes_are_as_published_unless_said():
    with torch.device("meta"):
        assert build("cifar_resnet20").linear.out_features == 10
        assert build("resnet18").fc.out_features == 1000
        assert build("cifar_resnet20", num_classes=1000).linear.out_features == 1000


def test_a_recipe_rebuilds_the_network():
    model = small("mobilenet_v2", compound((1, -1, 2)), in_channels=4)
    data = json.loads(json.dumps(model.recipe.to_dict()))
    assert Recipe.from_dict(data) == model.recipe
    for again in (rebuild(model.recipe), rebuild(data)):
        assert (again.recipe, again.architecture, again.image_size) == (
            model.recipe,
            model.architecture,
            model.image_size,
        )
        again.load_state_dict(model.state_dict())
        images = torch.rand(1, 4, 43, 43)
        assert torch.equal(again.eval()(images), model.eval()(images))


def test_a_broken_recipe_names_its_entries():
    with pytest.raises(ValueError, match=r"recipe: expected the entries \['image_size', .*got \['name'\]"):
        rebuild({"name": "resnet18"})


@pytest.mark.parametrize("name", FAMILIES)
def test_networks_pickle_copy_and_compile(name):
    model = small(name, Scaling(depth=0.3, width=0.5)).eval()
    assert isinstance(model, Network)
    images = torch.rand(2, 3, 32, 32)
    expected = model(images)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert twin.recipe == model.recipe
        assert torch.equal(twin(images), expected)
    torch.compiler.reset()
    whole = torch.compile(model, backend="eager", fullgraph=True)
    assert whole.image_size == model.image_size
    torch.testing.assert_close(whole(images), expected)


def test_unknown_names_list_near_matches_and_all_known_ones():
    with pytest.raises(ValueError, match=r"name: unknown model 'ResNet-18'\. Did you mean .*resnet18") as caught:
        build("ResNet-18")
    assert all(name in str(caught.value) for name in names())
    with pytest.raises(ValueError, match=r"unknown model 'zzz'\. Known: "):
        build("zzz")
    with pytest.raises(TypeError, match="name: expected a string, got int"):
        build(18)


@pytest.mark.parametrize(
    ("depth", "near"), [(2, (8, 14)), (21, (20, 26)), (22, (20, 26)), (25, (20, 26)), (1000, (998, 1004))]
)
def test_cifar_depths_other_than_6n_plus_2_name_the_nearest(depth, near):
    with pytest.raises(
        ValueError, match=f"6n \\+ 2 layers, got cifar_resnet{depth}.*resnet{near[0]} and .*resnet{near[1]}"
    ):
        build(f"cifar_resnet{depth}")


def test_any_cifar_depth_of_6n_plus_2_builds():
    convolutions = [m for m in build("cifar_resnet26").modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) + 1 == 26  # and the classifier


def test_whole_numbers_may_be_numpys():
    given = {"num_classes": 7, "in_channels": 1, "image_size": 16}
    recipe = build("cifar_resnet8", **{name: np.int64(count) for name, count in given.items()}).recipe
    assert json.loads(json.dumps(recipe.to_dict())) == build("cifar_resnet8", **given).recipe.to_dict()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"scaling": 2}, TypeError, "scaling: expected a Scaling or None, got 2"),
        ({"num_classes": 0}, ValueError, "num_classes: expected at least 1, got 0"),
        ({"num_classes": 10.0}, TypeError, "num_classes: expected an integer, got 10.0"),
        ({"in_channels": True}, TypeError, "in_channels: expected an integer, got True"),
        ({"image_size": -8}, ValueError, "image_size: expected at least 1, got -8"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        build("cifar_resnet8", **arguments)
