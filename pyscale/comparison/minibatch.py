"""CKA from minibatches: every activation becomes a packed Gram matrix inside its hook and is let go."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from torch import Tensor

from pyscale.comparison.features import flatten_for_gram, pool
from pyscale.comparison.memory import format_size, free_memory
from pyscale.comparison.options import Options, Pair
from pyscale.comparison.scores import Scores
from pyscale.comparison.side_streams import SideStreams
from pyscale.metrics import MinibatchCKA, PermutationNull
from pyscale.metrics.packing import Attempt, Attempts, attempt, attempt_exactly, pack
from pyscale.metrics.pair_sums import MAX_BLOCKS, without_constant
from pyscale.ops import PackedGram, hsic_pairs
from pyscale.ops.cuda import LastRead


class MinibatchStrategy:
    """Sums the HSIC of all pairs of layers over minibatches; holds b (b - 1) / 2 numbers a layer between hooks.

    Whether the default products did for a layer is decided inside its hook, or, to keep a GPU from being waited for at
    every layer, once for all layers of a batch. Then a batch in which they did not do is seen a second time, with every
    layer decided on inside its hook, and the layers that failed are formed from float64 products from there on. Once a
    batch has been waited for, the GPU has nothing to do: the next one's models come before its own sums, which are
    queued at that one's end.

    Args:
        options: What is computed.
        labels: What messages call the models.
        pairs: Which of them are compared.
        deferred: Whether to decide once a batch.
        streams: Where Grams are formed on a GPU.
    """

    least_samples = 4

    def __init__(
        self, options: Options, labels: Sequence[str], pairs: Sequence[Pair], *, deferred: bool, streams: SideStreams
    ) -> None:
        self._options = options
        self._labels, self._pairs = list(labels), list(pairs)
        self._deferred, self._streams = deferred, streams
        self._again = False  # the batch in progress is seen for the second time
        self._number = 0  # of that batch
        self._grams = [_Grams(label, options, streams) for label in labels]
        self._metrics: dict[Pair, MinibatchCKA] = {}
        self._nulls: dict[Pair, PermutationNull] = {}
        self._due: _Due | None = None
        if options.permutations:
            self._nulls = {pair: PermutationNull(options.permutations, options.seed) for pair in pairs}

    def begin(self, batch: int) -> None:
        """Forget the previous batch's Grams."""
        self._again, self._number = False, batch
        for grams in self._grams:
            grams.begin(batch)

    def take(self, side: int, row: str, activation: Tensor) -> None:
        """Take an activation of the model at a place."""
        self._grams[side].take(row, activation, deferred=self._deferred and not self._again)

    def finish(self, rows: Sequence[list[str]], samples: int) -> bool:
        """Add the batch, all of whose activations have been taken; True asks for all of them once more first."""
        self._add_due()
        with self._streams.summing():
            grams = Attempts.stacked(self._all_packed(rows))
            if self._deferred and not self._again and not self._all_trusted(grams, rows):
                self._again = True
                return True
            if not self._metrics:
                self._check_memory(grams, rows)
                self._begin_metrics(rows)
        self._due = _Due(grams, [len(names) for names in rows], samples, self._number)
        if not self._deferred:
            self._add_due()
        return False

    def take_part(self, side: int, row: str, activation: Tensor, *, last: bool) -> None:
        """Take an activation some features at a time, (n, p) each: linear Grams of parts add up to that of the whole.

        An activation that comes whole is one part, of any shape.
        """
        self._grams[side].take_part(row, activation, last=last)

    def state_dict(self) -> dict[str, Any]:
        """Return what has been summed, between batches, as plain tensors, numbers, strings, lists and dicts."""
        self._settle()
        return {
            "metrics": [metric.state_dict() for metric in self._metrics.values()],
            "nulls": [null.state_dict() for null in self._nulls.values()],
        }

    def load_state_dict(self, rows: Sequence[list[str]], state: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned of the same models, whose layers ``rows`` names."""
        for (i, j), summed in zip(self._pairs, state["metrics"], strict=False):  # none before the first batch
            self._metrics[i, j] = self._metric(i, j, rows).load_state_dict(summed)
        for null, summed in zip(self._nulls.values(), state["nulls"], strict=True):
            null.load_state_dict(summed)

    def merge(self, rows: Sequence[list[str]], state: dict[str, Any]) -> None:
        """Add what another process has summed over other batches, as its :meth:`state_dict` has it."""
        self._settle()
        if not self._metrics:
            self.load_state_dict(rows, state)
            return
        for (pair, metric), theirs in zip(self._metrics.items(), state["metrics"], strict=False):
            other = self._metric(*pair, rows).load_state_dict(theirs)
            metric.merge_state(other.to(metric.device or "cpu"))
        if not state["metrics"]:
            return
        for null, theirs in zip(self._nulls.values(), state["nulls"], strict=True):
            other_null = PermutationNull(self._options.permutations, self._options.seed).load_state_dict(theirs)
            null.merge_state(other_null.to(null.device or "cpu"))

    def scores(self) -> dict[Pair, Scores]:
        """Return the similarities of everything taken.

        A constant layer is warned of where its model is compared with itself, if it is, and not once for each other.
        """
        self._settle()
        if not self._metrics:
            raise ValueError("no batch has been taken")
        found = {}
        for (i, j), metric in self._metrics.items():
            with warnings.catch_warnings():
                if i != j and (i, i) in self._metrics and (j, j) in self._metrics:
                    warnings.simplefilter("ignore", UserWarning)
                result = metric.compute()
            null = self._nulls.get((i, j))
            pvalues = None if null is None else null.pvalues(result.values, *metric.self_sums())
            found[i, j] = Scores(result.values, result.stderr, result.chance, result.zscores, pvalues)
        return found

    def _all_packed(self, rows: Sequence[list[str]]) -> Iterator[Attempt]:
        """Yield all Grams of the batch, model by model, and let go of them."""
        for side, names in zip(self._grams, rows, strict=True):
            yield from side.handed_over(names)

    def _all_trusted(self, grams: Attempts, rows: Sequence[list[str]]) -> bool:
        """Return whether all Grams of a batch will do, waiting for them, and remember those that won't."""
        trusted = grams.trusted().tolist()
        verdicts = iter(trusted)
        for side, names in zip(self._grams, rows, strict=True):
            side.exact.update([name for name in names if not next(verdicts)])
        return all(trusted)

    def _begin_metrics(self, rows: Sequence[list[str]]) -> None:
        self._metrics = {(i, j): self._metric(i, j, rows) for i, j in self._pairs}

    def _metric(self, i: int, j: int, rows: Sequence[list[str]]) -> MinibatchCKA:
        options, sets = self._options, (self._labels[i], self._labels[j])
        return MinibatchCKA(rows[i], rows[j], kernel=options.kernel, bandwidth=options.bandwidth, sets=sets)

    def _settle(self) -> None:
        """Add what is due, and have the current streams wait for it."""
        self._add_due()
        self._streams.join()

    def _add_due(self) -> None:
        """Add the batch before, if it has not been added yet."""
        if self._due is None:
            return
        due, self._due = self._due, None
        with self._streams.summing():
            parts = list(zip(*(t.split(due.layers) for t in due.grams), strict=True))
            for pair, null in self._nulls.items():
                x, y = (Attempts(*parts[place]) for place in pair)
                null.update_packed(x.values, y.values, due.samples, x.constant, y.constant, number=due.number)
            if len(self._pairs) > 1:
                self._add_all(due)
                return
            for pair, metric in self._metrics.items():
                x, y = (Attempts(*parts[place]) for place in pair)
                metric.update_packed(
                    x.values, y.values, due.samples, x.constant, y.constant, number=due.number, check=False
                )

    def _add_all(self, due: _Due) -> None:
        """Add a batch to the sums of all pairs of models: one product of all layers with all layers."""
        grams = due.grams
        v = without_constant(grams.values, grams.constant)
        products = 2 * hsic_pairs(v, v)
        parts = [slice(end - count, end) for end, count in zip(accumulate(due.layers), due.layers, strict=True)]
        squares, constant = products.diagonal(), grams.constant
        for (i, j), metric in self._metrics.items():
            x, y = parts[i], parts[j]
            metric.update_products(
                products[x, y],
                squares[x],
                squares[y],
                due.samples,
                constant[x],
                constant[y],
                same=i == j,
                number=due.number,
            )

    def _check_memory(self, grams: Attempts, rows: Sequence[list[str]]) -> None:
        """Raise ValueError where the Grams of a batch and the sums would take more than they may."""
        layers = len(grams.values)
        # Once by layers and once in rows, and those of the batch before in rows.
        held = (3 if self._deferred else 2) * grams.values.numel() * grams.values.itemsize
        cells = sum(len(rows[i]) * len(rows[j]) for i, j in self._pairs)
        sums = 8 * (cells * (MAX_BLOCKS + 2 + self._options.permutations) + layers**2 * (len(self._pairs) > 1))
        allowed = self._options.memory or free_memory(grams.values.device)
        if held + sums > allowed:
            raise ValueError(
                f"the Gram matrices of a batch of {layers} layers take {format_size(held)} and the sums of {cells} "
                f"pairs of layers {format_size(sums)}, where memory allows {format_size(allowed)}; use smaller "
                f"batches, fewer layers, fewer models at a time, or a larger memory="
            )


class _Due(NamedTuple):
    """A batch that can be added to the sums."""

    grams: Attempts
    layers: list[int]  # of each model
    samples: int
    number: int


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
        self._parts: PackedGram | None = None  # of the activation whose parts are coming

    def begin(self, batch: int) -> None:
        self._batch, self._parts = batch, None
        self._packed.clear()

    def take(self, row: str, activation: Tensor, *, deferred: bool) -> None:
        if len(activation) < MinibatchStrategy.least_samples:
            return  # a batch whose size only its activations could tell; the driver skips it
        with self._streams.reading(activation.device) as read:
            x = flatten_for_gram(activation) if self._options.features == "flatten" else pool(activation)
            self._packed[row] = self._attempt(row, x, read) if deferred else self._settled(row, x, activation)

    def take_part(self, row: str, activation: Tensor, *, last: bool) -> None:
        if self._parts is None and last:
            self.take(row, activation, deferred=False)
            return
        part, whole = self._settled(row, activation, activation), self._parts
        values, constant = part.values.double(), part.constant
        if whole is not None:
            values, constant = values.add_(whole.values), constant & whole.constant
        self._parts = None if last else PackedGram(values, constant)
        if last:
            self._packed[row] = Attempt.settled(PackedGram(values.to(part.values.dtype), constant))

    def handed_over(self, rows: list[str]) -> Iterator[Attempt]:
        """Yield the packed Grams in the order of ``rows``, and let go of them."""
        yield from [self._packed[row] for row in rows]
        self._packed.clear()

    def _attempt(self, row: str, x: Tensor, read: LastRead | None) -> Attempt:
        options = self._options
        if row in self.exact:
            return attempt_exactly(x, kernel=options.kernel, bandwidth=options.bandwidth)
        return attempt(x, kernel=options.kernel, bandwidth=options.bandwidth, read=read)

    def _settled(self, row: str, x: Tensor, activation: Tensor) -> Attempt:
        subject = f"activations of layer {row!r} of {self._label} in batch {self._batch}"
        options = self._options
        gram = pack(x, subject, kernel=options.kernel, bandwidth=options.bandwidth, source=activation)
        return Attempt.settled(gram)
