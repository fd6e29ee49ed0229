"""Grams judged once a batch, as on a GPU: the same numbers and errors, and a second look only where one is needed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

import pyscale as ps
from pyscale.comparison import driver
from tests.comparison.networks import InPlaceNet, mlp, pictures, vectors


@pytest.fixture
def deferred(monkeypatch):
    monkeypatch.setattr(driver, "judged_late", lambda device: True)


def both_ways(monkeypatch, *arguments, **options):
    """Return a comparison judged layer by layer, and the same judged once a batch."""
    plain = ps.compare(*arguments, progress=False, **options)
    with monkeypatch.context() as patch:
        patch.setattr(driver, "judged_late", lambda device: True)
        return plain, ps.compare(*arguments, progress=False, **options)


def assert_same(one, other):
    assert (one.rows, one.columns) == (other.rows, other.columns)
    for name in ("values", "stderr", "zscores"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    if one.pvalues is not None:
        np.testing.assert_array_equal(one.pvalues, other.pvalues)


@pytest.mark.parametrize(
    "options",
    [{}, {"kernel": "rbf"}, {"features": "pool"}, {"permutations": 9}, {"layers_y": ["conv", "relu*"]}],
)
@pytest.mark.parametrize("twice", [True, False])
def test_the_same_bits_as_layer_by_layer(monkeypatch, options, twice):
    x = InPlaceNet(6, seed=1)
    y = x if twice else InPlaceNet(9, seed=2)
    assert_same(*both_ways(monkeypatch, x, y, pictures(16, 16, 11), **options))


class Counting(nn.Sequential):
    """A perceptron that counts its forward passes."""

    def __init__(self, scale):
        super().__init__(*mlp(4, 8, 3, seed=1))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter *= scale
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        return super().forward(x)


@pytest.mark.parametrize(("scale", "passes"), [(1.0, 3), (1e-25, 4), (1e20, 4)])
def test_a_batch_is_seen_again_only_the_first_time_a_layer_fails(deferred, scale, passes):
    """Layers that float32 products can't hold are formed from float64 ones in later batches."""
    x, y = Counting(scale), mlp(4, 8, 3, seed=1)
    c = ps.compare(x, y, vectors(16, 16, 12), layers="0", progress=False)
    assert x.passes == passes
    assert c.values[0, 0] == pytest.approx(1.0, abs=1e-6)


class Noisy(nn.Module):
    """A layer that draws random numbers in eval mode too."""

    def forward(self, x):
        return x + torch.randn_like(x) * x.abs().max()


def test_a_batch_that_is_seen_again_draws_the_same_random_numbers(monkeypatch):
    x, y = nn.Sequential(nn.Linear(4, 8), Noisy()), mlp(4, 8, 3, seed=2)
    batches = [1e20 * batch for batch in vectors(16, 16)]
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    plain, late = both_ways(monkeypatch, x, y, batches, layers=[nn.Linear, Noisy], layers_y=nn.Linear)
    np.testing.assert_allclose(late.values, plain.values, atol=1e-12)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_layer_that_fails_later_is_formed_again(monkeypatch):
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 8, 3, seed=2)
    quiet, loud, quiet_again = vectors(16, 16, 12)
    plain, late = both_ways(monkeypatch, x, y, [quiet, 1e20 * loud, 1e20 * quiet_again])
    np.testing.assert_allclose(late.values, plain.values, atol=1e-12)
    assert late.meta["batches"] == 3


@pytest.mark.parametrize("layers", ["dead", "alone"])
def test_layers_with_nothing_to_compare_are_nan_and_named(deferred, layers):
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 8, 3, seed=2)
    batches = vectors(16, 16)
    if layers == "dead":
        nn.init.constant_(y[0].bias, -1000.0)
        message = "^layer '1' of model_y, layer '2' of model_y are constant"
    else:
        for batch in batches:
            batch[:-1] = batch[0]
        message = "^all samples of layer '0' of model_x.* equally far"
    with pytest.warns(UserWarning, match=message) as caught:
        c = ps.compare(x, y, batches, progress=False)
    assert len(caught) == 1
    assert np.isnan(c.values).sum() == (6 if layers == "dead" else 9)


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "infinity")])
def test_non_finite_activations_name_layer_model_and_batch(deferred, value, word):
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 8, 3, seed=2)
    with torch.no_grad():
        y[2].bias[1] = value
    batches = vectors(16, 16)
    with pytest.raises(ValueError, match=f"^activations of layer '2' of model_y in batch 0 hold {word}"):
        ps.compare(x, y, batches, progress=False)
    with torch.no_grad():
        y[2].bias[1] = 0
    batches[1][3, 2] = value
    with pytest.raises(ValueError, match=r"^activations of layer '0' of model_x in batch 1 hold"):
        ps.compare(x, y, batches, progress=False)
    assert not any(module._forward_hooks for model in (x, y) for module in model.modules())


def test_other_refusals_are_those_of_layer_by_layer(deferred):
    half = [model.half() for model in (mlp(4, 8, 3, seed=1), mlp(4, 8, 3, seed=2))]
    with torch.no_grad():
        half[1][0].weight *= 60000
    with pytest.raises(ValueError, match=r"layer '0' of model_y in batch 0 hold.*float16 overflows"):
        ps.compare(*half, [b.half() for b in vectors(16)], progress=False)
    batch = torch.zeros(16, 4)
    batch[0] = 1
    with pytest.raises(ValueError, match="layer '0' of model_x in batch 0 have no finite rbf kernel: more than half"):
        ps.compare(mlp(4, 3), mlp(4, 3), [batch], kernel="rbf", progress=False)
    big = [b.double() * 1e200 for b in vectors(16)]
    with pytest.raises(ValueError, match=r"layer '0' of model_x in batch 0.*too large"):
        ps.compare(mlp(4, 3).double(), mlp(4, 3).double(), big, progress=False)


def test_short_batches_are_skipped(monkeypatch):
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 9, 3, seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, late = both_ways(monkeypatch, x, y, vectors(16, 3, 10))
    assert_same(plain, late)
    assert late.meta["skipped_batches"] == 1


LOOKS = {getattr(torch.ops.aten, name).default for name in ("_local_scalar_dense", "item", "is_nonzero", "nonzero")}


class NoLooks(TorchDispatchMode):
    """Raises where a tensor's value is asked for, which on a GPU waits for all that was queued."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in LOOKS:
            raise AssertionError(f"{func} looks at a tensor")
        return func(*args, **(kwargs or {}))


def without_looks(model, batch):
    with NoLooks():
        return model(batch)


@pytest.mark.parametrize("options", [{}, {"kernel": "rbf"}, {"features": "pool"}])
def test_hooks_look_at_no_value(deferred, options):
    x, y = InPlaceNet(6, seed=1), InPlaceNet(9, seed=2)
    batches = pictures(16, 11)
    c = ps.compare(x, y, batches, forward=without_looks, progress=False, **options)
    np.testing.assert_array_equal(c.values, ps.compare(x, y, batches, progress=False, **options).values)


def test_layer_by_layer_hooks_do_look():
    with pytest.raises(AssertionError, match="looks at a tensor"):
        ps.compare(InPlaceNet(), InPlaceNet(), pictures(8), forward=without_looks, progress=False)


@pytest.mark.parametrize("scale", [1.0, 1e-25])
def test_no_activation_outlives_the_layer_after_the_next(deferred, scale):
    """In the second pass over a batch neither."""
    alive, most = [], []

    class Layer(nn.Conv2d):
        def forward(self, x):
            most.append(sum(not reference.expired() for reference in alive))
            y = super().forward(x)
            alive.append(StorageWeakRef(y.untyped_storage()))
            return y

    torch.manual_seed(0)
    x, y = (nn.Sequential(*(Layer(3, 3, 3, padding=1, bias=False) for _ in range(5))) for _ in range(2))
    ps.compare(x, y, [scale * b for b in pictures(8, 8, side=6)], progress=False)
    assert len(most) == (20 if scale == 1 else 30)
    assert max(most) <= 1  # the input of the layer that runs
