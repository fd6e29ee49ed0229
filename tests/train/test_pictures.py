from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale.train.augmentation import augment, random_crop, random_flip
from pyscale.train.pictures import PictureSet, resize
from tests.train import oracle


@pytest.mark.parametrize("size", [(16, 16), (5, 5), (3, 11), (8, 8), (1, 1)])
def test_resizing_is_antialiased_linear_interpolation(size):
    images = np.random.default_rng(0).random((3, 2, 8, 8))
    expected = oracle.resize(images, size)
    assert resize(torch.from_numpy(images).float(), size).numpy() == pytest.approx(expected, abs=2e-6)


def test_resizing_bytes_rounds_to_bytes():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), dtype=np.uint8)
    resized = resize(torch.from_numpy(images), (13, 6))
    assert resized.dtype == torch.uint8
    assert np.abs(resized.numpy() - oracle.resize(images.astype(float), (13, 6))).max() <= 0.5 + 1e-4


def test_more_pictures_than_one_chunk(monkeypatch):
    monkeypatch.setattr("pyscale.train.pictures.RESIZE_CHUNK", 3)
    images = torch.rand(7, 1, 4, 4)
    assert resize(images, (6, 6)).numpy() == pytest.approx(oracle.resize(images.double().numpy(), (6, 6)), abs=2e-6)


def test_resizing_twice_starts_from_the_source():
    pictures = PictureSet(torch.rand(2, 1, 8, 8), torch.tensor([0, 1]))
    small = pictures.resized((2, 2))
    assert torch.equal(small.resized((12, 12)).images, pictures.resized((12, 12)).images)
    assert small.resized((8, 8)) is pictures


def test_a_part_of_resized_pictures_keeps_its_source():
    pictures = PictureSet(torch.rand(5, 1, 8, 8), torch.arange(5))
    part = pictures.resized((4, 4)).take(torch.tensor([3, 1]))
    assert torch.equal(part.resized((8, 8)).images, pictures.images[[3, 1]])
    assert part.labels.tolist() == [3, 1]


def test_a_random_crop_is_a_window_of_the_padded_picture():
    images = torch.rand(40, 3, 6, 5)
    cropped = random_crop(images, 2, torch.Generator().manual_seed(0))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)))
    offsets = set()
    for picture, result in zip(padded, cropped.numpy(), strict=True):
        found = [(y, x) for y in range(5) for x in range(5) if np.array_equal(picture[:, y : y + 6, x : x + 5], result)]
        assert len(found) == 1
        offsets.update(found)
    assert {y for y, _ in offsets} == {x for _, x in offsets} == {0, 1, 2, 3, 4}


def test_a_random_flip_mirrors_about_half():
    images = torch.rand(400, 1, 2, 3)
    flipped = random_flip(images, torch.Generator().manual_seed(0))
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 150 < int(mirrored.sum()) < 250


def test_augmentation_without_crop_and_flip_is_nothing():
    images = torch.rand(4, 1, 8, 8)
    assert augment(images, crop=0.0, flip=False, generator=torch.Generator()) is images


def test_padding_grows_with_the_picture():
    images = torch.ones(200, 1, 32, 32)
    cropped = augment(images, crop=0.125, flip=False, generator=torch.Generator().manual_seed(0))
    empty_rows = (cropped.amax((1, 3)) == 0).sum(1)  # (200,) rows of padding in each picture
    assert int(empty_rows.max()) == 4
