"""Rows of activations that wait until there are enough of them.

Adding samples to co-moments reads and writes p x q numbers however few the samples are, so few of them are held back.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ENOUGH_ROWS = 1024  # from here on the products outweigh the traffic
MOST_BYTES = 1 << 28  # of all layers together: 256 MiB


def copied(x: Tensor) -> Tensor:
    """Return a copy of samples (n, p) that can be held."""
    return x.detach().clone(memory_format=torch.contiguous_format)


@dataclass
class _Waiting:
    """The samples of one layer."""

    pieces: list[Tensor]
    counts: list[int]  # rows of each piece as it came; later several may be one tensor
    rows: int
    eps: float  # the coarsest of the types they came in


class RowBuffer:
    """The latest samples of layers, by the layers' places.

    Layers have had the same samples if their :meth:`counts` are equal: the numbers of rows in each piece.
    """

    def __init__(self) -> None:
        self._layers: dict[int, _Waiting] = {}
        self.bytes = 0

    def hold(self, place: int, piece: Tensor) -> None:
        """Keep samples (n, p) of a layer, which are nobody else's: see :func:`copied`."""
        waiting = self._layers.setdefault(place, _Waiting([], [], 0, 0.0))
        waiting.pieces.append(piece)
        waiting.counts.append(len(piece))
        waiting.rows += len(piece)
        waiting.eps = max(waiting.eps, torch.finfo(piece.dtype).eps)
        self.bytes += piece.nbytes

    @property
    def places(self) -> list[int]:
        """The layers of which samples are held."""
        return list(self._layers)

    @property
    def full(self) -> bool:
        """Whether there are enough samples, or too many numbers."""
        most = max((waiting.rows for waiting in self._layers.values()), default=0)
        return self.bytes >= MOST_BYTES or most >= ENOUGH_ROWS

    def rows(self, place: int) -> int:
        """Return how many samples of a layer are held."""
        return self._layers[place].rows if place in self._layers else 0

    def counts(self, place: int) -> tuple[int, ...]:
        """Return the numbers of rows of the pieces in which a layer's samples came."""
        return tuple(self._layers[place].counts) if place in self._layers else ()

    def samples(self, place: int) -> tuple[Tensor, float]:
        """Return the samples (n, p) of a layer, which go on being held, and the coarsest eps of their types."""
        waiting = self._layers[place]
        if len(waiting.pieces) > 1:  # one tensor from now on, or there would be two copies of all layers
            whole = torch.cat(waiting.pieces)
            self.bytes += whole.nbytes - sum(piece.nbytes for piece in waiting.pieces)
            waiting.pieces = [whole]
        return waiting.pieces[0], waiting.eps

    def clear(self) -> None:
        """Forget all samples."""
        self._layers.clear()
        self.bytes = 0
