from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from pyscale.train import DIGITS, PICTURES, Recipe
from pyscale.train.lightning_module import make_optimizer, make_scheduler
from tests.train import oracle


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"epochs": True},
        {"batch_size": 0},
        {"optimizer": "adam"},
        {"schedule": "step"},
        {"lr": 0},
        {"lr": math.nan},
        {"momentum": 1.0},
        {"weight_decay": -1},
        {"warmup": 1.0},
        {"warmup": 0.0, "schedule": "onecycle"},
        {"label_smoothing": 1.0},
        {"clip": 0},
        {"crop": 2.0},
    ],
    ids=str,
)
def test_a_number_out_of_range_is_named(changes):
    name, value = next(iter(changes.items()))
    with pytest.raises(ValueError, match=rf"^{name} must be .*, got {value!r}"):
        Recipe(**changes)


@pytest.mark.parametrize("name", ["lr", "momentum", "weight_decay", "warmup", "label_smoothing", "clip", "crop"])
def test_what_is_no_number_is_named(name):
    with pytest.raises(TypeError, match=f"^{name} must be a number, got 'fast'"):
        Recipe(**{name: "fast"})


def test_numbers_may_be_numpys():
    recipe = Recipe(epochs=np.int64(3), batch_size=np.int32(16), lr=np.float64(0.5), crop=np.float32(0.25))
    assert json.loads(json.dumps(recipe.to_dict())) == Recipe(epochs=3, batch_size=16, lr=0.5, crop=0.25).to_dict()


def test_an_unknown_field_names_its_neighbours():
    with pytest.raises(TypeError, match="no field 'weight_decy'; did you mean weight_decay"):
        Recipe().but(weight_decy=1)
    with pytest.raises(TypeError, match="no field 'zzz'; known: epochs, batch_size"):
        Recipe().but(zzz=1)


def test_digits_are_cropped_but_not_mirrored_and_pictures_are_both():
    assert (DIGITS.flip, PICTURES.flip) == (False, True)
    assert DIGITS.crop == PICTURES.crop == 0.125


def rates(recipe, steps):
    optimizer = make_optimizer(nn.Linear(2, 2), recipe)
    scheduler = make_scheduler(optimizer, recipe, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_one_cycle_rises_and_falls_on_cosines():
    seen = rates(Recipe(schedule="onecycle", lr=0.4, warmup=0.3), 50)
    assert seen == pytest.approx([oracle.one_cycle(step, 50, 0.4, 0.3) for step in range(50)], rel=1e-9)
    assert max(seen) == pytest.approx(0.4)
    assert seen.index(max(seen)) == 14


@pytest.mark.parametrize("steps", [1, 2, 4, 5])
def test_one_cycle_of_a_few_steps(steps):
    # a rise of exactly one step divides by zero in torch's own scheduler
    seen = rates(Recipe(schedule="onecycle", lr=0.4, warmup=0.25), steps)
    assert seen[0] == pytest.approx(0.4 if steps <= 4 else 0.4 / 25)
    assert all(math.isfinite(rate) and rate > 0 for rate in seen)
    assert steps == 1 or seen[-1] < 1e-4


def test_cosine_with_warm_up():
    seen = rates(Recipe(schedule="cosine", lr=0.4, warmup=0.2), 50)
    assert seen[:10] == pytest.approx([0.04 * (step + 1) for step in range(10)])
    assert seen[10:] == pytest.approx([0.2 * (1 + math.cos(math.pi * step / 40)) for step in range(40)])


def test_constant_with_and_without_warm_up():
    assert rates(Recipe(schedule="constant", lr=0.4, warmup=0.5), 4) == pytest.approx([0.2, 0.4, 0.4, 0.4])
    assert rates(Recipe(schedule="constant", lr=0.4, warmup=0.0), 4) == pytest.approx([0.4] * 4)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def decay_by_parameter(optimizer, net):
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return {names[id(p)]: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}


def test_norms_and_biases_are_spared_the_decay():
    net = Net()
    assert decay_by_parameter(make_optimizer(net, Recipe(weight_decay=0.1)), net) == {
        "convolution.weight": 0.1,
        "convolution.bias": 0.0,
        "norm.weight": 0.0,
        "norm.bias": 0.0,
    }
    everything = decay_by_parameter(make_optimizer(net, Recipe(weight_decay=0.1, decay_all=True)), net)
    assert set(everything.values()) == {0.1}
    assert len(everything) == 4


def test_the_optimisers_are_what_they_are_called():
    sgd = make_optimizer(Net(), Recipe(optimizer="sgd", momentum=0.8))
    assert isinstance(sgd, torch.optim.SGD)
    assert sgd.defaults["nesterov"] is True
    assert sgd.defaults["momentum"] == 0.8
    assert make_optimizer(Net(), Recipe(momentum=0.0)).defaults["nesterov"] is False
    assert isinstance(make_optimizer(Net(), Recipe(optimizer="adamw", lr=1e-3)), torch.optim.AdamW)
