"""Weights pruned by magnitude: which ones go, when, and that they stay away while the model is fine-tuned."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from pyscale.compress import Schedule, prune
from tests.compress.networks import Regression, convolutional, perceptron


def weights(model):
    return {
        name: module.weight.detach().clone()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


def zeros(model):
    return {name: int((weight == 0).sum()) for name, weight in weights(model).items()}


def without_least(arrays, count):
    """The arrays with the ``count`` least magnitudes among all of them at zero."""
    everything = np.concatenate([np.abs(array).ravel() for array in arrays])
    threshold = np.sort(everything)[count]
    return [np.where(np.abs(array) < threshold, 0, array) for array in arrays]


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.5, 0.937])
def test_globally_the_least_of_all_weights_go(amount):
    model = perceptron()
    before = [weight.numpy() for weight in weights(model).values()]
    expected = without_least(before, round(amount * sum(array.size for array in before)))
    pruned = prune(model, amount)
    for weight, array in zip(weights(pruned).values(), expected, strict=True):
        assert np.array_equal(weight.numpy(), array)


@pytest.mark.parametrize("amount", [0.25, 0.9])
def test_by_layer_each_loses_its_own_share(amount):
    model = convolutional()
    pruned = weights(prune(model, amount, scope="layer"))
    for name, weight in weights(model).items():
        (expected,) = without_least([weight.numpy()], round(amount * weight.numel()))
        assert np.array_equal(pruned[name].numpy(), expected)


def test_amounts_by_name_and_glob():
    pruned = zeros(prune(convolutional(), {"0": 0.5, "[36]": 0.25}))
    assert pruned == {"0": 108, "3": 18, "6": 12, "9": 0}


def test_the_model_given_is_left_alone_unless_asked():
    model = perceptron()
    before = copy.deepcopy(model.state_dict())
    pruned = prune(model, 0.5)
    assert pruned is not model
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert prune(model, 0.5, inplace=True) is model
    assert zeros(model) == zeros(pruned)


def test_plain_parameters_are_left_in_their_order():
    model = convolutional()
    pruned = prune(model, 0.5, finetune=lambda model: None)
    assert list(pruned.state_dict()) == list(model.state_dict())
    assert [name for name, _ in pruned.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert not any(module._forward_pre_hooks for module in pruned.modules())
    gone = pruned[0].weight[pruned[0].weight == 0]
    assert not torch.signbit(gone).any()  # a negative zero would be stored as a value
    pruned(torch.rand(2, 3, 8, 8)).sum().backward()
    assert pruned[0].weight.grad is not None


def test_pruned_weights_stay_zero_while_the_model_is_fine_tuned():
    seen = []

    def watch(model):
        seen.append(sum(int((module.weight == 0).sum()) for module in model if isinstance(module, nn.Linear)))

    finetune = Regression(watch=watch, momentum=0.9, weight_decay=0.01)
    model = perceptron()
    pruned = prune(model, 0.6, schedule=Schedule("cubic", 3), finetune=finetune)
    total = 20 * 30 + 30 * 15 + 15 * 4
    expected = [round(amount * total) for amount in Schedule("cubic", 3).amounts(0.6)]
    assert seen == [count for count in expected for _ in range(5)]
    assert finetune.calls == 3
    assert sum(zeros(pruned).values()) == expected[-1]
    kept = pruned[0].weight != 0
    assert not torch.equal(pruned[0].weight[kept], model[0].weight[kept])


def test_an_amount_may_be_numpys():
    given, numpys = (prune(perceptron(), amount)[0].weight for amount in (0.5, np.float32(0.5)))
    assert torch.equal(given, numpys)


def test_masks_are_made_permanent_when_fine_tuning_fails():
    def fail(model):
        raise RuntimeError("stopped")

    model = perceptron()
    with pytest.raises(RuntimeError, match="stopped"):
        prune(model, 0.5, finetune=fail, inplace=True)
    assert list(model.state_dict()) == list(perceptron().state_dict())
    assert sum(zeros(model).values()) == round(0.5 * 1110)


def test_schedules_are_the_papers():
    cubic = Schedule("cubic", 10).amounts(0.9)
    assert cubic == pytest.approx([0.9 + (0 - 0.9) * (1 - t / 10) ** 3 for t in range(1, 11)])
    kept = 1 - np.array(Schedule("iterative", 5).amounts(0.9))
    assert np.diff(np.log(kept)) == pytest.approx(np.log(0.1) / 5)
    assert Schedule("iterative", 5).amounts(0.9)[-1] == 0.9


def test_a_schedule_by_its_name():
    finetune = Regression(steps=1)
    prune(perceptron(), 0.5, schedule="iterative", finetune=finetune)
    assert finetune.calls == Schedule("iterative").steps


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"amount": 1.0}, ValueError, "amount must be at least 0 and below 1, got 1.0"),
        ({"amount": "0.5"}, TypeError, "amount must be a number, got '0.5'"),
        ({"amount": {"0": -1}}, ValueError, r"amount\['0'\] must be at least 0"),
        ({"amount": {"head": 0.5}}, ValueError, "amount: 'head' match no layer; there are 0, 2, 4"),
        ({"granularity": "filter"}, ValueError, "granularity must be one of"),
        ({"scope": "model"}, ValueError, "scope must be one of"),
        ({"schedule": "linear", "finetune": print}, ValueError, "schedule must be None, a Schedule or one of"),
        ({"schedule": "cubic"}, ValueError, "schedule: steps without finetune"),
        ({"keep": ["0"]}, ValueError, "example and keep are for granularity"),
        ({"model": nn.ReLU()}, ValueError, "model must have a convolution or a linear layer"),
        ({"model": 3}, TypeError, "model must be a torch.nn.Module, got int"),
        ({"finetune": 5}, TypeError, "finetune must be a function that trains the model it is given, got 5"),
    ],
    ids=lambda value: "",
)
def test_what_does_not_fit_is_explained(arguments, error, message):
    with pytest.raises(error, match=message):
        prune(**{"model": perceptron(), "amount": 0.5, **arguments})


def test_weights_that_are_not_finite_are_named():
    model = perceptron()
    with torch.no_grad():
        model[2].weight[3, 3] = float("nan")
    with pytest.raises(ValueError, match="the weight of layer '2' holds NaN"):
        prune(model, 0.5)


@pytest.mark.parametrize("arguments", [{"kind": "linear"}, {"kind": "cubic", "steps": 0}])
def test_schedules_refuse_what_they_are_not(arguments):
    with pytest.raises(ValueError, match="must be"):
        Schedule(**arguments)
