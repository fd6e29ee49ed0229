"""Many models at once: every pair as the two alone, each model run once, and what does not fit refused by name."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

import pyscale as ps
from tests import oracles
from tests.comparison import recorded
from tests.comparison.networks import InPlaceNet, mlp, pictures, vectors


def nets():
    small = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 10))
    return {"narrow": InPlaceNet(6, seed=1), "wide": InPlaceNet(9, seed=2), "small": small}


class Counting(nn.Sequential):
    """A perceptron that counts its forward passes."""

    def __init__(self, seed):
        super().__init__(*mlp(4, 8, 3, seed=seed))
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        return super().forward(x)


def test_every_pair_of_layers_of_every_pair_of_models():
    models, batches = nets(), pictures(16, 16, 11)
    found = ps.compare_many(models, batches, progress=False)
    assert list(found) == list(product(models, models))
    activations = {name: recorded.activations(model, batches) for name, model in models.items()}

    def cka(x, y):
        return oracles.minibatch_cka(list(zip(recorded.flat(x), recorded.flat(y), strict=True)))

    for (x, y), c in found.items():
        expected = recorded.pairwise(cka, activations[x], activations[y], c.rows, c.columns)
        np.testing.assert_allclose(c.values, expected, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"permutations": 9},
        {"kernel": "rbf"},
        {"mode": "exact", "features": "pool"},
        {"mode": "exact", "features": "pool", "estimator": "biased"},
        {"mode": "exact", "features": "positions"},
        {"metric": "pwcca", "features": "pool"},
        {"metric": "cca_r2", "features": "pool"},
        {"metric": "procrustes", "features": "pool"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")  # few samples, other grids
def test_every_pair_is_as_the_two_alone(options):
    models, batches = nets(), pictures(16, 16, 11)
    found = ps.compare_many(models, batches, progress=False, **options)
    for x, y in found:
        alone = ps.compare(models[x], models[y], batches, progress=False, **options)
        together = found[x, y]
        assert (together.rows, together.columns) == (alone.rows, alone.columns)
        assert together.arrays().keys() == alone.arrays().keys()
        # PWCCA of equal correlations depends on the basis, to rounding
        np.testing.assert_allclose(
            together.values, alone.values, atol=1e-4 if options.get("metric") == "pwcca" else 1e-7
        )
        np.testing.assert_allclose(together.zscores, alone.zscores, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(together.chance, alone.chance, atol=1e-9)
        if alone.pvalues is not None and x <= y:  # the other way round the other model's samples are permuted
            np.testing.assert_array_equal((found.held.get((x, y)) or alone).pvalues, alone.pvalues)


def test_one_pair_is_seen_from_both_sides():
    found = ps.compare_many(nets(), pictures(16, 16, 11), progress=False)
    one, other = found["narrow", "small"], found["small", "narrow"]
    assert (one.rows, one.columns) == (other.columns, other.rows)
    assert (one.meta["model_x"], other.meta["model_x"]) == ("narrow", "small")
    assert (one.meta["class_y"], other.meta["class_y"]) == ("Sequential", "InPlaceNet")
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name].T)


def test_every_model_runs_once_a_minibatch():
    models = {seed: Counting(seed) for seed in range(4)}
    found = ps.compare_many(models, vectors(16, 16, 9), progress=False)
    assert [model.passes for model in models.values()] == [3] * 4
    assert found.names == ["0", "1", "2", "3"]


def test_a_model_with_two_names_runs_once():
    model = Counting(0)
    found = ps.compare_many(
        {"one": model, "same": model}, vectors(16, 16), layers={"one": "0", "same": "2"}, progress=False
    )
    assert model.passes == 2
    alone = ps.compare(model, model, vectors(16, 16), layers="0", layers_y="2", progress=False)
    np.testing.assert_allclose(found["one", "same"].values, alone.values, atol=1e-12)


def test_every_model_may_see_the_samples_its_own_way():
    small, large = pictures(16, 16, side=8), pictures(16, 16, side=12)
    models = {"a": InPlaceNet(6, seed=1), "b": InPlaceNet(6, seed=2), "c": InPlaceNet(6, seed=3)}
    found = ps.compare_many(models, {"a": small, "b": large, "c": small}, progress=False)
    alone = ps.compare(models["a"], models["b"], small, loader_y=large, progress=False)
    np.testing.assert_allclose(found["a", "b"].values, alone.values, atol=1e-7)
    read = iter(small)  # one object is read once for both
    found = ps.compare_many({"a": models["a"], "c": models["c"]}, {"a": read, "c": read}, progress=False)
    assert found["a", "c"].meta["batches"] == 2


def test_checkpoints_are_built():
    states = [(step, mlp(4, 8, 3, seed=step).state_dict()) for step in (0, 100)]

    def build(state):
        model = mlp(4, 8, 3)
        model.load_state_dict(state)
        return model

    found = ps.compare_many(states, vectors(16, 16), build=build, progress=False)
    alone = ps.compare(mlp(4, 8, 3, seed=0), mlp(4, 8, 3, seed=100), vectors(16, 16), progress=False)
    np.testing.assert_allclose(found["0", "100"].values, alone.values, atol=1e-7)


def test_a_constant_layer_is_warned_of_once_with_its_model():
    models = {name: mlp(4, 8, 3, seed=seed) for seed, name in enumerate("abc")}
    nn.init.constant_(models["b"][0].bias, -1000.0)  # every ReLU of b is dead
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = ps.compare_many(models, vectors(16, 16), progress=False)
    assert [str(w.message).partition(" are")[0] for w in caught] == ["layer '1' of b, layer '2' of b"]
    assert caught[0].filename == __file__
    assert np.isnan(found["a", "b"].values).any(axis=0).tolist() == [False, True, True]


@pytest.mark.parametrize("mode", ["minibatch", "exact"])
def test_what_is_not_finite_is_named(mode):
    models = {name: mlp(4, 8, 3, seed=seed) for seed, name in enumerate("abc")}
    with torch.no_grad():
        models["c"][2].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="activations of layer '2' of c in batch 0 hold NaN"):
        ps.compare_many(models, vectors(16, 16), mode=mode, progress=False)


def test_grams_and_sums_that_would_not_fit_are_refused():
    models = {seed: mlp(4, 8, 3, seed=seed) for seed in range(4)}
    # 12 layers: twice 496 products of four bytes each; 10 pairs of 3 x 3 layers, 66 numbers each, and 12 x 12 at once
    message = (
        r"batch of 12 layers take 46\.5 KiB and the sums of 90 pairs of layers 47\.5 KiB, where memory allows 90 KiB"
    )
    with pytest.raises(ValueError, match=message):
        ps.compare_many(models, vectors(32, 32), memory="90KiB", progress=False)
    ps.compare_many(models, vectors(32, 32), memory="95KiB", progress=False)


def test_co_moments_that_would_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"memory allows 20 KiB.*'conv' of wide \(576 features\)"):
        ps.compare_many(nets(), pictures(8, 8), mode="exact", memory="20KiB", progress=False)


@pytest.mark.parametrize(
    ("models", "options", "error", "message"),
    [
        ({}, {}, ValueError, "models is empty"),
        ([(1, mlp(4, 3)), ("1", mlp(4, 3))], {}, ValueError, "models holds the name '1' twice"),
        ([mlp(4, 3)], {}, TypeError, "models holds a Sequential; expected a mapping, or"),
        (
            {"a": {}},
            {},
            TypeError,
            r"models\['a'\] is a dict; expected a torch.nn.Module, a store or its",
        ),
        ({"a": {}}, {"build": dict}, TypeError, r"models\['a'\] is a dict; expected a torch.nn.Module"),
        ({"a": mlp(4, 3)}, {"layers": {"b": "0"}}, ValueError, r"layers is given for \['b'\]; expected one for each"),
        ({"a": mlp(4, 3)}, {"layers": {"a": "9"}}, ValueError, "layers of 'a' asks for '9'"),
        ({"a": mlp(4, 3)}, {"metric": "cca", "mode": "minibatch"}, ValueError, "not an average over minibatches"),
    ],
)
def test_what_makes_no_sense_is_refused(models, options, error, message):
    with pytest.raises(error, match=message):
        ps.compare_many(models, vectors(8, 8), progress=False, **options)


def test_loaders_must_be_those_of_the_models_and_agree():
    models = {"a": mlp(4, 3), "b": mlp(4, 3, seed=1), "c": mlp(4, 3, seed=2)}
    with pytest.raises(ValueError, match=r"loader is given for \['a'\]; expected one for each model"):
        ps.compare_many(models, {"a": vectors(8)}, progress=False)
    loaders = {"a": vectors(8, 8), "b": vectors(8, 8), "c": vectors(8)}
    with pytest.raises(ValueError, match=r"loader\['a'\] has 2 batches and loader\['c'\] has 1"):
        ps.compare_many(models, loaders, progress=False)
    with pytest.raises(TypeError, match=r"loader\['a'\] is a Tensor"):
        ps.compare_many(models, {**loaders, "a": torch.zeros(3, 4)}, progress=False)


def test_names_of_models_and_layers_must_tell_them_apart():
    one, other = mlp(4, 3), nn.Sequential()
    one.add_module("b: c", nn.Linear(3, 2))
    other.add_module("c", nn.Linear(4, 2))
    with pytest.raises(ValueError, match="names that can't be told apart"):
        ps.compare_many({"a": one, "a: b": other}, vectors(8, 8), mode="exact", progress=False)


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (5, {}, "models is a int; expected a mapping, or .name, model. pairs"),
        ("net", {}, "models is a str; expected a mapping"),
        (mlp(4, 3), {}, "models is a Sequential; expected a mapping"),
        ([mlp(4, 3)], {}, "models holds a Sequential; expected a mapping"),
        ({"a": "a.pt"}, {"build": 5}, "build is 5; expected a function"),
    ],
)
def test_what_are_no_models_is_named(models, options, message):
    with pytest.raises(TypeError, match=message):
        ps.compare_many(models, vectors(8), progress=False, **options)
