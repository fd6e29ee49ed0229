"""Centred co-moments of all pairs of layers of two models, gathered in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from typing_extensions import Self

from pyscale.metrics.arrivals import Arrival, Joining
from pyscale.metrics.base import Metric, check_shapes, plain_tensors
from pyscale.metrics.cross_moments import Column, CrossMoments, add_together
from pyscale.metrics.layers import LayerNames, Layers, as_layers, same_everywhere
from pyscale.metrics.moments import Moments, Move
from pyscale.metrics.row_buffer import ENOUGH_ROWS, RowBuffer
from pyscale.metrics.validity import describe_nonfinite
from pyscale.ops.arrays import as_matrix
from pyscale.ops.gram import check_choice

Pair: TypeAlias = tuple[int, int]


@dataclass
class PairedColumn:
    """A column's co-moments with the rows it is paired with."""

    rows: tuple[int, ...]  # places of the rows that have had as many samples in every minibatch
    moments: CrossMoments


class PairGathering(Metric):
    """Gathers the moments of every layer once, and those of every pair once; what they say is up to subclasses.

    Rows of minibatches of fewer than 1024 are held until a minibatch finds as many, or 256 MiB, or somebody asks.
    """

    def __init__(
        self,
        rows: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        *,
        unequal: Literal["error", "nan"] = "error",
        sets: tuple[str, str] | None = None,
    ) -> None:
        check_choice("unequal", unequal, ("error", "nan"))
        self._sets = sets
        self.unequal = unequal
        self._names = LayerNames.given(rows, columns)
        self._forget()

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
        self._check(rows, self._x, device)
        if not same:
            self._check(columns, self._y, device)
        self._make_room(rows)
        x = Arrival.of(dict(enumerate(rows.values())), self._x, self._held_x)
        y = x if same else Arrival.of(dict(enumerate(columns.values())), self._y, self._held_y)
        new = self._new_pairs(x.joining, y.joining, same)
        with self._whole():
            self._begin(names, rows, x)
            self._add_columns(list(columns), y, new)
        return self

    @plain_tensors()
    def update_rows(self, xs: Mapping[str, Tensor]) -> Self:
        """Begin a minibatch with all of the first set's activations; :meth:`update_column` must follow for each column.

        ``rows`` and ``columns`` must have been given to the constructor. For those who see the second set's activations
        one at a time. The tensors given must stay as they are until the last column; errors as in :meth:`update`.
        """
        if self._names.rows is None or self._names.columns is None:
            raise ValueError("update_rows needs the names of the layers: give rows and columns to AllPairsMoments")
        self._check_complete()
        rows = as_layers(xs, "xs", self._names.rows)
        names = self._names.agreed(self._names.rows, self._names.columns, False)
        self._check(rows, self._x, next(iter(rows.values())).device)
        self._make_room(rows)
        x = Arrival.of(dict(enumerate(rows.values())), self._x, self._held_x)
        with self._whole():
            self._begin(names, rows, x)
        return self

    @plain_tensors()
    def update_column(self, name: str, y: Tensor) -> Self:
        """Add one of the second set's activations to the minibatch begun by :meth:`update_rows`.

        Args:
            name: The column's name.
            y: Its activations, shape (n, q).

        Returns:
            The metric itself.
        """
        self._check_whole()
        if name not in self._missing:
            raise ValueError(f"no column {name!r} is awaited in this minibatch; awaited are {self._missing}")
        y = as_matrix(y, f"column {name!r}")
        self._check({name: y}, self._y, y.device)
        if self.unequal == "error":
            same_everywhere(self._batch, {name: y})
        arrival = Arrival.of({(self._names.columns or []).index(name): y}, self._y, self._held_y)
        new = self._new_pairs(self._joining, arrival.joining, False)
        with self._whole():
            self._add_columns([name], arrival, new)
        return self

    def _forget(self) -> None:
        self._names = self._names.forgotten()
        self._x: dict[int, Moments] = {}  # by place among the rows
        self._y: dict[int, Moments] = {}  # by place among the columns; _x itself for a set with itself
        self._pairs: dict[int, PairedColumn] = {}  # by place among the columns
        self._held_x, self._held_y = RowBuffer(), RowBuffer()  # the latter empty for a set with itself
        self._batch: dict[str, Tensor] = {}  # rows of the minibatch in progress
        self._joining: dict[int, Joining] = {}  # those of them that are too many samples to be held
        self._missing: list[str] = []  # columns it still awaits
        self.batches = 0

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
        self._flush()
        parts = self._copied(device)
        with self._whole():
            self._x, self._y, self._pairs = parts

    def _copied(self, device: torch.device) -> tuple[dict[int, Moments], dict[int, Moments], dict[int, PairedColumn]]:
        """Return copies on ``device`` of the moments of rows, columns and pairs."""
        x = {i: part.to(device) for i, part in self._x.items()}
        y = x if self._names.same else {j: part.to(device) for j, part in self._y.items()}
        return x, y, {j: PairedColumn(pair.rows, pair.moments.to(device)) for j, pair in self._pairs.items()}

    def _state(self) -> dict[str, Any]:
        self._flush()
        return {
            "names": self._names.state(),
            "batches": self.batches,
            "x": [self._x[i].state() for i in range(len(self._x))],
            "y": [] if self._names.same else [self._y[j].state() for j in range(len(self._y))],
            "pairs": [[j, list(pair.rows), pair.moments.state()] for j, pair in self._pairs.items()],
        }

    def _load(self, state: dict[str, Any]) -> None:
        names, batches = self._names.loaded(state["names"]), int(state["batches"])
        x = {i: Moments.from_state(part, self._device) for i, part in enumerate(state["x"])}
        y = x if names.same else {j: Moments.from_state(part, self._device) for j, part in enumerate(state["y"])}
        pairs = {
            int(j): PairedColumn(tuple(int(i) for i in rows), CrossMoments.from_state(part, self._device))
            for j, rows, part in state["pairs"]
        }
        for j, pair in pairs.items():
            means = torch.cat([pair.moments.u[:0], *(x[i].mean for i in pair.rows)])
            found = {"x": means, "y": y[j].mean, "xy": pair.moments.S, "rows": torch.tensor(pair.rows)}
            shapes = {"x": "p", "y": "q", "xy": "pq", "rows": "l", "w": "l"}
            check_shapes({**found, "w": pair.moments.w}, shapes)
        with self._whole():
            self._forget()
            self._names, self.batches, self._x, self._y, self._pairs = names, batches, x, y, pairs
            if x:
                self._device = x[0].mean.device

    def _check_fit(self, other: Self) -> None:
        self._names.loaded(other._names.state())

    def _merge(self, other: Self) -> None:
        other._flush()
        if not other._x:
            return
        if not self._x:
            names = self._names.loaded(other._names.state())
            device = self._device or other._device or torch.device("cpu")
            parts = other._copied(device)
            with self._whole():
                self._names, self._device, self.batches = names, device, other.batches
                self._x, self._y, self._pairs = parts
            return
        self._flush()
        moves_x = {i: x.moves(other._x[i]) for i, x in self._x.items()}
        moves_y = moves_x if self._names.same else {j: y.moves(other._y[j]) for j, y in self._y.items()}
        with self._whole():
            for j, pair in self._pairs.items():
                both = tuple(i for i in pair.rows if i in other._pairs[j].rows)
                self._pairs[j] = self._kept(pair, both)
                if both:
                    moves = Move.joined([moves_x[i][0] for i in both]), Move.joined([moves_x[i][1] for i in both])
                    self._pairs[j].moments.merge_(self._kept(other._pairs[j], both).moments, moves, moves_y[j])
            for mine, theirs in [(self._x, other._x), *([] if self._names.same else [(self._y, other._y)])]:
                for i, x in mine.items():
                    x.merge_(theirs[i])
            self.batches += other.batches

    def _check(self, layers: Mapping[str, Tensor], seen: dict[int, Moments], device: torch.device) -> None:
        """Raise ValueError unless activations fit what was seen before, are on ``device`` and are finite."""
        names = (self._names.rows if seen is self._x else self._names.columns) or []
        for name, x in layers.items():
            layer = f"layer {name!r}"
            if self._device is not None and x.device != self._device:
                raise ValueError(f"{layer} is on {x.device} and the metric on {self._device}; move one of them")
            if x.device != device:
                raise ValueError(f"{layer} is on {x.device} and others are on {device}; move one of them")
            index = names.index(name) if name in names else -1
            if index in seen and x.shape[1] != len(seen[index].mean):
                raise ValueError(f"{layer} has {x.shape[1]} features; earlier updates had {len(seen[index].mean)}")
            if x.shape[0] == 0:
                raise ValueError(f"{layer} has no samples in batch {self.batches}")
        finite = torch.stack([torch.isfinite(x).all() for x in layers.values()])
        if not bool(finite.all()):  # one answer to wait for, not one for each layer
            name = list(layers)[finite.tolist().index(False)]
            nonfinite = describe_nonfinite(layers[name])
            raise ValueError(f"activations of layer {name!r} in batch {self.batches} hold {nonfinite}")

    def _make_room(self, rows: Mapping[str, Tensor]) -> None:
        """Add what is held to the moments where that is enough, or where rows that are not held would overtake it.

        A step of its own, before a minibatch: whether it fails or not, nothing of the minibatch has been seen.
        """
        if self._held_x.full or self._held_y.full or any(len(x) >= ENOUGH_ROWS for x in rows.values()):
            self._flush()

    def _begin(self, names: LayerNames, rows: dict[str, Tensor], x: Arrival) -> None:
        """Begin a minibatch with all of the rows."""
        self._names = names
        self._device = next(iter(rows.values())).device
        if names.same:
            self._y = self._x
        x.write(self._x, self._held_x)
        self._batch, self._joining, self._missing = rows, x.joining, list(names.columns or [])

    def _add_columns(self, columns: list[str], y: Arrival, new: dict[int, PairedColumn]) -> None:
        """Go on with columns, and the co-moments of those that have had none yet."""
        if not self._names.same:
            y.write(self._y, self._held_y)
        self._join_pairs(self._joining, y.joining, new)
        self._missing = [name for name in self._missing if name not in columns]
        if not self._missing:
            self._batch, self._joining = {}, {}
            self.batches += 1

    @plain_tensors()
    def _flush(self) -> None:
        """Add all samples that are held to the moments."""
        self._check_complete()
        same = bool(self._names.same)
        x = Arrival.of_held(self._x, self._held_x)
        y = x if same else Arrival.of_held(self._y, self._held_y)
        new = self._new_pairs(x.joining, y.joining, same)
        with self._whole():
            x.write(self._x, self._held_x)
            if not same:
                y.write(self._y, self._held_y)
            self._join_pairs(x.joining, y.joining, new)
            self._held_x.clear()
            self._held_y.clear()

    def _new_pairs(self, rows: dict[int, Joining], columns: dict[int, Joining], same: bool) -> dict[int, PairedColumn]:
        """Return co-moments of no samples for those columns that have none yet."""
        new = {}
        for j, column in columns.items():
            if j not in self._pairs:
                kept = tuple(i for i in sorted(rows) if rows[i].counts == column.counts and (i < j or not same))
                sizes = [rows[i].features for i in kept]
                new[j] = PairedColumn(kept, CrossMoments.empty(sizes, column.addition.move.mean))
        return new

    def _join_pairs(self, rows: dict[int, Joining], columns: dict[int, Joining], new: dict[int, PairedColumn]) -> None:
        """Add samples to the co-moments of all pairs of rows and columns that have had the same ones."""
        self._pairs.update(new)
        together: dict[int, list[int]] = {}  # columns by the first of their rows, on which all others depend
        for j, column in columns.items():
            pair = self._pairs[j]
            self._pairs[j] = self._kept(
                pair, tuple(i for i in pair.rows if i in rows and rows[i].counts == column.counts)
            )
            if self._pairs[j].rows:
                together.setdefault(self._pairs[j].rows[0], []).append(j)
        for js in together.values():
            # layers that have had the same rows ever are in the same order everywhere: the others' rows come first
            most = [rows[i].addition for i in max((self._pairs[j].rows for j in js), key=len)]
            sides = [(self._pairs[j], columns[j].addition) for j in js]
            parts = [Column(pair.moments, len(pair.rows), y.x, y.move) for pair, y in sides]
            add_together([x.x for x in most], [x.move for x in most], parts)

    def _kept(self, pair: PairedColumn, rows: tuple[int, ...]) -> PairedColumn:
        """Return a column with some of its rows; itself where they are all of them."""
        if rows == pair.rows:
            return pair
        sizes = [len(self._x[i].mean) for i in pair.rows]
        return PairedColumn(rows, pair.moments.kept(sizes, [pair.rows.index(i) for i in rows]))

    def _check_complete(self) -> None:
        self._check_whole()
        if self._missing:
            raise ValueError(f"batch {self.batches} lacks {', '.join(map(repr, self._missing))}: call update_column")

    def _check_seen(self, least: int) -> None:
        """Raise ValueError unless every layer has ``least`` samples; add those held to the moments."""
        self._check_complete()
        if not self._x:
            raise ValueError("no samples were seen; call update first")
        self._flush()
        n = min(part.n for part in [*self._x.values(), *self._y.values()])
        if n < least:
            raise ValueError(f"{n} samples were seen; at least {least} are needed")

    @property
    def _unequal(self) -> list[Pair]:
        """Pairs whose layers have had different numbers of rows; of a set with itself, each once."""
        return sorted(
            (i, j)
            for j, pair in self._pairs.items()
            for i in range(j if self._names.same else len(self._x))
            if i not in pair.rows
        )

    def _parts(self, j: int) -> dict[int, slice]:
        """Return where each of a column's rows lies among their features side by side."""
        parts, start = {}, 0
        for i in self._pairs[j].rows:
            parts[i] = slice(start, start + len(self._x[i].mean))
            start = parts[i].stop
        return parts
