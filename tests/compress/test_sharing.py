"""Shared weights: how many values, whose gradient they get, and what stays as it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from pyscale.compress import prune, share_weights
from tests.compress.networks import Regression, convolutional, perceptron


def distinct(layer):
    return len(layer.weight.unique())


@pytest.mark.parametrize("bits", range(1, 9))
def test_layers_share_as_many_values_as_bits_allow(bits):
    dense = share_weights(perceptron(), bits)
    assert (
        max(distinct(layer) for layer in (dense[0], dense[2])) == 2**bits if bits < 6 else distinct(dense[0]) <= 2**bits
    )
    pruned = share_weights(prune(perceptron(), 0.5), bits)
    assert all(distinct(layer) <= 2**bits for layer in pruned if isinstance(layer, nn.Linear))


def test_zeros_stay_and_every_other_weight_is_the_mean_of_those_it_shares_with():
    pruned = prune(perceptron(), 0.5)
    shared = share_weights(pruned, 4)
    before, after = pruned[0].weight.detach().numpy(), shared[0].weight.detach().numpy()
    assert np.array_equal(before == 0, after == 0)
    for value in np.unique(after[after != 0]):
        assert before[after == value].mean(dtype=np.float64) == pytest.approx(value, rel=1e-6)
    assert torch.equal(pruned[0].bias, shared[0].bias)


def test_bits_by_name_and_glob():
    shared = share_weights(convolutional(width=32), {"0": 2, "[36]": 3})
    assert (distinct(shared[0]), distinct(shared[3]), distinct(shared[6])) == (4, 8, 8)
    assert torch.equal(shared[9].weight, convolutional(width=32)[9].weight)


def test_a_centroid_s_gradient_is_the_sum_over_its_members():
    pruned = prune(perceptron(), 0.4)
    plain = share_weights(pruned, 3)
    inputs = torch.randn(8, 20)
    plain(inputs).square().sum().backward()
    found = {}

    def look(model):
        model(inputs).square().sum().backward()
        for name in ("0", "2", "4"):
            layer = model.get_submodule(name)
            (centroids,) = [p for key, p in layer.named_parameters() if not key.endswith("bias")]
            found[name] = (centroids.detach().clone(), centroids.grad.clone())

    share_weights(pruned, 3, finetune=look)
    for name, (centroids, gradient) in found.items():
        layer = plain.get_submodule(name)
        sums = [layer.weight.grad[layer.weight == value].sum() for value in centroids]
        torch.testing.assert_close(gradient, torch.stack(sums), rtol=1e-4, atol=1e-4)


def test_fine_tuning_moves_values_together():
    pruned = prune(perceptron(), 0.5)
    start = share_weights(pruned, 3)
    tuned = share_weights(pruned, 3, finetune=Regression(lr=0.01, momentum=0.9))
    for layer, old in ((tuned[i], start[i]) for i in (0, 2, 4)):
        assert torch.equal(layer.weight == 0, old.weight == 0)
        assert distinct(layer) <= 8
        assert not torch.equal(layer.weight, old.weight)
        for value in old.weight.unique():
            assert len(layer.weight[old.weight == value].unique()) == 1


def test_the_loss_falls_by_fine_tuning():
    model = perceptron()
    Regression(steps=300)(model)
    inputs = torch.randn(500, 20, generator=torch.Generator().manual_seed(9))

    def loss(model):
        with torch.no_grad():
            return float(nn.functional.mse_loss(model(inputs), inputs[:, :4]))

    shared, tuned = share_weights(model, 2), share_weights(model, 2, finetune=Regression(steps=200, lr=0.001))
    assert loss(model) < loss(tuned) < 0.9 * loss(shared)


def test_plain_parameters_are_left_in_their_order():
    model = convolutional()
    shared = share_weights(model, 3, finetune=lambda model: None)
    assert list(shared.state_dict()) == list(model.state_dict())
    assert [(k, p.shape) for k, p in shared.named_parameters()] == [(k, p.shape) for k, p in model.named_parameters()]
    assert [type(module) for module in shared.modules()] == [type(module) for module in model.modules()]
    copy.deepcopy(shared)(torch.rand(1, 3, 8, 8)).sum().backward()


def test_parameters_are_plain_again_when_fine_tuning_fails():
    def fail(model):
        raise RuntimeError("stopped")

    model = perceptron()
    with pytest.raises(RuntimeError, match="stopped"):
        share_weights(model, 3, finetune=fail, inplace=True)
    assert list(model.state_dict()) == list(perceptron().state_dict())


def test_the_model_given_is_left_alone_unless_asked():
    model = perceptron()
    share_weights(model, 3)
    assert torch.equal(model[0].weight, perceptron()[0].weight)
    assert share_weights(model, 3, inplace=True) is model
    assert distinct(model[0]) == 8


def test_a_layer_of_zeros_stays_one():
    model = perceptron()
    nn.init.zeros_(model[2].weight)
    assert not share_weights(model, 3)[2].weight.any()


def test_bits_may_be_numpys():
    given, numpys = (share_weights(perceptron(), bits)[0].weight for bits in (3, np.int64(3)))
    assert torch.equal(given, numpys)


@pytest.mark.parametrize(
    ("bits", "error", "message"),
    [
        (0, ValueError, "bits must be from 1 to 8, got 0"),
        (9, ValueError, "bits must be from 1 to 8, got 9"),
        (True, TypeError, "bits must be an int from 1 to 8, got True"),
        (4.0, TypeError, "bits must be an int"),
        ({"0": 4, "9*": 3}, ValueError, r"bits: '9\*' match no layer; there are 0, 2, 4"),
    ],
)
def test_what_does_not_fit_is_explained(bits, error, message):
    with pytest.raises(error, match=message):
        share_weights(perceptron(), bits)


def test_tied_weights_are_refused():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match="layers '0' and '1' have one weight together"):
        share_weights(model, 3)
