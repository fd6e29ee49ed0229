"""Centred co-moments of pairs of layers: of one layer with several others, which lie side by side.

What is added is the work of matrix products over all layers at once, not of a step for every pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import Self

from pyscale.metrics.moments import Copied, Move, moved, slice_rows
from pyscale.ops import add_moments_, merge_moments_


@dataclass
class CrossMoments(Copied):
    """What the pairs of a layer y with L layers x, P features side by side, add to the moments of each, in float64."""

    shapes = {"S": "Pq", "u": "P", "v": "Lq", "w": "L"}  # noqa: RUF012

    S: Tensor  # (P, q): Σ x yᵀ
    u: Tensor  # (P,): Σ |y|² x
    v: Tensor  # (L, q): Σ |x|² y, for each x
    w: Tensor  # (L,): Σ |x|² |y|²

    @classmethod
    def empty(cls, sizes: Sequence[int], like: Tensor) -> Self:
        """Return the moments of no samples of layers of the given sizes and a y of mean ``like`` (q,)."""
        P, q, L = sum(sizes), len(like), len(sizes)
        return cls(like.new_zeros((P, q)), like.new_zeros((P,)), like.new_zeros((L, q)), like.new_zeros((L,)))

    def move_(self, x: Move, y: Move) -> None:
        """Go over to new means, about which samples are then added."""
        if x.n:
            u, v, w = moved(self.S, self.u, self.v, self.w, x, y)
            self.S.addr_(x.step, y.step, alpha=x.n)
            self.u, self.v, self.w = u, v, w

    def merge_(self, other: CrossMoments, x: tuple[Move, Move], y: tuple[Move, Move]) -> Self:
        """Add the samples of ``other``, which is only read, given how the means move: of these samples, of those."""
        mine = moved(self.S, self.u, self.v, self.w, x[0], y[0])
        theirs = moved(other.S, other.u, other.v, other.w, x[1], y[1])
        u, v, w = (a + b for a, b in zip(mine, theirs, strict=True))
        merge_moments_(self.S, other.S, x[0].apart(x[1]), y[0].apart(y[1]), x[0].weight(x[1]))
        self.u, self.v, self.w = u, v, w
        return self

    def kept(self, sizes: Sequence[int], places: Sequence[int]) -> CrossMoments:
        """Return a copy without all layers x but those at the given places, of all of the given sizes."""
        S, u = (
            torch.cat([t.new_zeros((0, *t.shape[1:])), *(t.split(list(sizes))[k] for k in places)])
            for t in (self.S, self.u)
        )
        rows = torch.tensor(places, dtype=torch.int64, device=self.v.device)
        return CrossMoments(S, u, self.v[rows], self.w[rows])


class Column(NamedTuple):
    """A layer y of which samples are to be added, with the first L of the layers x."""

    moments: CrossMoments
    layers: int  # L
    y: Tensor  # (n, q)
    move: Move


def add_together(xs: Sequence[Tensor], moves: Sequence[Move], columns: Sequence[Column]) -> None:
    """Add samples to the co-moments of several columns.

    Args:
        xs: The samples of the layers x, each (n, p_i), of any floating-point types.
        moves: How the means of each of them move.
        columns: The layers y, each with some of the xs from the first on.
    """
    x = Move.joined(moves)
    mean_y = torch.cat([column.move.mean for column in columns])
    sizes_y = [len(column.move.mean) for column in columns]
    firsts = [x if column.layers == len(xs) else x.first(column.layers) for column in columns]
    for column, first in zip(columns, firsts, strict=True):
        column.moments.move_(first, column.move)
    step = slice_rows(len(x.mean) + len(mean_y), mean_y.device)
    for k in range(0, len(xs[0]), step):
        samples_x = _side_by_side([t[k : k + step] for t in xs])
        a = samples_x.to(x.mean.dtype) - x.mean
        b = _side_by_side([column.y[k : k + step] for column in columns]).to(mean_y.dtype) - mean_y
        R, T = _squared_norms(a, x.sizes), _squared_norms(b, sizes_y)
        U, V, W = a.T @ T, R.T @ b, R.T @ T  # Σ|y_j|² x (P, M), Σ|x_i|² y (L, Q), Σ|x_i|²|y_j|² (L, M)
        parts = zip(columns, firsts, V.split(sizes_y, dim=1), b.split(sizes_y, dim=1), strict=True)
        for j, (column, first, v, part) in enumerate(parts):
            L, P, moments = column.layers, len(first.mean), column.moments
            if a.is_cpu:  # from the narrower samples: half the memory is read
                add_moments_(moments.S, samples_x[:, :P], first.mean, column.y[k : k + step], column.move.mean)
            else:
                moments.S.addmm_(a[:, :P].T, part)
            moments.u = moments.u + U[:P, j]
            moments.v = moments.v + v[:L]
            moments.w = moments.w + W[:L, j]


def _side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Return samples of layers (n, P)."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)


def _squared_norms(a: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return |x_i|² of every sample and layer (n, L) of layers side by side (n, P)."""
    return torch.stack([part.square().sum(dim=1) for part in a.split(list(sizes), dim=1)], dim=1)
