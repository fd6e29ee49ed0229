"""Comparisons whose Grams come from the CUDA kernels, on the emulated GPU: the numbers of the CPU, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pyscale as ps
from pyscale.comparison import driver
from pyscale.metrics import kernel_sums, packing
from pyscale.ops import cuda
from tests.comparison.networks import InPlaceNet, mlp, pictures, vectors
from tests.comparison.test_minibatch import truth
from tests.metrics.test_packing import LAYERS, LINEAR

_emulated = pytest.importorskip("pyscale._emulated", reason="only development builds have the emulated kernels")


@pytest.fixture(params=[80, 90], ids=["sm_80", "sm_90"])
def gpu(request, monkeypatch):
    """Let float32 activations in the CPU's memory be taken for a GPU's."""
    _emulated.configure(capability=request.param, multiprocessors=4, seed=2, truncate=True)
    monkeypatch.setattr(cuda, "_native", _emulated)
    monkeypatch.setattr(cuda, "_queue", lambda x: (0, 0))
    monkeypatch.setattr(cuda, "serves", lambda *tensors: all(t.dtype == torch.float32 for t in tensors))
    monkeypatch.setattr(driver, "judged_late", lambda device: True)
    monkeypatch.setattr(kernel_sums, "splits", lambda x, dtype: dtype == torch.float32)
    yield
    _emulated.configure()


@pytest.mark.parametrize("options", [{}, {"kernel": "rbf"}])
def test_networks_that_work_in_place(gpu, options):
    x, y = InPlaceNet(3, seed=1), InPlaceNet(4, seed=2)
    batches = pictures(12, 9, side=4)
    c = ps.compare(x, y, batches, progress=False, **options)
    expected = truth(x, y, batches, c.rows, c.columns, **options)
    np.testing.assert_allclose(c.values, expected, atol=1e-4 if options else 2e-5)


@pytest.mark.parametrize("scale", [1e-25, 1e20])
def test_what_default_products_cannot_hold_is_formed_from_float64_ones(gpu, scale):
    x, y = mlp(4, 8, seed=1), mlp(4, 8, seed=1)
    with torch.no_grad():
        for parameter in x.parameters():
            parameter *= scale
    assert ps.compare(x, y, vectors(12, 12), progress=False).values[0, 0] == pytest.approx(1, abs=1e-6)


def test_similarities_never_exceed_one(gpu):
    x = InPlaceNet(3, seed=1)
    twin = InPlaceNet(3, seed=1)
    values = ps.compare(x, twin, pictures(12, side=4), progress=False).values
    np.testing.assert_allclose(np.diag(values), 1, atol=1e-12)
    assert np.abs(values).max() <= 1 + 1e-12


def test_layers_without_variation_are_named(gpu):
    x, y = mlp(4, 8, seed=1), mlp(4, 8, 3, seed=2)
    nn.init.constant_(y[0].bias, -1000.0)
    with pytest.warns(UserWarning, match="^layer '1' of model_y, layer '2' of model_y are constant"):
        values = ps.compare(x, y, vectors(12), progress=False).values
    assert np.isnan(values).tolist() == [[False, True, True]]


def test_non_finite_activations_are_named(gpu):
    x, y = mlp(4, 8, seed=1), mlp(4, 8, 3, seed=2)
    with torch.no_grad():
        y[2].bias[1] = torch.nan
    with pytest.raises(ValueError, match=r"^activations of layer '2' of model_y in batch 0 hold NaN"):
        ps.compare(x, y, vectors(12), progress=False)


def test_what_is_trusted_is_what_is_trusted_on_the_cpu(gpu):
    attempts = packing.Attempts.stacked(packing.attempt(x, **LINEAR) for x, _ in LAYERS.values())
    assert attempts.trusted().tolist() == [fine for _, fine in LAYERS.values()]


def test_many_layers_are_packed_at_once(gpu):
    layers = {name: x for name, (x, fine) in LAYERS.items() if fine}
    xs = list(layers.values()) * 20  # more than one launch takes
    rows = packing.pack_layers(xs, ["values"] * len(xs), **LINEAR)
    for i, (name, x) in enumerate(layers.items()):
        one = packing.pack(x, name, **LINEAR)
        assert (rows.values[i :: len(layers)] == one.values).all()
        assert (rows.constant[i :: len(layers)] == one.constant).all()
