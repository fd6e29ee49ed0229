"""Batches of every kind, and two loaders side by side."""

from __future__ import annotations

from collections import UserDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import pyscale as ps
from tests import oracles
from tests.comparison import recorded
from tests.comparison.networks import InPlaceNet, Keywords, mlp, pictures, vectors


def test_a_tuple_or_list_passes_its_first_item():
    model, batches = mlp(4, 8, 3), vectors(8, 8)
    plain = ps.compare(model, model, batches, progress=False)
    for wrap in (lambda b: (b, torch.zeros(8)), lambda b: [b, "label"]):
        assert ps.compare(model, model, [wrap(b) for b in batches], progress=False).rows == plain.rows
        assert np.array_equal(ps.compare(model, model, [wrap(b) for b in batches], progress=False).values, plain.values)


class Encoding(UserDict):
    """A mapping with attributes and ``to``, such as tokenizers return."""

    def to(self, device):
        self.data = {key: value.to(device) for key, value in self.data.items()}
        return self


@pytest.mark.parametrize("kind", [dict, Encoding])
def test_a_mapping_passes_its_items_as_keywords(kind):
    x, y = Keywords(1).double(), Keywords(2).double()
    ids = [torch.randint(11, (16, 5)) for _ in range(2)]
    mask = torch.ones(16, 5, dtype=torch.float64)
    c = ps.compare(x, y, [kind(input_ids=i, attention_mask=mask, id=torch.arange(16)) for i in ids], progress=False)
    assert c.rows == ["embedding", "norm", "head"]
    xs, ys = recorded.activations(x, ids), recorded.activations(y, ids)
    expected = oracles.minibatch_cka(list(zip(recorded.flat(xs["norm"]), recorded.flat(ys["embedding"]), strict=True)))
    assert c.values[1, 0] == pytest.approx(expected, abs=1e-11)


def test_keys_a_model_does_not_take_are_an_error_that_says_what_to_do():
    with pytest.raises(TypeError, match=r"'image'.*forward="):
        ps.compare(mlp(4, 3), mlp(4, 3), [{"image": torch.randn(8, 4)}], progress=False)


def test_forward_overrides_how_a_model_is_called():
    model, batches = mlp(4, 8, 3), vectors(8, 8)
    plain = ps.compare(model, model, batches, progress=False)
    c = ps.compare(
        model,
        model,
        [{"image": b, "n": 3} for b in batches],
        forward=lambda model, batch: model(batch["image"]),
        progress=False,
    )
    assert np.array_equal(c.values, plain.values)


def test_forward_may_read_batches_whose_size_only_activations_tell():
    class Opaque:
        def __init__(self, tensor):
            self.tensor = tensor

    model, batches = mlp(4, 8, 3), vectors(8, 8)
    plain = ps.compare(model, model, batches, progress=False)
    options = {"forward": lambda model, batch: model(batch.tensor), "progress": False}
    assert np.array_equal(ps.compare(model, model, map(Opaque, batches), **options).values, plain.values)
    with pytest.warns(UserWarning, match="batch 2 has 3 samples"):
        c = ps.compare(model, model, map(Opaque, [*batches, torch.randn(3, 4)]), **options)
    assert np.array_equal(c.values, plain.values)


def test_a_model_that_overwrites_its_input_spoils_it_for_nobody():
    first = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 5))
    second = mlp(4, 6)
    batches = vectors(16, 16)
    before = [b.clone() for b in batches]
    c = ps.compare(first, second, batches, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(batches, before, strict=True))
    xs, ys = recorded.activations(first, before), recorded.activations(second, before)
    expected = oracles.minibatch_cka(list(zip(xs["1"], ys["0"], strict=True)))
    assert c.values[1, 0] == pytest.approx(expected, abs=1e-5)


def test_both_models_see_the_same_batch_of_a_shuffled_loader():
    x, y = InPlaceNet(seed=1), InPlaceNet(seed=1)
    loader = DataLoader(TensorDataset(torch.randn(40, 3, 8, 8)), batch_size=10, shuffle=True)
    c = ps.compare(x, y, loader, progress=False)
    np.testing.assert_allclose(np.diag(c.values), 1, atol=1e-6)


def test_one_model_given_twice_runs_once():
    runs = []
    model = mlp(4, 8, 3)
    model.register_forward_pre_hook(lambda module, inputs: runs.append(1))
    c = ps.compare(model, model, vectors(8, 8), progress=False)
    assert len(runs) == 2
    assert np.array_equal(c.values, c.values.T)
    assert (np.diag(c.values) == 1).all()


def test_one_model_given_twice_with_other_layers_runs_once_too():
    runs = []
    model = mlp(4, 8, 8, 3)
    model.register_forward_pre_hook(lambda module, inputs: runs.append(1))
    batches = vectors(8, 8)
    full = ps.compare(model, model, batches, progress=False)
    runs.clear()
    c = ps.compare(model, model, batches, layers=["0", "2"], layers_y=["2", "4"], progress=False)
    assert len(runs) == 2
    assert (c.rows, c.columns) == (["0", "2"], ["2", "4"])
    picked = [[full.rows.index(row) for row in names] for names in (c.rows, c.columns)]
    np.testing.assert_allclose(c.values, full.values[np.ix_(*picked)], atol=1e-12)


def test_one_model_on_two_sets_of_data_runs_on_both():
    """A tool whose hooks all fire on both passes compares the second set with itself: 1 on the diagonal."""
    model = mlp(4, 8, 3)
    one, two = vectors(16, 16, seed=1), vectors(16, 16, seed=2)
    c = ps.compare(model, model, one, loader_y=two, progress=False)
    xs, ys = recorded.activations(model, one), recorded.activations(model, two)
    expected = recorded.pairwise(
        lambda x, y: oracles.minibatch_cka(list(zip(x, y, strict=True))), xs, ys, c.rows, c.columns
    )
    np.testing.assert_allclose(c.values, expected, atol=1e-5)
    assert np.diag(c.values).max() < 0.5


def test_each_model_may_see_the_data_in_its_own_way():
    x, y = InPlaceNet(seed=1), InPlaceNet(seed=2)
    small, large = pictures(8, 8, side=8), pictures(8, 8, side=12)
    c = ps.compare(x, y, small, loader_y=large, progress=False)
    xs, ys = recorded.activations(x, small), recorded.activations(y, large)
    pairs = list(zip(recorded.flat(xs["bn"]), recorded.flat(ys["conv2"]), strict=True))
    assert c.values[1, 3] == pytest.approx(oracles.minibatch_cka(pairs), abs=1e-5)


def test_the_same_loader_twice_is_one_loader():
    x, y = mlp(4, 8, 3, seed=1), mlp(4, 8, 3, seed=1)
    loader = DataLoader(TensorDataset(torch.randn(40, 4)), batch_size=10, shuffle=True)
    c = ps.compare(x, y, loader, loader_y=loader, progress=False)
    np.testing.assert_allclose(np.diag(c.values), 1, atol=1e-6)


def test_loaders_of_different_length_are_refused_before_anything_runs():
    model = mlp(4, 3)
    with pytest.raises(ValueError, match="loader has 3 batches and loader_y has 2"):
        ps.compare(model, model, vectors(8, 8, 8), loader_y=vectors(8, 8), progress=False)
    ps.compare(model, model, vectors(8, 8, 8), loader_y=vectors(8, 8), max_batches=2, progress=False)


@pytest.mark.parametrize(("n", "m", "short"), [(2, 3, "loader ended"), (3, 2, "loader_y ended")])
def test_streams_that_end_at_different_places_are_refused(n, m, short):
    model = mlp(4, 3)
    with pytest.raises(ValueError, match=f"{short} after 2 batches"):
        ps.compare(model, model, iter(vectors(*[8] * n)), loader_y=iter(vectors(*[8] * m)), progress=False)


def test_batches_of_different_size_are_refused():
    model = mlp(4, 3)
    with pytest.raises(ValueError, match="batch 1 of loader has 9 samples and that of loader_y has 8"):
        ps.compare(model, model, vectors(8, 9), loader_y=vectors(8, 8), progress=False)


@pytest.mark.parametrize("key", ["id", "ids", "sample_id", "sample_ids", "index"])
def test_samples_in_another_order_are_refused_where_they_have_ids(key):
    model = nn.Sequential(mlp(4, 3))
    model.forward = lambda x: nn.Sequential.forward(model, x)
    ids = [torch.arange(8), torch.tensor([8, 9, 10, 11, 13, 12, 14, 15])]
    one = [{"x": b, key: torch.arange(8 * i, 8 * i + 8)} for i, b in enumerate(vectors(8, 8))]
    two = [{"x": b, key: i} for b, i in zip(vectors(8, 8), ids, strict=True)]
    with pytest.raises(ValueError, match=r"batch 1 holds other samples.*at place 4 the ids are \[12\] and \[13\]"):
        ps.compare(model, model, one, loader_y=two, progress=False)
    c = ps.compare(model, model, one, loader_y=[dict(b) for b in one], progress=False)
    np.testing.assert_allclose(np.diag(c.values), 1)


class Identified(torch.utils.data.Dataset):
    """Samples that know which they are."""

    def __init__(self):
        self.x = torch.randn(16, 4)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"input": self.x[i], "id": i}


def test_shuffled_samples_with_ids_are_checked_and_not_warned_about():
    model, data = mlp(4, 3), Identified()
    loaders = [
        DataLoader(data, batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    c = ps.compare(model, model, loaders[0], loader_y=loaders[1], progress=False)
    np.testing.assert_allclose(np.diag(c.values), 1)
    with pytest.raises(ValueError, match="batch 0 holds other samples"):
        ps.compare(model, model, loaders[0], loader_y=loaders[2], progress=False)


def test_two_loaders_that_shuffle_are_warned_about():
    model = mlp(4, 3)
    loaders = [DataLoader(TensorDataset(torch.randn(16, 4)), batch_size=8, shuffle=s) for s in (False, True)]
    with pytest.warns(UserWarning, match="shuffles") as caught:
        ps.compare(model, model, loaders[0], loader_y=loaders[1], progress=False)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("loader", [torch.randn(16, 4), TensorDataset(torch.randn(16, 4)), 3])
def test_what_is_no_loader_is_a_type_error(loader):
    with pytest.raises(TypeError, match="iterable of batches"):
        ps.compare(mlp(4, 3), mlp(4, 3), loader)
    with pytest.raises(TypeError, match="loader_y"):
        ps.compare(mlp(4, 3), mlp(4, 3), vectors(8), loader_y=loader)


def test_the_progress_bar_counts_every_batch(capfd):
    ps.compare(mlp(4, 3), mlp(4, 3), vectors(8, 8, 8), max_batches=2)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "Sequential / Sequential: cka" in shown.err
    assert "2/2" in shown.err
    ps.compare(mlp(4, 3), mlp(4, 3), vectors(8), progress=False)
    assert capfd.readouterr().err == ""
