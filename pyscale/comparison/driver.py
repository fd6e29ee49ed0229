"""One pass over the data: batches go through the models, activations into the strategy."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from pyscale.comparison.batches import Forward, Pair, count_batches, count_samples, forward_batch, move, paired_batches
from pyscale.comparison.exact import ExactStrategy
from pyscale.comparison.hooks import Tap
from pyscale.comparison.layers import Selection
from pyscale.comparison.minibatch import MinibatchStrategy
from pyscale.comparison.options import Options
from pyscale.comparison.scores import Scores
from pyscale.comparison.side_streams import SideStreams
from pyscale.comparison.state import home, remembered_randomness
from pyscale.comparison.tally import Tally
from pyscale.comparison.wrappers import unwrap
from pyscale.distributed import Crew, Dealt, Sharding, shared_randomness


class Strategy(Protocol):
    """What is done with activations."""

    least_samples: int  # a smaller batch is skipped

    def begin(self, batch: int) -> None:
        """Prepare for a batch."""

    def take_x(self, row: str, activation: Tensor) -> None:
        """Take an activation of model_x, inside its hook."""

    def take_y(self, row: str, activation: Tensor) -> None:
        """Take an activation of model_y, inside its hook."""

    def finish(self, rows: list[str], columns: list[str], samples: int) -> bool | None:
        """Add the batch, all of whose activations have been taken; True asks for all of them once more first."""

    def state(self) -> dict[str, Any]:
        """Return everything taken, as plain values."""

    def merge(self, state: dict[str, Any]) -> None:
        """Add what another process has taken."""

    def scores(self) -> Scores:
        """Return the similarities of everything taken."""


class Side:
    """One of the two models, tapped.

    Args:
        label: What errors call it.
        model: The model as the user gave it.
        selection: Its layers that are compared.
        forward: The user's way of calling it; None is :func:`forward_batch`.
    """

    def __init__(self, label: str, model: nn.Module, selection: Selection, forward: Forward | None) -> None:
        self.model = model
        self.inner = unwrap(model)
        self.tap = Tap(label, selection)
        self._forward = forward

    def call(self, batch: Any, device: torch.device) -> None:
        """Run the model on a copy of the batch, which the model may then overwrite, and drop what it returns."""
        batch = move(batch, device)
        if self._forward is None:
            forward_batch(self.inner, batch)
        else:
            self._forward(self.model, batch)


class Run:
    """A comparison under way, this process's part of it.

    Attributes:
        options: What is computed.
        x: The model whose layers are the rows.
        y: The model whose layers are the columns.
        device: Where they run.
        crew: The processes that share the batches.
        tally: What has been seen; on rank 0 of what all have, once that is over.
    """

    def __init__(
        self, options: Options, x: Side, y: Side, *, one_loader: bool, device: torch.device | None, crew: Crew
    ) -> None:
        self.options = options
        self.x, self.y = x, y
        self.device = device or _shared_device(x.model, y.model)
        self.crew = crew
        self.tally = Tally()
        self._one_pass = one_loader and x.inner is y.inner
        self._same = self._one_pass and _same_layers(x.tap.selection, y.tap.selection)
        self._streams = SideStreams()
        self._strategy = self._chosen_strategy()

    def over(
        self, loader: Iterable[Any], loader_y: Iterable[Any] | None, *, sharding: Sharding, progress: bool
    ) -> None:
        """Run the models over this process's share of the loaders.

        Raises:
            ValueError: The loaders, the layers or the activations are not fit to be compared.
        """
        name = f"{type(self.x.inner).__name__} / {type(self.y.inner).__name__}: {self.options.metric}"
        crew, most = self.crew, self.options.max_batches
        total = count_batches(loader, most) if sharding != "own" or crew.alone else None
        x = Dealt(loader, crew, sharding=sharding, most=most, argument="loader")
        y = None if loader_y is None else Dealt(loader_y, crew, sharding=sharding, most=most, argument="loader_y")
        with ExitStack() as stack:
            stack.enter_context(shared_randomness(crew, [loader, *([] if loader_y is None else [loader_y])]))
            stack.enter_context(self._streams)
            stack.enter_context(self.x.tap)
            if not self._same:
                stack.enter_context(self.y.tap)
            hidden = not (progress and crew.first)
            bar = stack.enter_context(tqdm(total=total, desc=name, unit="batch", disable=hidden))
            for pair in paired_batches(x, y):
                crew.check()
                self._add(pair)
                bar.update(crew.size if total is None else min(crew.size, total - bar.n))
        skipped = {side.tap.label: dict(side.tap.skipped) for side in (self.x, self.y)}
        self.tally.skipped_layers = {label: layers for label, layers in skipped.items() if layers}
        self.tally.dtypes = sorted(self.x.tap.dtypes | self.y.tap.dtypes)
        self.tally.rows, self.tally.columns = list(self._rows), list(self._columns)
        self.tally.dealt = {**x.fingerprint(), **({} if y is None else y.fingerprint())}

    def merge(self) -> None:
        """Bring what all processes have seen to rank 0."""

        def merge(run: Run, state: dict[str, Any]) -> Run:
            run.tally.add(state["tally"])
            run._strategy.merge(state["strategy"])
            return run

        self.crew.reduce(self, merge, lambda run: {"tally": run.tally.state(), "strategy": run._strategy.state()})

    def scores(self) -> Scores:
        """Return the similarities of everything seen.

        Raises:
            ValueError: That was too little.
        """
        if self.tally.batches:
            return self._strategy.scores()
        if self.tally.skipped == 0:
            raise ValueError("loader is empty; expected at least one batch")
        raise ValueError(
            f"all {self.tally.skipped} batches have fewer than {self._strategy.least_samples} samples, which carry no "
            f"information; give loader a larger batch_size"
        )

    @property
    def _rows(self) -> list[str]:
        """Names of model_x's compared layers, in forward order."""
        return self.x.tap.rows

    @property
    def _columns(self) -> list[str]:
        """Names of model_y's."""
        return (self.x if self._same else self.y).tap.rows

    def _add(self, pair: Pair) -> None:
        samples = count_samples(pair.x)
        same_randomness = remembered_randomness()
        if samples is None or samples >= self._strategy.least_samples:
            self._strategy.begin(pair.number)
            self._forward(pair, samples)
            samples = self.x.tap.samples or 0
        if samples < self._strategy.least_samples:
            self._skip(pair.number, samples)
            return
        if self._strategy.finish(self._rows, self._columns, samples):
            same_randomness()
            self._forward(pair, samples)
            self._strategy.finish(self._rows, self._columns, samples)
        self.tally.batches += 1
        self.tally.samples += samples

    def _forward(self, pair: Pair, samples: int | None) -> None:
        strategy = self._strategy
        with ExitStack() as stack:
            stack.enter_context(self.x.tap.recording(strategy.take_x, pair.number, samples))
            if self._one_pass and not self._same:
                stack.enter_context(self.y.tap.recording(strategy.take_y, pair.number, samples))
            self.x.call(pair.x, self.device)
        if not self._one_pass:
            with self.y.tap.recording(strategy.take_y, pair.number, self.x.tap.samples):
                self.y.call(pair.y, self.device)

    def _chosen_strategy(self) -> Strategy:
        if self.options.mode == "minibatch":
            deferred = judged_late(self.device)
            return MinibatchStrategy(self.options, same=self._same, deferred=deferred, streams=self._streams)
        copies = 1 if self.crew.alone else 2  # another process's co-moments are held while they are merged
        return ExactStrategy(self.options, same=self._same, one_pass=self._one_pass, copies=copies)

    def _skip(self, number: int, samples: int) -> None:
        if self.tally.skipped == 0:
            warnings.warn(
                f"batch {number} has {samples} samples; fewer than {self._strategy.least_samples} carry no information "
                f"on {self.options.metric}, so it is skipped, as later ones will be",
                UserWarning,
                stacklevel=5,
            )
        self.tally.skipped += 1


def judged_late(device: torch.device) -> bool:
    """Return whether what is computed there is better looked at once a batch: a look waits for all that was queued."""
    return device.type == "cuda"


def _shared_device(model_x: nn.Module, model_y: nn.Module) -> torch.device:
    x, y = home(model_x), home(model_y)
    if x is not None and y is not None and x != y:
        raise ValueError(f"model_x is on {x} and model_y on {y}; move one of them, or pass device=")
    return x or y or torch.device("cpu")


def _same_layers(one: Selection, other: Selection) -> bool:
    return one.modules == other.modules and one.calls == other.calls
