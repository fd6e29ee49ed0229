from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from pyscale.train import digits, from_datasets
from pyscale.train.datasets import as_data
from pyscale.train.pictures import PictureSet


class Items(Dataset):
    """A dataset that counts how often it is read."""

    def __init__(self, n=12, targets=None, item=None):
        self.n = n
        self.reads = 0
        self.item = item
        if targets is not None:
            self.targets = targets

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        if not 0 <= index < self.n:
            raise IndexError
        self.reads += 1
        return self.item if self.item is not None else (torch.full((3, 4, 6), float(index)), index % 3)


def test_a_tensor_dataset_is_held_in_memory_and_normalised():
    images = torch.rand(20, 3, 8, 6)
    data = from_datasets(
        TensorDataset(images[:15], torch.arange(15) % 4), TensorDataset(images[15:], torch.arange(5) % 4)
    )
    assert isinstance(data.train, PictureSet)
    assert torch.equal(data.test.images, images[15:])
    assert data.mean == pytest.approx(images[:15].double().mean((0, 2, 3)).tolist())
    assert (data.num_classes, data.channels, data.image_size) == (4, 3, (8, 6))


def test_one_dataset_is_split_by_class():
    data = from_datasets(Items(30), test_fraction=0.2, seed=1)
    assert (len(data.train), len(data.test)) == (24, 6)
    assert np.bincount(data.labels("test")).tolist() == [2, 2, 2]
    indices = [int(dataset[i][0][0, 0, 0]) for dataset in (data.train, data.test) for i in range(len(dataset))]
    assert sorted(indices) == list(range(30))


def test_subsets_of_tensor_datasets_are_in_memory_too():
    whole = TensorDataset(torch.rand(20, 1, 4, 4), torch.arange(20) % 2)
    data = from_datasets(Subset(whole, [3, 5, 8]), Subset(whole, [0, 1]))
    assert isinstance(data.train, PictureSet)
    assert torch.equal(data.train.images, whole.tensors[0][[3, 5, 8]])


def test_targets_save_reading_every_item():
    dataset = Items(12, targets=[i % 3 for i in range(12)])
    assert from_datasets(dataset, Items(3)).num_classes == 3
    assert dataset.reads == 1  # the one that shows shape and kind
    unlabelled = Items(12)
    assert from_datasets(unlabelled, Items(3)).num_classes == 3
    assert unlabelled.reads == 13


def test_class_names_come_from_the_dataset():
    dataset = Items(12)
    dataset.classes = ["a", "b", "c", "never seen"]
    assert from_datasets(dataset).class_names == ("a", "b", "c", "never seen")
    assert from_datasets(dataset, class_names="xyz").class_names == ("x", "y", "z")


def test_what_fit_takes():
    data = digits()
    assert as_data(data) is data
    assert as_data((Items(12), Items(4))).num_classes == 3
    assert len(as_data(Items(10)).test) == 2
    for other in (np.zeros(3), [Items()], "digits", (Items(), None)):
        with pytest.raises(TypeError, match="data must be what digits, image_folder"):
            as_data(other)


def test_a_part_is_stratified_and_seeded():
    data = digits()
    part = data.subset(100, seed=4, test=50)
    counts = np.bincount(part.labels("train"), minlength=10)
    assert (len(part.train), len(part.test)) == (100, 50)
    assert counts.min() >= 9
    assert counts.max() <= 11
    assert torch.equal(part.train.images, data.subset(100, seed=4).train.images)
    assert not torch.equal(part.train.images, data.subset(100, seed=5).train.images)
    assert (part.mean, part.recipe, part.class_names) == (data.mean, data.recipe, data.class_names)
    assert len(from_datasets(Items(12), Items(3)).subset(6).train) == 6


def test_digits_are_scikit_learn_s():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    data = digits()
    everything = torch.cat([data.train.images, data.test.images]).squeeze(1) * 16
    assert (len(data.train), len(data.test), data.image_size) == (1438, 359, 8)
    assert sorted(everything.flatten(1).tolist()) == sorted(bunch.images.reshape(-1, 64).tolist())
    assert np.bincount(data.labels("test")).min() >= 34
    again = digits(16, channels=3)
    assert torch.equal(again.resized(8).test.images, data.test.images.expand(-1, 3, -1, -1))
    assert not torch.equal(digits(seed=1).test.images, data.test.images)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: digits(channels=0), ValueError, "channels must be at least 1, got 0"),
        (lambda: digits(0), ValueError, "image_size must be a positive int or a pair of them, got 0"),
        (lambda: digits((8, 8, 8)), ValueError, "image_size must be"),
        (lambda: digits().split("dev"), ValueError, r"split must be one of \['train', 'test'\], got 'dev'"),
        (lambda: digits().split("val"), ValueError, "split must be one of"),
        (lambda: digits().subset(5000), ValueError, "n must be between 1 and the 1438 samples"),
        (lambda: from_datasets(Items(0)), ValueError, "train is an empty dataset"),
        (lambda: from_datasets(Items(4), Items(0)), ValueError, "test is an empty dataset"),
        (lambda: from_datasets(Stream()), TypeError, "train must be a map-style dataset"),
        (lambda: from_datasets(Items(item="text")), ValueError, "train must give"),
        (
            lambda: from_datasets(Items(item=(torch.zeros(3, 4), 0))),
            ValueError,
            "train must give uint8 or float images",
        ),
        (lambda: from_datasets(Items(item=(torch.zeros(3, 4, 4), -1))), ValueError, "labels from 0 up, got -1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_explained(build, error, message):
    with pytest.raises(error, match=message):
        build()


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(3, 4, 4), 0


def test_batches_of_the_wrong_kind_are_explained():
    targets = [0, 1] * 2
    flat = from_datasets(
        Items(4, targets, item=(torch.zeros(3, 4, 4), 0)), Items(4, targets, item=(torch.zeros(3, 4), 0))
    )
    with pytest.raises(ValueError, match=r"images of a dataset must be .* a batch came as torch\.float32 \(4, 3, 4\)"):
        list(flat.loader("test"))
    soft = from_datasets(Items(4, targets), Items(4, targets, item=(torch.zeros(3, 4, 4), 0.5)))
    with pytest.raises(ValueError, match=r"labels must be integers, one an image"):
        list(soft.loader("test"))
