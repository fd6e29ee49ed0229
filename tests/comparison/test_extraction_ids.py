"""Ids of an extraction's samples: what is wrong with them is said before it costs anything, and nothing is lost."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import pyscale as ps
from tests.comparison.killed import tree
from tests.comparison.test_extraction import SAMPLES, Network, batches, extract, images


class Counting(Network):
    """Counts its forward passes."""

    def __init__(self):
        super().__init__()
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        return super().forward(x)


def streamed(sizes=(16, 16, 16, 2)):
    """An iterable whose length nobody knows before it ends."""
    return (x for x in images().split(list(sizes)))


@pytest.mark.parametrize("given", [SAMPLES - 1, SAMPLES + 1, 3])
@pytest.mark.parametrize(
    "loader",
    [
        batches(),
        list(batches()),
        tuple((x, torch.zeros(len(x))) for x in batches()),
        DataLoader(TensorDataset(images()), batch_size=16),
    ],
    ids=["loader", "list", "tuple", "dataset"],
)
def test_a_number_of_ids_that_is_known_to_be_wrong_costs_nothing(tmp_path, loader, given):
    model = Counting()
    with pytest.raises(ValueError, match=rf"sample_ids has {given} ids, and the loader gives 50 samples; expected one"):
        extract(tmp_path / "x.zarr", model, loader, sample_ids=range(given))
    assert model.passes == 0
    assert not (tmp_path / "x.zarr").exists()


@pytest.mark.parametrize(("options", "samples"), [({"drop_last": True}, 48), ({}, 50)])
def test_the_last_batch_and_max_batches_are_counted(tmp_path, options, samples):
    loader = DataLoader(images(), batch_size=16, **options)
    assert extract(tmp_path / "x.zarr", loader=loader, sample_ids=range(samples)).samples == samples
    store = extract(tmp_path / "y.zarr", loader=loader, sample_ids=range(32), max_batches=2)
    assert store.ids == tuple(range(32))


def test_a_collate_function_may_leave_samples_out(tmp_path):
    loader = DataLoader(images(), batch_size=16, collate_fn=lambda items: torch.stack(items[1:]))
    assert extract(tmp_path / "x.zarr", loader=loader, sample_ids=range(46)).samples == 46


def test_too_few_ids_are_refused_at_the_batch_where_they_run_out_and_others_go_on(tmp_path):
    model = Counting()
    with pytest.raises(ValueError, match=r"has 40 ids, and the loader has given 48 samples in 3 batches\. What was"):
        extract(tmp_path / "x.zarr", model, streamed(), sample_ids=range(40))
    assert model.passes == 2
    with pytest.raises(ValueError, match="unfinished"):
        ps.open_store(tmp_path / "x.zarr")
    store = extract(tmp_path / "x.zarr", model, streamed(), sample_ids=range(100, 150))
    assert store.ids == tuple(range(100, 150))
    extract(tmp_path / "whole.zarr", Counting(), streamed(), sample_ids=range(100, 150))
    assert tree(tmp_path / "x.zarr") == tree(tmp_path / "whole.zarr")


def test_too_many_ids_of_a_stream_lose_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(ps.stores.zarr_writer, "_MOST_ROWS", 16)
    with pytest.raises(ValueError, match="sample_ids has 60 ids, and the loader gave 50 samples"):
        extract(tmp_path / "x.zarr", Counting(), streamed(), sample_ids=range(60))
    model = Counting()
    assert extract(tmp_path / "x.zarr", model, streamed(), sample_ids=range(50)).ids == tuple(range(50))
    assert model.passes == 1  # the last batch, which fills no chunk


def dicts(ids):
    return [{"x": x, "id": part} for x, part in zip(images().split(16), ids, strict=True)]


@pytest.mark.parametrize(
    ("ids", "kind", "message"),
    [
        ([range(16), [*range(20, 35), 3], range(40, 56), [0, 1]], ValueError, "batches 0 and 1 both have the id 3"),
        ([range(16), [*range(20, 35), 20], range(40, 56), [0, 1]], ValueError, "ids of batch 1 has the id 20 twice"),
        ([range(16), range(20, 30), range(40, 56), [0, 1]], ValueError, "batch 1 has 16 samples and 10 ids"),
        ([range(16), map(str, range(16)), range(40, 56), [0, 1]], TypeError, "batch 1 has the id '0', and the first"),
        ([range(16), [0.5] * 16, range(40, 56), [0, 1]], TypeError, r"ids of batch 1\[0\] is 0.5"),
    ],
)
def test_ids_of_batches_are_looked_at_batch_by_batch(tmp_path, ids, kind, message):
    model = Counting()
    with pytest.raises(kind, match=message):
        extract(tmp_path / "x.zarr", model, dicts([list(part) for part in ids]))
    assert model.passes == 1


def test_ids_in_some_batches_only_are_refused(tmp_path):
    for first, second in ((0, 1), (1, 0)):
        loader = dicts([list(range(16 * i, 16 * i + len(x))) for i, x in enumerate(images().split(16))])
        del loader[second]["id"]
        loader = [loader[first], loader[second]] if first < second else loader[:2]
        with pytest.raises(ValueError, match=r"batch 1 has (no )?ids, and those before it have (no )?ids"):
            extract(tmp_path / f"{first}.zarr", loader=loader)


def test_a_batch_without_tensors_is_counted_by_its_activations(tmp_path):
    loader = iter([["a", "b"], ["c"]])
    vectors = {"a": 0.0, "b": 1.0, "c": 2.0}

    def forward(model, batch):
        return model(torch.tensor([[vectors[word]] * 4 for word in batch]))

    model = torch.nn.Sequential(torch.nn.Linear(4, 3))
    with pytest.raises(ValueError, match="sample_ids has 2 ids, and the loader has given 3 samples in 2 batches"):
        ps.extract(model, loader, tmp_path / "x.zarr", forward=forward, sample_ids=[1, 2], progress=False)


def test_batches_of_strings_are_told_apart(tmp_path):
    def forward(model, batch):
        return model(torch.tensor([[float(len(word))] * 4 for word in batch]))

    model = torch.nn.Sequential(torch.nn.Linear(4, 3))
    options = {"forward": forward, "progress": False}
    ps.extract(model, [["a", "b"], ["c"]], tmp_path / "x.zarr", **options)
    with pytest.raises(ValueError, match="the loader's first batch is another one"):
        ps.extract(model, [["a", "bb"], ["c"]], tmp_path / "x.zarr", **options)
