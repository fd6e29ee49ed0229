"""One pass over stores: batches of every layer go into the strategy that live activations go into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from torch import Tensor
from tqdm.auto import tqdm

from pyscale.comparison.exact import ExactStrategy
from pyscale.comparison.minibatch import MinibatchStrategy
from pyscale.comparison.options import Options, Pair
from pyscale.comparison.scores import Scores
from pyscale.comparison.side_streams import SideStreams
from pyscale.comparison.stored.checkpoint import Checkpoint, is_final
from pyscale.comparison.stored.plan import Piece, Plan, pieces
from pyscale.comparison.stored.reading import ReadAhead, read_pooled, read_rows, read_tile, shaped
from pyscale.comparison.stored.sides import StoredSide
from pyscale.distributed import Crew
from pyscale.metrics.validity import warn


class StoredRun:
    """A comparison of stores under way: every layer of every store is read once, whatever the number of pairs.

    Args:
        options: What is computed.
        sides: The stores, aligned.
        pairs: Which of them are compared, as places among the sides.
        batch_size: Samples in a batch.
        plan: What is read at once.
        checkpoint: Where the state goes.
        crew: The processes that share the batches, rank r of W taking r, r + W, ...; None is this one alone.

    Attributes:
        batches: Batches compared so far; on rank 0 in the end those of all processes, as the following.
        skipped: Batches that were too small.
        samples: Samples compared so far.
    """

    def __init__(
        self,
        options: Options,
        sides: Sequence[StoredSide],
        pairs: Sequence[Pair],
        *,
        batch_size: int,
        plan: Plan,
        checkpoint: Checkpoint,
        crew: Crew | None = None,
    ) -> None:
        self.options, self.sides, self.pairs = options, list(sides), list(pairs)
        self.batches = self.skipped = self.samples = 0
        self._size, self.plan, self.checkpoint = batch_size, plan, checkpoint
        self.crew = crew or Crew()
        self._next = self.crew.rank  # the batch that comes next
        self._saved = self._next  # what was next when the state was written last
        self._whole = True  # whether the strategy is between batches
        self._strategy = self._chosen_strategy()

    @property
    def total(self) -> int:
        """Samples that are compared in all."""
        samples, most = self.sides[0].store.samples, self.options.max_batches
        return samples if most is None else min(samples, most * self._size)

    def over(self, *, progress: bool) -> dict[Pair, Scores] | None:
        """Read this process's share of the stores; return the similarities of all shares on rank 0.

        Raises:
            ValueError: There is too little, or something that can't be compared.
            DamagedStoreError: A store is not what it says.
        """
        self._take_up()
        bytes_a_sample = sum(layer.row_bytes for side in self.sides for layer in side.layers) * self.plan.reads
        with tqdm(
            total=self.total * bytes_a_sample,
            initial=min(self._next * self._size, self.total) * bytes_a_sample,
            desc=f"{' / '.join(side.label for side in self.sides[:2])}: {self.options.metric}",
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            disable=not (progress and self.crew.first),
        ) as bar:
            try:
                self._read_all(bar)
            except BaseException as error:
                if is_final(error):
                    self.checkpoint.remove()
                else:
                    self._save()
                raise
        if self.crew.reduce(self, StoredRun._merged, StoredRun._state) is None:
            return None
        if self.batches == 0:
            raise ValueError(
                f"no batch has the {self._strategy.least_samples} samples that carry information on "
                f"{self.options.metric}: batch_size is {self._size}, and the stores have "
                f"{self.sides[0].store.samples} samples"
            )
        return self._strategy.scores()

    def _read_all(self, bar: Any) -> None:
        reader = ReadAhead(self._wanted(), self._read, buffer_bytes=self.plan.buffer_bytes, buffers=self.plan.buffers)
        with closing(iter(reader)) as found:  # type: ignore[type-var]  # a generator
            for piece, tensor in found:
                first = piece.side == 0 and piece.layer is self.sides[0].layers[0]
                if first and (piece.columns is None or piece.columns.start == 0):
                    self.crew.check()
                    self._strategy.begin(self._next)
                self._strategy.take_part(piece.side, piece.layer.name, tensor, last=piece.last)
                bar.update(min(tensor.nbytes * self.crew.size, bar.total - bar.n))
                if piece.last and piece.layer is self.sides[-1].layers[-1] and piece.side == len(self.sides) - 1:
                    self._finish(piece.stop - piece.start)
        rest = self.total - self._next * self._size
        if 0 < rest < self._strategy.least_samples:
            self._skip(rest)

    def _wanted(self) -> Iterator[Piece]:
        for start in range(self._next * self._size, self.total, self._size * self.crew.size):
            stop = min(start + self._size, self.total)
            if stop - start >= self._strategy.least_samples:
                whole_rows = self.options.features != "flatten" or self.options.mode == "exact"
                yield from pieces(self.sides, start, stop, self.plan, whole_rows=whole_rows)

    def _read(self, piece: Piece, buffer: Tensor) -> Tensor:
        places = self.sides[piece.side].places
        if piece.columns is not None:
            return read_tile(piece.layer, piece.start, piece.stop, places, piece.columns, buffer)
        if self.options.features == "pool":
            return read_pooled(piece.layer, piece.start, piece.stop, places, buffer)
        if self.options.mode == "exact":  # the strategy keeps it
            return read_rows(piece.layer, piece.start, piece.stop, places, None)
        out = shaped(buffer, (piece.stop - piece.start, *piece.layer.shape[1:]), piece.layer.dtype)
        return read_rows(piece.layer, piece.start, piece.stop, places, out)

    def _finish(self, samples: int) -> None:
        self._whole = False
        self._strategy.finish([side.rows for side in self.sides], samples)
        self.batches += 1
        self.samples += samples
        self._next += self.crew.size
        self._whole = True
        if self.checkpoint.due:
            self._save()

    def _skip(self, samples: int) -> None:
        if self.batches:
            warn(
                f"the last batch has {samples} samples; fewer than {self._strategy.least_samples} carry no information "
                f"on {self.options.metric}, so it is skipped"
            )
        self.skipped += 1

    def _chosen_strategy(self) -> MinibatchStrategy | ExactStrategy:
        labels = [side.label for side in self.sides]
        if self.options.mode == "minibatch":
            return MinibatchStrategy(self.options, labels, self.pairs, deferred=False, streams=SideStreams())
        return ExactStrategy(self.options, labels, self.pairs, one_pass=False, owned=True)

    def _state(self) -> dict[str, Any]:
        counts = {"batches": self.batches, "skipped": self.skipped, "samples": self.samples}
        return {**counts, "strategy": self._strategy.state_dict()}

    def _merged(self, theirs: dict[str, Any]) -> StoredRun:
        """Add what another process has read, and return this run."""
        self._strategy.merge([side.rows for side in self.sides], theirs["strategy"])
        self.batches += theirs["batches"]
        self.skipped += theirs["skipped"]
        self.samples += theirs["samples"]
        return self

    def _take_up(self) -> None:
        state = self.checkpoint.load()
        if state is None:
            return
        self._strategy.load_state_dict([side.rows for side in self.sides], state["strategy"])
        self.batches, self.samples, self._next = state["batches"], state["samples"], state["next"]
        self._saved = self._next

    def _save(self) -> None:
        if self._whole and self._next > self._saved:
            state = {"batches": self.batches, "samples": self.samples, "next": self._next}
            self.checkpoint.save({**state, "strategy": self._strategy.state_dict()})
            self._saved = self._next
