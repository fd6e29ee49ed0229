"""Really trained CIFAR ResNets load and classify real pictures. Needs a folder of data, named by PYSCALE_DATA."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pyscale.models import build

DATA = os.environ.get("PYSCALE_DATA")
pytestmark = pytest.mark.skipif(DATA is None, reason="PYSCALE_DATA names no folder with the trained nets and pictures")

CHECKPOINTS = {20: "resnet20-12fca82f.th", 32: "resnet32-d509ac18.th"}
PICTURES = "cifar10-jpeg.zip"
PER_CLASS = 100


def data_file(name):
    path = Path(DATA) / name
    if not path.is_file():
        pytest.skip(f"PYSCALE_DATA holds no {name}")
    return path


@pytest.fixture(scope="module")
def pictures():
    """Normalised test pictures (1000, 3, 32, 32) and labels, the same number of each class."""
    image = pytest.importorskip("PIL.Image")
    images, labels = [], []
    with zipfile.ZipFile(data_file(PICTURES)) as archive:
        files = sorted(name for name in archive.namelist() if "/test/" in name and name.endswith(".jpg"))
        classes = sorted({name.split("/")[-2] for name in files})
        for label, folder in enumerate(classes):
            for name in [name for name in files if name.split("/")[-2] == folder][:PER_CLASS]:
                images.append(np.asarray(image.open(io.BytesIO(archive.read(name))).convert("RGB")))
                labels.append(label)
    assert len(classes) == 10
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normalised = (np.stack(images) / 255 - mean) / std
    return torch.tensor(normalised.transpose(0, 3, 1, 2), dtype=torch.float32), torch.tensor(labels)


@pytest.mark.parametrize("depth", CHECKPOINTS)
def test_published_checkpoints_load_exactly(depth):
    path = data_file(CHECKPOINTS[depth])
    published = torch.load(path, weights_only=True, map_location="cpu")["state_dict"]
    loaded = build(f"cifar_resnet{depth}", weights=path).state_dict()
    counts = {key for key in loaded if key.endswith("num_batches_tracked")}  # the files are older than these
    assert [f"module.{key}" for key in loaded if key not in counts] == list(published)
    assert all(torch.equal(loaded[key], published[f"module.{key}"]) for key in loaded.keys() - counts)


@pytest.mark.parametrize(("depth", "expected"), [(20, 0.81), (32, 0.83)])
def test_published_checkpoints_classify_real_pictures(depth, expected, pictures):
    images, labels = pictures
    model = build(f"cifar_resnet{depth}", weights=data_file(CHECKPOINTS[depth])).eval()
    with torch.inference_mode():
        guesses = torch.cat([model(batch).argmax(1) for batch in images.split(250)])
    accuracy = (guesses == labels).double().mean().item()
    assert abs(accuracy - expected) < 3 * (expected * (1 - expected) / len(labels)) ** 0.5
