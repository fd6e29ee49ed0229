"""What a comparison does without: copies of activations, and activations that outlive their layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

import pyscale as ps
from pyscale.comparison.features import flatten_for_gram
from pyscale.comparison.minibatch import MinibatchStrategy
from pyscale.ops.native import rows

LAYOUTS = {
    "contiguous": torch.randn(6, 5, 4, 3),
    "channels last": torch.randn(6, 5, 4, 3).to(memory_format=torch.channels_last),
    "channels last, volumes": torch.randn(6, 2, 5, 4, 3).to(memory_format=torch.channels_last_3d),
    "tokens, transposed": torch.randn(6, 7, 5).transpose(1, 2),
    "some of the samples": torch.randn(12, 5, 4, 3)[::2],
    "some of the features": torch.randn(6, 40)[:, :30],
    "one sample after another": torch.randn(6, 5, 1, 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_dense_activations_are_read_where_they_lie(layout):
    activation = LAYOUTS[layout]
    x = rows(flatten_for_gram(activation))
    assert x.data_ptr() == activation.data_ptr()
    assert x.shape == (6, activation[0].numel())
    one, other = x.sort(dim=1).values, activation.flatten(1).sort(dim=1).values
    assert torch.equal(one, other), "the same numbers of the same samples"


def convolutions():
    layers = [layer for i in range(4) for layer in (nn.Conv2d(3 if i == 0 else 8, 8, 3), nn.BatchNorm2d(8))]
    return nn.Sequential(*layers).eval()


def test_an_activation_is_let_go_when_the_next_layer_is_done_with_it(monkeypatch):
    alive = []
    take = MinibatchStrategy.take

    def watch(self, side, row, activation):
        alive[:] = [(name, storage) for name, storage in alive if not storage.expired()]
        # of this model the layer's input may be there still
        assert len(alive) <= 1, f"{[name for name, _ in alive]} when {row} is taken"
        take(self, side, row, activation)
        alive.append((row, StorageWeakRef(activation.untyped_storage())))

    monkeypatch.setattr(MinibatchStrategy, "take", watch)
    batches = [torch.randn(8, 3, 16, 16) for _ in range(2)]
    ps.compare(convolutions(), convolutions(), batches, layers=[nn.Conv2d, nn.BatchNorm2d], progress=False)
    assert all(storage.expired() for _, storage in alive)
