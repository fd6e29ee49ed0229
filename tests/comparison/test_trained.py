"""Really trained networks on real pictures, against float64 formulas. Needs a folder of data, named by PYSCALE_DATA."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import pyscale as ps
from tests import oracles
from tests.comparison import recorded

DATA = os.environ.get("PYSCALE_DATA")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(DATA is None, reason="PYSCALE_DATA names no folder with the trained nets and pictures"),
]

CHECKPOINTS = {20: "resnet20-12fca82f.th", 32: "resnet32-d509ac18.th"}
PICTURES = "cifar10-jpeg.zip"
SAMPLES, BATCH = 160, 64


def data_file(name):
    path = Path(DATA) / name
    if not path.is_file():
        pytest.skip(f"PYSCALE_DATA holds no {name}")
    return path


@pytest.fixture(scope="module")
def batches():
    image = pytest.importorskip("PIL.Image")
    with zipfile.ZipFile(data_file(PICTURES)) as archive:
        files = sorted(name for name in archive.namelist() if "/test/" in name and name.endswith(".jpg"))
        chosen = files[:: len(files) // SAMPLES][:SAMPLES]
        pixels = np.stack([np.asarray(image.open(io.BytesIO(archive.read(f))).convert("RGB")) for f in chosen])
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return torch.tensor(((pixels / 255 - mean) / std).transpose(0, 3, 1, 2), dtype=torch.float32).split(BATCH)


@pytest.fixture(scope="module")
def models():
    return [ps.models.build(f"cifar_resnet{depth}", weights=data_file(CHECKPOINTS[depth])) for depth in (20, 32)]


@pytest.fixture(scope="module")
def activations(models, batches):
    """What the layers of both models returned, copied in their hooks."""

    def leaves(model):
        return [name for name, m in model.named_modules() if not list(m.children()) and "shortcut" not in name]

    return [recorded.activations(model, batches, leaves(model)) for model in models]


def u_centred_sums(xs, ys):
    """Return the minibatch CKA of all pairs, from float64 U-centred Grams of copies of the activations."""
    numerator = squares_x = squares_y = 0.0
    for batch in range(len(next(iter(xs.values())))):
        U, V = (
            np.stack(
                [oracles.u_centred(oracles.kernel_matrix(z[batch].reshape(len(z[batch]), -1))).ravel() for z in zs]
            )
            for zs in (xs.values(), ys.values())
        )
        numerator, squares_x, squares_y = numerator + U @ V.T, squares_x + (U * U).sum(1), squares_y + (V * V).sum(1)
    return numerator / np.sqrt(squares_x[:, None] * squares_y[None, :])


def test_every_pair_of_layers_from_minibatches(models, batches, activations):
    c = ps.compare(*models, batches, progress=False)
    xs, ys = activations
    assert (c.rows, c.columns) == (list(xs), list(ys))
    assert c.values.shape == (59, 95)
    np.testing.assert_allclose(c.values, u_centred_sums(xs, ys), atol=1e-4)
    assert (c.zscores[0] > 5).all()


@pytest.mark.parametrize(
    ("metric", "formula"),
    [
        ("cka", oracles.cka),
        ("cca", lambda x, y: oracles.canonical_correlations(x, y).mean()),
        ("svcca", oracles.svcca),
        ("procrustes", oracles.procrustes),
    ],
)
def test_pooled_layers_exactly(models, batches, activations, metric, formula):
    layers = ["conv1", "layer*.[024].bn1", "layer3.2.relu", "avgpool", "linear"]
    c = ps.compare(*models, batches, layers=layers, metric=metric, mode="exact", features="pool", progress=False)
    xs, ys = (
        {name: np.concatenate(recorded.pooled(parts[name])) for name in names}
        for names, parts in zip((c.rows, c.columns), activations, strict=True)
    )
    np.testing.assert_allclose(c.values, recorded.pairwise(formula, xs, ys, c.rows, c.columns), atol=1e-4)
    assert len(c.rows) > 8
