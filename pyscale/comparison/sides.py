"""One of the models of a comparison: tapped, called on batches, and which of them run at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pyscale.comparison.batches import Forward, check_forward, forward_batch, move
from pyscale.comparison.hooks import Tap
from pyscale.comparison.layers import Selection
from pyscale.comparison.wrappers import unwrap


class Side:
    """A model of a comparison, tapped.

    Args:
        label: What errors call it.
        model: The model as the user gave it.
        selection: Its layers that are compared.
        forward: The user's way of calling it; None is :func:`forward_batch`.
        loader: Which of the loaders it sees.

    Raises:
        TypeError: ``forward`` can't be called.
    """

    def __init__(
        self, label: str, model: nn.Module, selection: Selection, forward: Forward | None, loader: int = 0
    ) -> None:
        check_forward(forward)
        self.model = model
        self.inner = unwrap(model)
        self.tap = Tap(label, selection)
        self.loader = loader
        self._forward = forward

    @property
    def label(self) -> str:
        """What errors call it."""
        return self.tap.label

    @property
    def kind(self) -> str:
        """The name of the model's class."""
        return type(self.inner).__name__

    @property
    def skipped(self) -> dict[str, str]:
        """Layers that gave nothing comparable, with the reason."""
        return self.tap.skipped

    @property
    def dtypes(self) -> set[str]:
        """Element types of the activations seen."""
        return self.tap.dtypes

    @property
    def rows(self) -> list[str]:
        """Names of its compared layers, in forward order; empty before the first batch."""
        return self.tap.rows

    def call(self, batch: Any, device: torch.device) -> None:
        """Run the model on a copy of the batch, which the model may then overwrite, and drop what it returns."""
        batch = move(batch, device)
        if self._forward is None:
            forward_batch(self.inner, batch)
        else:
            self._forward(self.model, batch)

    def runs_with(self, other: Side) -> bool:
        """Return whether one forward pass serves both: they are one model, and see one loader."""
        return self.inner is other.inner and self.loader == other.loader

    def equals(self, other: Side) -> bool:
        """Return whether the layers are the same too, so that one of the two is enough."""
        mine, theirs = self.tap.selection, other.tap.selection
        return self.runs_with(other) and mine.modules == theirs.modules and mine.calls == theirs.calls


def grouped(sides: Mapping[int, Side]) -> list[list[int]]:
    """Return places of sides, those that one forward pass serves together."""
    groups: list[list[int]] = []
    for place, side in sides.items():
        for group in groups:
            if side.runs_with(sides[group[0]]):
                group.append(place)
                break
        else:
            groups.append([place])
    return groups
