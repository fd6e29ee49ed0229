"""The documented recipe for small natural pictures, run on the CIFAR-10 JPEG pictures with a real CIFAR ResNet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from pyscale.models import build
from pyscale.train import PICTURES, fit, image_folder

ARCHIVE = "cifar10-jpeg.zip"  # 20 000 training and 5 000 test pictures of 32 x 32 pixels, train/<class>/, test/<class>/

EPOCHS = 6  # of the recipe's 30: about 130 seconds of one core each
FLOOR = 0.70  # measured: 72.8 % (71.5 to 74.0)


@pytest.fixture(scope="module")
def pictures():
    folder = os.environ.get("PYSCALE_DATA")
    if folder is None:
        pytest.skip(f"PYSCALE_DATA does not name a folder with {ARCHIVE}")
    path = Path(folder) / ARCHIVE
    if not path.exists():
        pytest.skip(f"PYSCALE_DATA has no {ARCHIVE}")
    return image_folder(path)


@pytest.mark.slow
def test_cifar_resnet20_learns_the_pictures(pictures, record_property):
    assert (len(pictures.train), len(pictures.test), pictures.num_classes) == (20_000, 5_000, 10)
    assert pictures.recipe == PICTURES
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build("cifar_resnet20", num_classes=10)
    trained = fit(model, pictures, epochs=EPOCHS, seed=0, progress=False)
    record_property("accuracy", str(trained.accuracy))
    record_property("by class", {count.name: round(count.value, 3) for count in trained.accuracy.per_class})
    assert trained.accuracy.value > FLOOR
    assert [count.total for count in trained.accuracy.per_class] == [500] * 10
