"""Bad options, bad activations, too little data: what was given, what was expected, and which layer or batch it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pyscale as ps
from pyscale.comparison.memory import format_size, parse_size
from tests.comparison.networks import InPlaceNet, mlp, pictures, vectors


def compare(**options):
    return ps.compare(mlp(4, 8, 3, seed=1), mlp(4, 8, 3, seed=2), vectors(16, 16), progress=False, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "rsa"}, "metric is 'rsa'; expected one of 'cka', 'cca'"),
        ({"mode": "fast"}, "mode is 'fast'"),
        ({"kernel": "cosine"}, "kernel is 'cosine'"),
        ({"estimator": "best"}, "estimator is 'best'"),
        ({"features": "mean"}, "features is 'mean'"),
        ({"bandwidth": 0.0}, "bandwidth is 0.0"),
        ({"permutations": -1}, "permutations is -1"),
        ({"max_batches": 0}, "max_batches is 0"),
        ({"memory": "lots"}, "memory is 'lots'"),
        ({"mode": "minibatch", "estimator": "biased"}, "mode is 'minibatch' and estimator 'biased'.*mode='exact'"),
        ({"mode": "minibatch", "metric": "cca"}, "not an average over minibatches"),
        ({"mode": "minibatch", "features": "positions"}, "outgrow a minibatch"),
        ({"mode": "exact", "kernel": "rbf"}, "needs all samples at once"),
        ({"estimator": "biased", "kernel": "rbf"}, "needs all samples at once"),
        ({"metric": "svcca", "kernel": "rbf"}, "has no kernel"),
        ({"metric": "svcca", "estimator": "biased"}, "has no estimators"),
        ({"mode": "exact", "permutations": 9}, "keeps no samples that could be permuted"),
        ({"metric": "pwcca", "permutations": 9}, "keeps no samples that could be permuted"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        compare(**options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"permutations": 1.5}, "an integer"),
        ({"seed": 1.5}, "an integer"),
        ({"max_batches": True}, "an integer"),
        ({"memory": 1.5}, "bytes or a string"),
        ({"layers": 5}, "a layer's name, a glob pattern or a module type"),
        ({"layers_y": nn.Linear(4, 3)}, "a layer's name, a glob pattern or a module type"),
        ({"forward": 5}, "a function"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_of_the_wrong_type(options, expected):
    with pytest.raises(TypeError, match=rf"^{next(iter(options))} is .*; expected {expected}"):
        compare(**options)


def test_whole_numbers_may_be_numpys(tmp_path):
    options = {"permutations": 9, "seed": 3, "max_batches": 1, "memory": 2**30}
    found = compare(**{name: np.int64(value) for name, value in options.items()})
    assert {name: (type(found.meta[name]), found.meta[name]) for name in options} == {
        name: (int, value) for name, value in options.items()
    }
    found.save(tmp_path / "c.npz")  # whose header knows plain numbers only
    assert ps.Comparison.load(tmp_path / "c.npz") == found


@pytest.mark.parametrize(
    ("size", "count"), [(7, 7), ("7", 7), ("2GiB", 2 * 2**30), ("1.5 kb", 1500), ("3MiB", 3 * 2**20)]
)
def test_sizes(size, count):
    assert parse_size(size, "memory") == count


@pytest.mark.parametrize(
    ("size", "text"), [(7, "7 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (250 * 2**20, "250 MiB"), (2**50, "1024 TiB")]
)
def test_sizes_in_words(size, text):
    assert format_size(size) == text


@pytest.mark.parametrize("device", ["gpu0", "cuda:99"])
def test_a_device_that_is_not_there(device):
    with pytest.raises(ValueError, match=f"device is '{device}', which can't be used"):
        compare(device=device)


def test_a_loader_is_needed():
    with pytest.raises(TypeError, match="loader is a NoneType; expected an iterable of batches"):
        ps.compare(mlp(4, 3, seed=1), mlp(4, 3, seed=2), None)


def test_models_must_be_modules():
    with pytest.raises(TypeError, match=r"model_y is a function; expected a torch.nn.Module"):
        ps.compare(mlp(4, 3), lambda x: x, vectors(8))


def test_lazy_models_must_have_run_once():
    with pytest.raises(ValueError, match=r"model_x has the uninitialised lazy parameter '0.weight'"):
        ps.compare(nn.Sequential(nn.LazyLinear(3)), mlp(4, 3), vectors(8))


@pytest.mark.parametrize("mode", ["minibatch", "exact"])
@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "infinity")])
def test_non_finite_activations_name_layer_model_and_batch(mode, value, word):
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 8, 3, seed=2)
    with torch.no_grad():
        y[2].bias[1] = value
    batches = vectors(16, 16)
    message = f"activations of layer '2' of model_y in batch 0 hold {word}"
    with pytest.raises(ValueError, match=message):
        ps.compare(x, y, batches, mode=mode, progress=False)
    with torch.no_grad():
        y[2].bias[1] = 0
    batches[1][3, 2] = float("nan")
    with pytest.raises(ValueError, match="activations of layer '0' of model_x in batch 1 hold NaN"):
        ps.compare(x, y, batches, mode=mode, progress=False)


@pytest.mark.parametrize("mode", ["minibatch", "exact"])
def test_float16_overflow_says_so(mode):
    x, y = mlp(4, 8, 3, seed=1).half(), mlp(4, 8, 3, seed=2).half()
    with torch.no_grad():
        y[0].weight *= 60000
    with pytest.raises(ValueError, match=r"layer '0' of model_y in batch 0 hold.*float16 .*overflow.*bfloat16"):
        ps.compare(x, y, [b.half() for b in vectors(16)], mode=mode, progress=False)


def test_float16_overflow_says_so_of_pooled_features_too():
    """The pooled means are float32; what overflowed is the activation."""
    x, y = mlp(4, 8, 3, seed=1).half(), mlp(4, 8, 3, seed=2).half()
    with torch.no_grad():
        y[0].weight *= 60000
    tokens = torch.randn(16, 5, 4, generator=torch.Generator().manual_seed(0)).half()
    with pytest.raises(ValueError, match=r"layer '0' of model_y in batch 0 hold.*float16 .*overflow.*bfloat16"):
        ps.compare(x, y, [tokens], features="pool", progress=False)


def test_no_data():
    with pytest.raises(ValueError, match="loader is empty"):
        ps.compare(mlp(4, 3), mlp(4, 3), [], progress=False)
    with (
        pytest.warns(UserWarning, match="batch 0 has 3 samples"),
        pytest.raises(ValueError, match=r"all 2 batches have fewer than 4 samples.*batch_size"),
    ):
        ps.compare(mlp(4, 3), mlp(4, 3), vectors(3, 2), progress=False)


def test_no_kernel_where_most_samples_are_one():
    batch = torch.zeros(16, 4)
    batch[0] = 1
    with pytest.raises(ValueError, match="layer '0' of model_x in batch 0 have no finite rbf kernel: more than half"):
        ps.compare(mlp(4, 3), mlp(4, 3), [batch], kernel="rbf", progress=False)


def test_activations_too_large_for_any_kernel():
    big = [b.double() * 1e200 for b in vectors(16)]
    with pytest.raises(ValueError, match=r"layer '0' of model_x in batch 0.*too large"):
        ps.compare(mlp(4, 3).double(), mlp(4, 3).double(), big, progress=False)


def test_a_model_without_parameters_runs_where_the_other_is():
    c = ps.compare(nn.Sequential(nn.Tanh()), InPlaceNet(), pictures(8), progress=False)
    assert c.rows == ["0"]
    assert c.meta["device"] == "cpu"


def test_a_layer_too_faint_for_float32_products_is_compared_all_the_same():
    loud, faint = mlp(4, 8, seed=1), mlp(4, 8, seed=1)
    with torch.no_grad():
        for parameter in faint.parameters():
            parameter *= 1e-25
    values = ps.compare(loud, faint, vectors(16, 16), progress=False).values
    assert values[0, 0] == pytest.approx(1.0, abs=1e-6)


def test_a_layer_with_one_live_sample_is_named():
    """Its U-centred Gram is 0, though it isn't constant: a ratio of rounding errors is no similarity."""
    batch = torch.full((16, 4), 0.3)
    batch[5] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    x, y = mlp(4, 8, seed=1), mlp(4, 8, seed=2)
    other = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match="all samples of layer '0' of model_x are equally far.* or all but one"):
        result = ps.compare(x, y, [batch], loader_y=[other], progress=False)
    assert torch.isnan(torch.from_numpy(result.values)).all()
