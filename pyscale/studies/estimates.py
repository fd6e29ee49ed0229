"""What a study will take before it takes it: multiply-accumulates of every training, and time from a measured rate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from pyscale.models import Network, Scaling, build, profile
from pyscale.studies.budgets import Budget
from pyscale.studies.networks import using_threads
from pyscale.studies.study import Study
from pyscale.studies.trained_networks import build_seeded
from pyscale.train.evaluation import at_model_resolution

BACKWARD = 3  # a training step's products to a forward pass's: gradients of inputs and of weights are one each
_TIMED_SECONDS = 1.0


@dataclass(frozen=True)
class EstimateRow:
    """One network, or the networks of one way and budget.

    Attributes:
        name: Of the variant or contender.
        networks: How many are made.
        parameters: Of each.
        macs: Of one picture's forward pass of each. Of a network that is made smaller the most that it may have: its
            share, where multiply-accumulates are what is limited, else those of what it is made of.
        pictures: Training pictures a pass.
        epochs: Passes; none of a network that comes from a file.
        at_most: Whether parameters and multiply-accumulates are bounds, since how small it gets is found on the way.
    """

    name: str
    networks: int
    parameters: int
    macs: int
    pictures: int
    epochs: int
    at_most: bool = False

    @property
    def total(self) -> int:
        """Multiply-accumulates of all their training, or the most there may be."""
        return BACKWARD * self.networks * self.macs * self.pictures * self.epochs


@dataclass(frozen=True)
class Estimate:
    """The cost of a study's trainings; comparisons, timings and searches for budgets come on top.

    Attributes:
        rows: One a network or way.
        rate: Multiply-accumulates a second in a training step of the baseline, measured on this machine.
        workers: Processes that share the work.
    """

    rows: tuple[EstimateRow, ...]
    rate: float
    workers: int

    @property
    def total(self) -> int:
        """Multiply-accumulates of all trainings, or the most there may be."""
        return sum(row.total for row in self.rows)

    @property
    def at_most(self) -> bool:
        """Whether some of them are a bound."""
        return any(row.at_most for row in self.rows)

    @property
    def seconds(self) -> float:
        """Time of all trainings if the rate holds and workers do not disturb one another."""
        return self.total / self.rate / self.workers


def estimate(study: Study, *, workers: int = 1, device: str | None = None) -> Estimate:
    """Estimate what a study will take, training nothing.

    Networks are counted on the meta device. The rate is that of a few steps of the baseline; networks of another size
    reach another one, so the time is a guess. The multiply-accumulates are counted, and a bound where a network is made
    to fit a budget.

    Args:
        study: What would be run.
        workers: As for :func:`pyscale.studies.run`.
        device: Likewise.

    Returns:
        The estimate.

    Example:
        >>> from pyscale.studies import demo_study
        >>> guess = estimate(demo_study(quick=True))
        >>> [row.name for row in guess.rows][:2], guess.rows[0].epochs, guess.seconds > 0
        (['baseline', 'baseline-seed1'], 2, True)
    """
    with using_threads(study.threads):
        return Estimate(tuple(_rows(study)), _rate(study, device), workers)


def _rows(study: Study) -> Iterator[EstimateRow]:
    pictures = len(study.data.labels("train"))
    epochs = study.data.recipe.epochs if study.epochs is None else study.epochs
    for member in study.members:
        compression = member.compression
        if compression is None:
            passes = 0 if member.weights is not None else epochs
            yield _row(study, member.name, study.scaling_of(member), 1, pictures, passes)
        else:
            row = _row(study, member.name, study.scaling_of(member), 1, pictures, compression.passes)
            limit = compression.budget if compression.schedule is None else None  # steps before the last are larger
            yield _bounded(row, limit) if compression.granularity == "channel" else row
    asked = study.equal_budget
    if asked is None:
        return
    seeds = 1 + len(study.twin_seeds)
    for contender in asked.contenders():
        if asked.unable(contender) is None:
            passes = epochs + asked.passes if contender.way == "scaled" else asked.passes
            row = _row(study, contender.name, study.baseline, seeds, pictures, passes)
            yield _bounded(row, contender.budget) if contender.way in ("scaled", "channels") else row


def _row(study: Study, name: str, scaling: Scaling, networks: int, pictures: int, epochs: int) -> EstimateRow:
    with torch.device("meta"):
        cost = profile(build(study.family, scaling=scaling, **_shape(study)), repeats=0)
    return EstimateRow(name, networks, cost.parameters, cost.macs, pictures, epochs)


def _bounded(row: EstimateRow, budget: Budget | None) -> EstimateRow:
    """A row of networks that become smaller than the one that was counted."""
    macs, parameters = row.macs, row.parameters
    if budget is not None and budget.resource == "macs":
        macs = min(macs, int(budget.of(macs)))
    if budget is not None and budget.resource == "parameters":
        parameters = min(parameters, int(budget.of(parameters)))
    return replace(row, macs=macs, parameters=parameters, at_most=True)


def _rate(study: Study, device: str | None) -> float:
    network = build_seeded(study.family, study.seed, scaling=study.baseline, **_shape(study))
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    network.to(where).train()
    batch = study.data.recipe.but(**study.recipe).batch_size
    images, labels = next(iter(at_model_resolution(network, study.data).loader("train", batch)))
    images, labels = images.to(where), labels.to(where)
    _step(network, images, labels)
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < _TIMED_SECONDS:
        _step(network, images, labels)
        steps += 1
    macs = profile(network, repeats=0).macs
    return BACKWARD * macs * len(images) * steps / (time.perf_counter() - started)


def _step(network: Network, images: torch.Tensor, labels: torch.Tensor) -> None:
    network.zero_grad()
    loss = cross_entropy(network(images), labels)
    loss.backward()
    loss.item()  # waits for the device


def _shape(study: Study) -> dict[str, Any]:
    return {
        "num_classes": study.data.num_classes,
        "in_channels": study.data.channels,
        "image_size": study.image_size,
    }
