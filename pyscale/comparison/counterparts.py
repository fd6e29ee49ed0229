"""Which layer of one network a layer of another stands for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def counterparts(rows: Sequence[str], columns: Sequence[str]) -> NDArray[np.int64]:
    """For every row the column of the same kind at the nearest relative depth.

    A layer's kind is the last part of its name (``conv1``, ``relu#1``), so that a convolution is compared with a
    convolution and a block's output with a block's output; its depth is its place among its kind, from 0 to 1. Two
    networks with equally many layers of every kind thus match layer by layer; where one has twice the blocks, two of
    its blocks stand for one. A row whose kind the columns lack gets the nearest in relative depth of all.

    Args:
        rows: Layer names in forward order.
        columns: Layer names in forward order, at least one.

    Returns:
        (rows,) indices of columns.

    Raises:
        ValueError: If there are no columns.

    Example:
        >>> deep = ["stem", "block.0.conv", "block.1.conv", "block.2.conv", "block.3.conv", "head"]
        >>> [int(j) for j in counterparts(deep, ["stem", "block.0.conv", "block.1.conv", "head"])]
        [0, 1, 1, 2, 2, 3]
    """
    if not columns:
        raise ValueError("columns is empty: there is no layer to stand for another")
    matched = np.empty(len(rows), dtype=np.int64)
    kinds, column_kinds = [_kind(name) for name in rows], [_kind(name) for name in columns]
    for kind in dict.fromkeys(kinds):
        own = [i for i, other in enumerate(kinds) if other == kind]
        candidates = [j for j, other in enumerate(column_kinds) if other == kind]
        if candidates:
            matched[own] = np.asarray(candidates)[_nearest(_depths(len(own)), _depths(len(candidates)))]
        else:
            matched[own] = _nearest(_depths(len(rows))[own], _depths(len(columns)))
    return matched


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _depths(count: int) -> NDArray[np.float64]:
    """Middles of ``count`` equal parts of [0, 1]."""
    return (np.arange(count) + 0.5) / count


def _nearest(wanted: NDArray[np.float64], offered: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index of the nearest offer to each wish; the earlier of two equally near."""
    distances = np.abs(wanted[:, None] - offered[None, :]).round(12)  # so that ties are ties
    nearest: NDArray[np.intp] = distances.argmin(axis=1)
    return nearest
