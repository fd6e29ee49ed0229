"""CKA from minibatches: every activation becomes a packed Gram matrix inside its hook and is let go."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyscale.comparison.features import flatten_for_gram, pool
from pyscale.comparison.options import SIDES, Options
from pyscale.comparison.scores import Scores
from pyscale.comparison.side_streams import SideStreams
from pyscale.metrics import MinibatchCKA, PermutationNull
from pyscale.metrics.packing import Attempt, Attempts, attempt, attempt_exactly, pack


class MinibatchStrategy:
    """Sums the HSIC of all pairs of layers over minibatches; holds b (b - 1) / 2 numbers a layer between hooks.

    Whether the default products did for a layer is decided inside its hook, or, to keep a GPU from being waited for at
    every layer, once for all layers of a batch. Then a batch in which they did not do is seen a second time, with every
    layer decided on inside its hook, and the layers that failed are formed from float64 products from there on.

    Args:
        options: What is computed.
        same: Whether the rows are the columns, so that only activations of model_x are taken.
        deferred: Whether to decide once a batch.
        streams: Where Grams are formed on a GPU.
    """

    least_samples = 4

    def __init__(self, options: Options, *, same: bool, deferred: bool, streams: SideStreams) -> None:
        self._options = options
        self._same, self._deferred, self._streams = same, deferred, streams
        self._again = False  # the batch in progress is seen for the second time
        self._number = 0  # of that batch
        self._x, self._y = (_Grams(side, options, streams) for side in SIDES)
        self._metric: MinibatchCKA | None = None
        permutations = options.permutations
        self._null = PermutationNull(permutations, options.seed) if permutations else None

    def begin(self, batch: int) -> None:
        """Forget the previous batch's Grams."""
        self._again, self._number = False, batch
        self._x.begin(batch)
        self._y.begin(batch)

    def take_x(self, row: str, activation: Tensor) -> None:
        """Take an activation of model_x."""
        self._x.take(row, activation, deferred=self._deferred and not self._again)

    def take_y(self, row: str, activation: Tensor) -> None:
        """Take an activation of model_y."""
        self._y.take(row, activation, deferred=self._deferred and not self._again)

    def finish(self, rows: list[str], columns: list[str], samples: int) -> bool:
        """Add the batch, all of whose activations have been taken; True asks for all of them once more first."""
        with self._streams.summing():
            x = self._x.stacked(rows)
            y = x if self._same else self._y.stacked(columns, x.values.device)
            if self._deferred and not self._again and not self._all_trusted(x, y, rows, columns):
                self._again = True
                return True
            self._add(x, y, rows, columns, samples)
        return False

    def state(self) -> dict[str, Any]:
        """Return everything taken, as plain values."""
        metric, null = self._metric, self._null
        if metric is None:
            return {"metric": None}
        names = {"rows": metric.rows, "columns": metric.columns}
        return {"metric": metric.state_dict(), **names, "null": None if null is None else null.state_dict()}

    def merge(self, state: dict[str, Any]) -> None:
        """Add what another process has taken, as its :meth:`state` has it."""
        if state["metric"] is None:
            return
        theirs = self._new_metric(state["rows"], state["columns"]).load_state_dict(state["metric"])
        if self._metric is None:
            self._metric = theirs
        else:
            self._metric.merge_state(theirs.to(self._metric.device or "cpu"))
        if self._null is not None:
            null = PermutationNull(self._options.permutations, self._options.seed).load_state_dict(state["null"])
            self._null.merge_state(null.to(self._null.device or "cpu"))

    def scores(self) -> Scores:
        """Return the similarities of everything taken."""
        if self._metric is None:
            raise ValueError("no batch has been taken")
        result = self._metric.compute()
        pvalues = None if self._null is None else self._null.pvalues(result.values, *self._metric.self_sums())
        return Scores(result.values, result.stderr, result.chance, result.zscores, pvalues)

    def _all_trusted(self, x: Attempts, y: Attempts, rows: list[str], columns: list[str]) -> bool:
        """Return whether all Grams of a batch will do, waiting for them, and remember those that won't."""
        trusted = torch.cat([x.trusted(), y.trusted()] if y is not x else [x.trusted()]).tolist()
        for side, names, verdicts in ((self._x, rows, trusted[: len(rows)]), (self._y, columns, trusted[len(rows) :])):
            side.exact.update(name for name, fine in zip(names, verdicts, strict=False) if not fine)
        return all(trusted)

    def _add(self, x: Attempts, y: Attempts, rows: list[str], columns: list[str], samples: int) -> None:
        if self._metric is None:
            self._metric = self._new_metric(rows, columns)
        grams = x.values, y.values, samples, x.constant, y.constant
        self._metric.update_packed(*grams, number=self._number, check=False)
        if self._null is not None:
            self._null.update_packed(*grams, number=self._number)

    def _new_metric(self, rows: list[str], columns: list[str]) -> MinibatchCKA:
        options = self._options
        return MinibatchCKA(rows, columns, kernel=options.kernel, bandwidth=options.bandwidth, sets=SIDES)


class _Grams:
    """The packed Gram matrices of one model's layers for one batch.

    Attributes:
        exact: Layers for which the default products did not do in an earlier batch.
    """

    def __init__(self, label: str, options: Options, streams: SideStreams) -> None:
        self.exact: set[str] = set()
        self._label = label
        self._options = options
        self._streams = streams
        self._batch = 0
        self._packed: dict[str, Attempt] = {}

    def begin(self, batch: int) -> None:
        self._batch = batch
        self._packed.clear()

    def take(self, row: str, activation: Tensor, *, deferred: bool) -> None:
        if len(activation) < MinibatchStrategy.least_samples:
            return  # a batch whose size only its activations could tell; the driver skips it
        with self._streams.reading(activation.device) as read:
            x = flatten_for_gram(activation) if self._options.features == "flatten" else pool(activation)
            self._packed[row] = self._attempt(row, x, read) if deferred else self._settled(row, x, activation)

    def stacked(self, rows: list[str], device: torch.device | None = None) -> Attempts:
        """Return the packed Grams in the order of ``rows``, on ``device`` or where the first of them is."""
        grams = Attempts.stacked([self._packed[row] for row in rows], device)
        self._packed.clear()
        return grams

    def _attempt(self, row: str, x: Tensor, read: torch.cuda.Event | None) -> Attempt:
        options = self._options
        if row in self.exact:
            return attempt_exactly(x, kernel=options.kernel, bandwidth=options.bandwidth)
        return attempt(x, kernel=options.kernel, bandwidth=options.bandwidth, read=read)

    def _settled(self, row: str, x: Tensor, activation: Tensor) -> Attempt:
        subject = f"activations of layer {row!r} of {self._label} in batch {self._batch}"
        options = self._options
        gram = pack(x, subject, kernel=options.kernel, bandwidth=options.bandwidth, source=activation)
        return Attempt.settled(gram)
