"""The LeNets: the papers' counts, Caffe's function, and scaling in all three dimensions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pyscale.models import Scaling, build, profile, rebuild


def lenet(name, scaling=None, **options):
    torch.manual_seed(0)
    return build(name, scaling=scaling, in_channels=1, **options)


@pytest.mark.parametrize(("name", "parameters"), [("lenet_300_100", 266_610), ("lenet5", 431_080)])
def test_counts_are_the_published_ones(name, parameters):
    model = lenet(name)
    assert profile(model).parameters == parameters
    assert model(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_macs_by_hand():
    assert profile(lenet("lenet_300_100")).macs == 784 * 300 + 300 * 100 + 100 * 10
    convolutions = 24 * 24 * 20 * 25 + 8 * 8 * 50 * 20 * 25
    assert profile(lenet("lenet5")).macs == convolutions + 800 * 500 + 500 * 10


def test_lenet5_computes_what_caffe_s_does():
    model = lenet("lenet5").eval()
    state, images = model.state_dict(), torch.rand(2, 1, 28, 28)
    x = functional.max_pool2d(functional.conv2d(images, state["conv1.weight"], state["conv1.bias"]), 2, 2)
    x = functional.max_pool2d(functional.conv2d(x, state["conv2.weight"], state["conv2.bias"]), 2, 2)
    x = torch.relu(x.reshape(2, 800) @ state["ip1.weight"].T + state["ip1.bias"])
    torch.testing.assert_close(model(images), x @ state["ip2.weight"].T + state["ip2.bias"])


def test_lenet_300_100_computes_a_perceptron():
    model = lenet("lenet_300_100").eval()
    state, images = model.state_dict(), torch.rand(2, 1, 28, 28)
    x = images.reshape(2, 784)
    for name in ("ip1", "ip2"):
        x = torch.relu(x @ state[f"{name}.weight"].T + state[f"{name}.bias"])
    torch.testing.assert_close(model(images), x @ state["ip3.weight"].T + state["ip3.bias"])


@pytest.mark.parametrize("name", ["lenet_300_100", "lenet5"])
@pytest.mark.parametrize("scaling", [Scaling(depth=2), Scaling(width=0.5), Scaling(resolution=1.5), Scaling(2, 2, 0.8)])
def test_scaled_lenets_train_and_are_rebuilt(name, scaling):
    model = lenet(name, scaling)
    images = torch.rand(2, 1, model.image_size, model.image_size)
    functional.cross_entropy(model(images), torch.tensor([0, 9])).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    again = rebuild(model.recipe.to_dict())
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(images), model(images))


def test_scale_one_is_the_base_bit_for_bit():
    one, base = lenet("lenet5", Scaling(1, 1, 1)), lenet("lenet5")
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), base.state_dict().values(), strict=True))
    assert lenet("lenet5", Scaling(width=0.5)).architecture.convolutions == (16, 24)


def test_pictures_too_small_for_the_convolutions():
    with pytest.raises(ValueError, match="image_size: 8 is too small for 2 convolutions"):
        lenet("lenet5", image_size=8)
