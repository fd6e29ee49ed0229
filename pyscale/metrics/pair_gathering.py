"""Centred co-moments of all pairs of layers of two models, gathered in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from typing_extensions import Self

from pyscale.metrics.base import Metric, check_shapes, plain_tensors
from pyscale.metrics.layers import LayerNames, Layers, as_layers, same_everywhere
from pyscale.metrics.moments import CrossMoments, Moments, Move
from pyscale.metrics.validity import describe_nonfinite
from pyscale.ops.arrays import as_matrix
from pyscale.ops.gram import check_choice

Pair: TypeAlias = tuple[int, int]


@dataclass
class _Joined:
    """A layer's part of the minibatch in progress."""

    mean: Tensor  # (p,): of the minibatch
    move: Move | None  # how the layer's mean moves; None in its first minibatch


class PairGathering(Metric):
    """Gathers the moments of every layer once, and those of every pair once; what they say is up to subclasses."""

    def __init__(
        self,
        rows: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        *,
        unequal: Literal["error", "nan"] = "error",
    ) -> None:
        check_choice("unequal", unequal, ("error", "nan"))
        self.unequal = unequal
        self._names = LayerNames(rows, columns)
        self.reset()

    @property
    def rows(self) -> list[str] | None:
        """Names of the first set's layers; None before they are known."""
        return self._names.rows

    @property
    def columns(self) -> list[str] | None:
        """Names of the second set's layers; None before they are known."""
        return self._names.columns

    @plain_tensors()
    def update(self, xs: Layers, ys: Layers | None = None) -> Self:
        """Add samples.

        Args:
            xs: Activations of the first set's layers, a dict by name or a list, each of shape (n, p).
            ys: Activations of the second set's layers on the same samples; None compares the first set with itself.

        Returns:
            The metric itself.

        Raises:
            TypeError: A value is no floating-point array.
            ValueError: Names, shapes or devices do not fit one another or earlier updates, or there is NaN or infinity.
        """
        self._check_complete()
        rows = as_layers(xs, "xs", self._names.rows)
        columns = rows if ys is None or ys is xs else as_layers(ys, "ys", self._names.columns)
        same = columns is rows
        if self.unequal == "error":
            same_everywhere(rows, columns)
        names = self._names.agreed(list(rows), list(columns), same)
        device = next(iter(rows.values())).device
        for layers, seen in ((rows, self._x), *(() if same else ((columns, self._y),))):
            for name, x in layers.items():
                self._check(name, x, seen, device)
        self._names = names
        self._add_rows(rows)
        for name, y in columns.items():
            self._add_column(name, y, rows)
        return self

    @plain_tensors()
    def update_rows(self, xs: Mapping[str, Tensor]) -> Self:
        """Begin a minibatch with all of the first set's activations; :meth:`update_column` must follow for each column.

        ``rows`` and ``columns`` must have been given to the constructor. For those who see the second set's activations
        one at a time; errors as in :meth:`update`.
        """
        if self._names.rows is None or self._names.columns is None:
            raise ValueError("update_rows needs the names of the layers: give rows and columns to AllPairsMoments")
        self._check_complete()
        rows = as_layers(xs, "xs", self._names.rows)
        names = self._names.agreed(self._names.rows, self._names.columns, False)
        device = next(iter(rows.values())).device
        for name, x in rows.items():
            self._check(name, x, self._x, device)
        self._names = names
        self._add_rows(rows)
        return self

    @plain_tensors()
    def update_column(self, name: str, y: Tensor, xs: Mapping[str, Tensor]) -> Self:
        """Add one of the second set's activations to the minibatch begun by :meth:`update_rows`.

        Args:
            name: The column's name.
            y: Its activations, shape (n, q).
            xs: What :meth:`update_rows` was given.

        Returns:
            The metric itself.
        """
        if name not in self._missing:
            raise ValueError(f"no column {name!r} is awaited in this minibatch; awaited are {self._missing}")
        y = as_matrix(y, f"column {name!r}")
        self._check(name, y, self._y, y.device)
        rows = as_layers(xs, "xs", self._names.rows)
        if self.unequal == "error":
            same_everywhere(rows, {name: y})
        self._add_column(name, y, rows)
        return self

    def reset(self) -> Self:
        """Forget all samples, and the names of layers that were not given to the constructor.

        Returns:
            The metric itself.
        """
        self._names = self._names.forgotten()
        self._x: dict[int, Moments] = {}  # by place among the rows
        self._y: dict[int, Moments] = {}  # by place among the columns; _x itself for a set with itself
        self._pairs: dict[Pair, CrossMoments] = {}  # i < j alone for a set with itself
        self._unequal: set[Pair] = set()
        self._joined: list[_Joined] = []  # of the minibatch in progress
        self._missing: list[str] = []  # columns it still awaits
        self.batches = 0
        return self

    def _options(self) -> dict[str, Any]:
        return {"unequal": self.unequal}

    def _layout(self) -> dict[str, Any] | None:
        self._check_complete()
        if not self._x:
            return None
        sides = {"features of xs": self._x, "features of ys": self._y}
        features = {name: [len(side[i].mean) for i in range(len(side))] for name, side in sides.items()}
        return {**self._names.state(), **features, "device": str(self._device)}

    def _move(self, device: torch.device) -> None:
        self._check_complete()
        self._x = {i: x.to(device) for i, x in self._x.items()}
        self._y = self._x if self._names.same else {j: y.to(device) for j, y in self._y.items()}
        self._pairs = {pair: xy.to(device) for pair, xy in self._pairs.items()}

    def _state(self) -> dict[str, Any]:
        self._check_complete()
        return {
            "names": self._names.state(),
            "batches": self.batches,
            "x": [self._x[i].state() for i in range(len(self._x))],
            "y": [] if self._names.same else [self._y[j].state() for j in range(len(self._y))],
            "pairs": [[i, j, xy.state()] for (i, j), xy in self._pairs.items()],
            "unequal": [list(pair) for pair in sorted(self._unequal)],
        }

    def _load(self, state: dict[str, Any]) -> None:
        names, batches = self._names.loaded(state["names"]), int(state["batches"])
        x = {i: Moments.from_state(part, self._device) for i, part in enumerate(state["x"])}
        y = x if names.same else {j: Moments.from_state(part, self._device) for j, part in enumerate(state["y"])}
        pairs = {(int(i), int(j)): CrossMoments.from_state(part, self._device) for i, j, part in state["pairs"]}
        for (i, j), xy in pairs.items():
            check_shapes({"x": x[i].mean, "y": y[j].mean, "xy": xy.S}, {"x": "p", "y": "q", "xy": "pq"})
        unequal = {(int(i), int(j)) for i, j in state["unequal"]}
        self.reset()
        self._names, self.batches, self._x, self._y = names, batches, x, y
        self._pairs, self._unequal = pairs, unequal
        if x:
            self._device = x[0].mean.device

    def _merge(self, other: Self) -> None:
        if not other._x:
            return
        if not self._x:
            self._adopt(other)
            return
        moves_x = {i: x.move(other._x[i]) for i, x in self._x.items()}
        moves_y = moves_x if self._names.same else {j: y.move(other._y[j]) for j, y in self._y.items()}
        self._unequal |= other._unequal
        for i, j in [pair for pair in self._pairs if pair in self._unequal]:
            del self._pairs[i, j]
        for (i, j), xy in self._pairs.items():
            xy.merge_(other._pairs[i, j], moves_x[i], moves_y[j])
        for mine, theirs in [(self._x, other._x), *([] if self._names.same else [(self._y, other._y)])]:
            for i, x in mine.items():
                x.merge_(theirs[i])
        self.batches += other.batches

    def _adopt(self, other: Self) -> None:
        """Take a copy of all that ``other`` has seen, having seen nothing."""
        self._names = self._names.loaded(other._names.state())
        self._device = self._device or other._device
        self._x = {i: x.to(self._device) for i, x in other._x.items()}
        self._y = self._x if self._names.same else {j: y.to(self._device) for j, y in other._y.items()}
        self._pairs = {pair: xy.to(self._device) for pair, xy in other._pairs.items()}
        self._unequal, self.batches = set(other._unequal), other.batches

    def _check(self, name: str, x: Tensor, seen: dict[int, Moments], device: torch.device) -> None:
        """Raise ValueError unless a layer's activations fit what was seen before, are on ``device`` and are finite."""
        layer = f"layer {name!r}"
        if self._device is not None and x.device != self._device:
            raise ValueError(f"{layer} is on {x.device} and the metric on {self._device}; move one of them")
        if x.device != device:
            raise ValueError(f"{layer} is on {x.device} and others are on {device}; move one of them")
        names = (self._names.rows if seen is self._x else self._names.columns) or []
        index = names.index(name) if name in names else -1
        if index in seen and x.shape[1] != len(seen[index].mean):
            raise ValueError(f"{layer} has {x.shape[1]} features; earlier updates had {len(seen[index].mean)}")
        if x.shape[0] == 0:
            raise ValueError(f"{layer} has no samples in batch {self.batches}")
        if not bool(torch.isfinite(x).all()):
            raise ValueError(f"activations of {layer} in batch {self.batches} hold {describe_nonfinite(x)}")

    def _add_rows(self, rows: dict[str, Tensor]) -> None:
        first = next(iter(rows.values()))
        self._device = first.device
        self._joined = [_join(self._x, i, x) for i, x in enumerate(rows.values())]
        self._missing = list(self._names.columns or [])
        if self._names.same:
            self._y = self._x

    def _add_column(self, name: str, y: Tensor, rows: dict[str, Tensor]) -> None:
        j = (self._names.columns or []).index(name)
        joined = self._joined[j] if self._names.same else _join(self._y, j, y)
        for i, (x, row) in enumerate(zip(rows.values(), self._joined, strict=True)):
            if not (self._names.same and i >= j):
                self._add_pair((i, j), x, y, row, joined)
        self._missing.remove(name)
        if not self._missing:
            self._joined = []
            self.batches += 1

    def _add_pair(self, pair: Pair, x: Tensor, y: Tensor, row: _Joined, column: _Joined) -> None:
        if x.shape[0] != y.shape[0] or pair in self._unequal:
            self._unequal.add(pair)
            self._pairs.pop(pair, None)
            return
        batch = CrossMoments.from_batch(x, y, row.mean, column.mean)
        if row.move is None or column.move is None:
            self._pairs[pair] = batch
        else:
            self._pairs[pair].merge_(batch, row.move, column.move)

    def _check_complete(self) -> None:
        if self._missing:
            raise ValueError(f"batch {self.batches} lacks {', '.join(map(repr, self._missing))}: call update_column")

    def _check_seen(self, least: int) -> None:
        """Raise ValueError unless every layer has ``least`` samples."""
        self._check_complete()
        if not self._x:
            raise ValueError("no samples were seen; call update first")
        n = min(part.n for part in [*self._x.values(), *self._y.values()])
        if n < least:
            raise ValueError(f"{n} samples were seen; at least {least} are needed")

    def _cross(self, i: int, j: int) -> CrossMoments | None:
        """Return the cross moments of a pair; None where its layers have different numbers of rows."""
        if not self._names.same:
            return self._pairs.get((i, j))
        if i == j:
            return own_moments(self._x[i])
        xy = self._pairs.get((min(i, j), max(i, j)))
        return xy if xy is None or i < j else CrossMoments(xy.S.T, xy.v, xy.u, xy.w)


def _join(seen: dict[int, Moments], index: int, x: Tensor) -> _Joined:
    """Add a minibatch to a layer's own moments; return what its pairs need to follow."""
    batch = Moments.from_batch(x)
    if index not in seen:
        seen[index] = batch
        return _Joined(batch.mean, None)
    move = seen[index].move(batch)
    mean = batch.mean
    seen[index].merge_(batch)
    return _Joined(mean, move)


def own_moments(x: Moments) -> CrossMoments:
    """Return the cross moments of a layer with itself, sharing its memory: to be read only."""
    return CrossMoments(x.S, x.u, x.u, x.w)
