"""One pass over the data: batches go through the models, activations into the strategy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyscale.comparison.batches import Batch, aligned_batches, count_batches, count_samples
from pyscale.comparison.exact import ExactStrategy
from pyscale.comparison.minibatch import MinibatchStrategy
from pyscale.comparison.options import Options, Pair
from pyscale.comparison.replaying import ReplayedSide
from pyscale.comparison.scores import Scores
from pyscale.comparison.side_streams import SideStreams
from pyscale.comparison.sides import Side, grouped
from pyscale.comparison.state import home, remembered_randomness
from pyscale.comparison.tally import Tally
from pyscale.distributed import Crew, Dealt, shared_randomness
from pyscale.distributed.dealing import Sharding
from pyscale.metrics.validity import warn

AnySide: TypeAlias = Side | ReplayedSide


class Strategy(Protocol):
    """What is done with activations."""

    least_samples: int  # a smaller batch is skipped

    def begin(self, batch: int) -> None:
        """Prepare for a batch."""

    def take(self, side: int, row: str, activation: Tensor) -> None:
        """Take an activation of the model at a place, inside its hook."""

    def finish(self, rows: Sequence[list[str]], samples: int) -> bool | None:
        """Add the batch, all of whose activations have been taken; True asks for all of them once more first.

        Args:
            rows: Of every model the names of its layers.
            samples: In the batch.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return everything taken, as plain values."""

    def merge(self, rows: Sequence[list[str]], state: dict[str, Any]) -> None:
        """Add what another process has taken, whose models have layers of these names."""

    def scores(self) -> dict[Pair, Scores]:
        """Return the similarities of everything taken, by pairs of models."""


class Run:
    """A comparison under way, this process's part of it.

    Args:
        options: What is computed.
        sides: The models, one of them live at least, and stores of activations beside them.
        pairs: Which of them are compared, as places among the sides: layers of the first are the rows.
        device: Where they run; None is where they are.
        crew: The processes that share the batches; None is this one alone.

    Attributes:
        tally: What has been seen; on rank 0 of what all have, once that is over.
    """

    def __init__(
        self,
        options: Options,
        sides: Sequence[AnySide],
        pairs: Sequence[Pair],
        *,
        device: torch.device | None,
        crew: Crew | None = None,
    ) -> None:
        self.options = options
        self.sides, self.pairs = list(sides), list(pairs)
        self._live = {place: side for place, side in enumerate(self.sides) if isinstance(side, Side)}
        self._replayed = {place: side for place, side in enumerate(self.sides) if isinstance(side, ReplayedSide)}
        self.device = device or _shared_device(list(self._live.values()))
        self.crew = crew or Crew()
        self.tally = Tally()
        self._seen = 0  # samples in all earlier batches, those that were too small included
        self._groups = grouped(self._live)
        self._streams = SideStreams()
        self._strategy = self._chosen_strategy()

    def over(
        self, loaders: Mapping[str, Iterable[Any]], *, progress: bool, sharding: Sharding = "auto"
    ) -> dict[Pair, Scores] | None:
        """Run the models over this process's share of the loaders; return the similarities of all shares on rank 0.

        Args:
            loaders: By what errors call them, in the order that the sides count them in.
            progress: Whether a progress bar is shown.
            sharding: How processes share the loaders.

        Raises:
            ValueError: The loaders, the layers or the activations are not fit to be compared.
        """
        crew, most = self.crew, self.options.max_batches
        whole = sharding != "own" or crew.alone
        total = count_batches(next(iter(loaders.values())), most) if whole else None
        dealt = {name: Dealt(given, crew, name, sharding=sharding, most=most) for name, given in loaders.items()}
        with ExitStack() as stack:
            stack.enter_context(shared_randomness(crew, loaders.values()))
            stack.enter_context(self._streams)
            for side in self._live.values():
                stack.enter_context(side.tap)
            for replayed in self._replayed.values():
                replayed.check_order(loaders.values())
            hidden = not (progress and crew.first)
            bar = stack.enter_context(tqdm(total=total, desc=self._title(), unit="batch", disable=hidden))
            for batch in aligned_batches(dealt):
                crew.check()
                self._seen += self._add(batch)
                bar.update(crew.size if total is None else min(crew.size, total - bar.n))
        for replayed in self._replayed.values():
            replayed.check_all_seen(self._seen, whole=self.options.max_batches is None)
        self.tally.see(self.sides, dealt.values())
        if self.crew.reduce(self, _merged, Run._state) is None:
            return None
        if self.tally.batches:
            return self._strategy.scores()
        if self.tally.skipped == 0:
            raise ValueError(f"{next(iter(loaders))} is empty; expected at least one batch")
        raise ValueError(
            f"all {self.tally.skipped} batches have fewer than {self._strategy.least_samples} samples, which carry no "
            f"information; give loader a larger batch_size"
        )

    def _state(self) -> dict[str, Any]:
        return {"tally": self.tally.state(), "strategy": self._strategy.state_dict()}

    def _title(self) -> str:
        compared = [self.sides[place] for place in self.pairs[0]] if len(self.pairs) == 1 else []
        models = " / ".join(side.kind for side in compared) or f"{len(self.sides)} models"
        return f"{models}: {self.options.metric}"

    def _add(self, batch: Batch) -> int:
        """Take a batch and return how many samples it has."""
        samples = count_samples(batch.seen[0])
        same_randomness = remembered_randomness()
        if samples is None or samples >= self._strategy.least_samples:
            self._strategy.begin(batch.number)
            samples = self._forward(batch, samples)
        if samples < self._strategy.least_samples:
            self._skip(batch.number, samples)
            return samples
        rows = [side.rows for side in self.sides]
        if self._strategy.finish(rows, samples):
            same_randomness()
            self._forward(batch, samples)
            self._strategy.finish(rows, samples)
        self.tally.batches += 1
        self.tally.samples += samples
        return samples

    def _forward(self, batch: Batch, samples: int | None) -> int:
        """Run every model once and return how many samples the batch has."""
        for group in self._groups:
            with ExitStack() as stack:
                for place in group:
                    taken = partial(self._strategy.take, place)
                    stack.enter_context(self._live[place].tap.recording(taken, batch.number, samples))
                side = self._live[group[0]]
                side.call(batch.seen[side.loader], self.device)
            samples = side.tap.samples
        for place, stored in self._replayed.items():
            taken = partial(self._strategy.take, place)
            stored.replay(batch, range(self._seen, self._seen + (samples or 0)), taken, self.device)
        return samples or 0

    def _chosen_strategy(self) -> Strategy:
        labels = [side.label for side in self.sides]
        if self.options.mode == "minibatch":
            deferred = judged_late(self.device)
            return MinibatchStrategy(self.options, labels, self.pairs, deferred=deferred, streams=self._streams)
        one_pass = len(self._groups) < len(self._live)
        copies = 1 if self.crew.alone else 3  # another process's are held while they are merged, as sent and as read
        return ExactStrategy(self.options, labels, self.pairs, one_pass=one_pass, copies=copies)

    def _skip(self, number: int, samples: int) -> None:
        if self.tally.skipped == 0:
            warn(
                f"batch {number} has {samples} samples; fewer than {self._strategy.least_samples} carry no information "
                f"on {self.options.metric}, so it is skipped, as later ones will be"
            )
        self.tally.skipped += 1


def _merged(run: Run, state: dict[str, Any]) -> Run:
    """Add what another process has seen to a run."""
    run.tally.add(state["tally"])
    run._strategy.merge(run.tally.rows, state["strategy"])
    return run


def judged_late(device: torch.device) -> bool:
    """Return whether what is computed there is better looked at once a batch: a look waits for all that was queued."""
    return device.type == "cuda"


def _shared_device(sides: Sequence[Side]) -> torch.device:
    homes = {side.label: place for side in sides if (place := home(side.model)) is not None}
    if not homes:
        return torch.device("cpu")
    (first, shared), *others = homes.items()
    for label, place in others:
        if place != shared:
            raise ValueError(f"{first} is on {shared} and {label} on {place}; move one of them, or pass device=")
    return shared
