from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from pyscale.train import Recipe, digits, from_arrays, from_datasets


@pytest.fixture
def data():
    x = np.random.default_rng(0).integers(0, 256, (100, 9, 9, 3), dtype=np.uint8)
    return from_arrays(x, np.arange(100) % 4, x[:10], np.arange(10) % 4)


def seen(loader):
    return torch.cat([labels for _, labels in loader])


def pictures(loader):
    return torch.cat([images for images, _ in loader])


def test_a_shuffled_epoch_holds_every_picture_once_in_even_batches(data):
    loader = data.loader("train", 32, shuffle=True)
    assert [len(labels) for _, labels in loader] == [25, 25, 25, 25]
    assert len(loader) == 4
    assert sorted(torch.cat(loader.indices()).tolist()) == list(range(100))


def test_an_ordered_pass_fills_its_batches(data):
    loader = data.loader("train", 32)
    assert [len(labels) for _, labels in loader] == [32, 32, 32, 4]
    assert torch.equal(seen(loader), torch.arange(100) % 4)


def test_the_order_depends_on_seed_and_epoch_alone(data):
    recipe = Recipe(crop=0.25, flip=True)
    first = data.loader("train", 32, shuffle=True, seed=3, recipe=recipe)
    epochs = []
    for epoch in range(3):
        first.set_epoch(epoch)
        epochs.append(pictures(first))
    torch.manual_seed(99)  # the global generator has no say
    again = data.loader("train", 32, shuffle=True, seed=3, recipe=recipe)
    again.set_epoch(2)
    assert torch.equal(pictures(again), epochs[2])
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(pictures(data.loader("train", 32, shuffle=True, seed=4, recipe=recipe)), epochs[0])


def test_iterating_leaves_the_global_generator_alone(data):
    state = torch.get_rng_state()
    list(data.loader("train", 32, shuffle=True, recipe=Recipe(crop=0.2, flip=True)))
    list(from_datasets(Foreign(12), Foreign(3)).loader("train", 4, shuffle=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_training_pictures_are_normalised(data):
    images = pictures(data.loader("train"))
    assert images.dtype == torch.float32
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert images.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_normalisation_is_undone_by_mean_and_std(data):
    images = pictures(data.loader("test")).double()
    mean, std = (torch.tensor(moments).view(1, 3, 1, 1) for moments in (data.mean, data.std))
    raw = data.test.images.double() / 255
    assert (images * std + mean - raw).abs().max() < 1e-6


def test_memory_format_changes_no_value(data):
    plain = next(iter(data.loader("train", 16, recipe=Recipe(channels_last=False))))[0]
    last = next(iter(data.loader("train", 16, recipe=Recipe(channels_last=True))))[0]
    assert torch.equal(plain, last)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert plain.is_contiguous()


def test_one_channel_pictures_have_the_strides_of_their_format():
    data = from_arrays(np.zeros((8, 6, 6), np.uint8), np.arange(8) % 2, np.zeros((2, 6, 6), np.uint8), [0, 1])
    for channels_last, stride in ((True, (36, 1, 6, 1)), (False, (36, 36, 6, 1))):
        recipe = Recipe(crop=0.2, flip=True, channels_last=channels_last)
        assert next(iter(data.loader("train", 8, recipe=recipe)))[0].stride() == stride


class Foreign(Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return torch.full((3, 4, 4), index, dtype=torch.uint8), index % 3


def test_other_datasets_are_read_item_by_item():
    data = from_datasets(Foreign(12), Foreign(3))
    images, labels = next(iter(data.loader("train", 5)))
    assert images[:, 0, 0, 0].tolist() == pytest.approx([i / 255 for i in range(5)])
    assert labels.tolist() == [0, 1, 2, 0, 1]
    assert next(iter(data.resized(6).loader("train", 5)))[0].shape == (5, 3, 6, 6)


def test_worker_processes_give_the_same_batches():
    data = from_datasets(Foreign(12), Foreign(3))
    alone, helped = (data.loader("train", 5, shuffle=True, seed=1, workers=workers) for workers in (0, 1))
    assert torch.equal(pictures(alone), pictures(helped))


def test_a_batch_has_at_least_one_picture(data):
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        data.loader("train", 0)


def test_digits_are_never_mirrored():
    assert digits().recipe.flip is False


@pytest.mark.cuda
def test_a_gpu_makes_the_same_batches(data):
    recipe = Recipe(crop=0.125, flip=True)
    here = data.loader("train", 64, shuffle=True, recipe=recipe)
    there = data.loader("train", 64, shuffle=True, recipe=recipe, device=torch.device("cuda"))
    for (images, labels), (others, theirs) in zip(here, there, strict=True):
        assert others.device.type == "cuda"
        assert others.stride() == images.stride()
        torch.testing.assert_close(others.cpu(), images, rtol=1e-6, atol=1e-6)
        assert torch.equal(theirs.cpu(), labels)
