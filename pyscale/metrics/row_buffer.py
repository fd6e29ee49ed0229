"""Rows of activations that wait until there are enough of them.

Adding samples to co-moments reads and writes p x q numbers however few the samples are, so few of them are held back.
"""

from __future__ import annotations

import torch
from torch import Tensor

ENOUGH_ROWS = 1024  # from here on the products outweigh the traffic
MOST_BYTES = 1 << 28  # of all layers together: 256 MiB


class RowBuffer:
    """Copies of the latest samples of layers, by the layers' places.

    Layers have had the same samples if their :meth:`counts` are equal: the numbers of rows in each piece.
    """

    def __init__(self) -> None:
        self._pieces: dict[int, list[Tensor]] = {}
        self._rows: dict[int, int] = {}
        self.bytes = 0

    def hold(self, place: int, x: Tensor) -> None:
        """Copy samples (n, p) of a layer."""
        piece = x.detach().clone(memory_format=torch.contiguous_format)
        self._pieces.setdefault(place, []).append(piece)
        self._rows[place] = self.rows(place) + len(piece)
        self.bytes += piece.nbytes

    @property
    def places(self) -> list[int]:
        """The layers of which samples are held."""
        return list(self._pieces)

    @property
    def full(self) -> bool:
        """Whether there are enough samples, or too many numbers."""
        return self.bytes >= MOST_BYTES or max(self._rows.values(), default=0) >= ENOUGH_ROWS

    def rows(self, place: int) -> int:
        """Return how many samples of a layer are held."""
        return self._rows.get(place, 0)

    def counts(self, place: int) -> tuple[int, ...]:
        """Return the numbers of rows of the pieces in which a layer's samples came."""
        return tuple(len(piece) for piece in self._pieces.get(place, ()))

    def take(self, place: int) -> tuple[Tensor, float]:
        """Return the samples (n, p) of a layer, which are then held no longer, and the coarsest eps of their types."""
        pieces = self._pieces.pop(place)
        del self._rows[place]
        self.bytes -= sum(piece.nbytes for piece in pieces)
        eps = max(torch.finfo(piece.dtype).eps for piece in pieces)
        return (pieces[0] if len(pieces) == 1 else torch.cat(pieces)), eps

    def clear(self) -> None:
        """Forget all samples."""
        self._pieces.clear()
        self._rows.clear()
        self.bytes = 0
