"""Plain networks of several seeds for the layer-matching check: one after another, or side by side in a given time.

Every training is a run folder of its own, taken up again where it was stopped. Side by side, processes share a GPU:
while one prepares a step another computes. Each first trains beside the others for a trial, and the slowest says how
many epochs fit, so that every schedule ends in time.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import numpy as np
import torch

from pyscale.studies.matching.plain_network import PlainNetwork
from pyscale.train import PICTURES, Accuracy, Data, Trained, digits, fit, from_npz, image_folder
from pyscale.train.pictures import PictureSet

DIGITS_SIZE = 16  # the network halves its pictures twice and then takes two pixels off
ARCHIVE_BYTES = 15 * 2**20  # of one file of weights

_MARGIN = 0.9  # of the time there is: epochs beside other work on the machine are not equally long
_PATIENCE = 60  # seconds that trials wait for one another
_TRIAL_EPOCHS = 3


@dataclass(frozen=True)
class Plan:
    """How the networks are trained.

    Attributes:
        pictures: "digits", an .npz file, or a folder or zip file of pictures.
        name: What the data are called.
        width: Channels of the first convolutions.
        out: Where the run folders lie.
        limit: Training pictures; None is all.
        epochs: Of each training; None is the recipe's.
        device: "cpu" or "cuda".
        precision: Of the training, as :func:`pyscale.train.fit` takes it.
        changes: To the data's recipe.
    """

    pictures: str
    name: str
    width: int
    out: Path
    limit: int | None = None
    epochs: int | None = None
    device: str = "cpu"
    precision: Any = "32-true"
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trainings:
    """The networks, and how well each classifies the held-out pictures."""

    networks: list[PlainNetwork]
    accuracies: list[Accuracy]
    epochs: int
    how: str  # what else decided them, for a table


def load(plan: Plan) -> Data:
    """Return the data, decoding pictures."""
    if plan.pictures == "digits":
        data = digits(DIGITS_SIZE)
    elif plan.pictures.endswith(".npz"):
        data = replace(from_npz(plan.pictures, recipe=PICTURES), name=plan.name)
    else:
        data = image_folder(plan.pictures)
    return data if plan.limit is None else data.subset(plan.limit)


def decoded(plan: Plan) -> Plan:
    """Return the plan with its pictures in one .npz file beside the runs, decoded now unless they are there already."""
    if plan.pictures == "digits" or plan.pictures.endswith(".npz"):
        return plan
    path = plan.out / f"{plan.name}.npz"
    if not path.exists():
        data, arrays = load(replace(plan, limit=None)), {}
        for split in ("train", "test"):
            pictures = data.split(split)
            if not isinstance(pictures, PictureSet):
                raise ValueError(f"--data: the pictures of {plan.pictures} don't fit in memory")
            arrays |= {f"x_{split}": pictures.images.permute(0, 2, 3, 1).numpy(), f"y_{split}": pictures.labels.numpy()}
        plan.out.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npz")
        np.savez(unfinished, **arrays)
        unfinished.replace(path)
    return replace(plan, pictures=str(path))


def fresh(plan: Plan, data: Data, seed: int) -> PlainNetwork:
    """Return the network of a seed as its training begins."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return PlainNetwork(
            width=plan.width, in_channels=data.channels, num_classes=data.num_classes, image_size=data.image_size
        )


def train_in_turn(plan: Plan, data: Data, seeds: Iterable[int]) -> Trainings:
    """Train the networks of the seeds, or load those that are trained already."""
    networks, accuracies, epochs, how = [], [], 0, ""
    for seed in seeds:
        trained = _train(plan, data, seed)
        print(f"seed {seed}: {trained.accuracy}", flush=True)
        networks.append(trained.model)
        accuracies.append(trained.accuracy)
        epochs = trained.recipe.epochs
        how = f"{plan.precision}, batch {trained.recipe.batch_size}, lr {trained.recipe.lr:g}"
    return Trainings(networks, accuracies, epochs, how)  # type: ignore[arg-type]  # fit returns the model it was given


def train_side_by_side(plan: Plan, seeds: Sequence[int], processes: int, seconds: float) -> tuple[Plan, list[int]]:
    """Train the networks of the seeds in so many processes, for as many epochs as fit into the time.

    Args:
        plan: ``epochs`` is the most.
        seeds: Shared out in turns.
        processes: How many.
        seconds: For all of it; what is not done a tenth later is stopped, and can be taken up again.

    Returns:
        The plan with the epochs, and the seeds that were trained.

    Raises:
        RuntimeError: If all trials failed.
    """
    end = time.monotonic() + seconds
    context = multiprocessing.get_context("spawn")
    shares = [list(seeds[k::processes]) for k in range(min(processes, len(seeds)))]
    barrier = context.Barrier(len(shares))
    workers: dict[Connection, BaseProcess] = {}
    for share in shares:
        ours, theirs = context.Pipe()
        workers[ours] = context.Process(target=_work, args=(theirs, barrier, plan, share), daemon=True)
        workers[ours].start()
        theirs.close()
    try:
        trials = dict(_reports(list(workers), end))
        if not trials:
            raise RuntimeError("no trial of a training came to its end; what stopped them is printed above")
        slowest, waves = max(float(pace) for pace in trials.values()), max(map(len, shares))
        fitting = max(1, int(_MARGIN * (end - time.monotonic()) / (waves * slowest)))
        epochs = fitting if plan.epochs is None else min(fitting, plan.epochs)
        plan = replace(plan, epochs=epochs, out=plan.out / f"{epochs}epochs")  # another time another number may fit
        print(
            f"an epoch takes {slowest:.2f} s in {len(shares)} processes; {fitting} fit; training for {epochs}",
            flush=True,
        )
        for connection in trials:
            connection.send(plan)
        done: list[int] = []
        for _ in range(waves):
            done += [int(seed) for _, seed in _reports(list(trials), end + seconds / 10)]
        return plan, sorted(done)
    finally:
        for process in workers.values():
            process.terminate()
            process.join()


def archive(trainings: Trainings, seeds: Sequence[int], plan: Plan, folder: Path) -> list[Path]:
    """Write all weights, convolutions in float16, into files of at most 15 MiB; the networks then have them so, too.

    What is compared afterwards is what a reader of the files compares.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for seed, network, accuracy in zip(seeds, trainings.networks, trainings.accuracies, strict=True):
        state = {name: w.half() if w.ndim > 1 else w for name, w in network.state_dict().items()}
        network.load_state_dict(state)
        entries.append({"seed": seed, "accuracy": accuracy.to_dict(), "state": state})
    size = sum(w.nbytes for w in entries[0]["state"].values())
    together = max(1, ARCHIVE_BYTES // size)
    paths = []
    for k in range(0, len(entries), together):
        paths.append(folder / f"{plan.name}-width{plan.width}-{seeds[k]}.pt")
        about = {"width": plan.width, "epochs": trainings.epochs, "how": trainings.how}
        torch.save({**about, "networks": entries[k : k + together]}, paths[-1])
    return paths


def unarchived(paths: Sequence[Path], data: Data) -> tuple[Trainings, int]:
    """Return the networks of such files, and their width."""
    networks, accuracies, about = [], [], {"epochs": 0, "how": "", "width": 0}
    for path in paths:
        about = torch.load(path, map_location="cpu", weights_only=True)
        for entry in about["networks"]:
            plan = Plan("", "", about["width"], path.parent)
            networks.append(fresh(plan, data, entry["seed"]).eval())
            networks[-1].load_state_dict(entry["state"])
            accuracies.append(Accuracy.from_dict(entry["accuracy"]))
    return Trainings(networks, accuracies, about["epochs"], about["how"]), about["width"]


def _train(plan: Plan, data: Data, seed: int, **options: Any) -> Trained:
    out = plan.out / f"{plan.name}-width{plan.width}-{len(data.train)}" / f"seed{seed}"  # type: ignore[arg-type]
    options = {"epochs": plan.epochs, "out": out, **plan.changes, **options}
    return fit(
        fresh(plan, data, seed),
        data,
        seed=seed,
        device=plan.device,
        precision=plan.precision,
        threads=1,
        progress=False,
        **options,
    )


def _work(connection: Connection, barrier: Barrier, plan: Plan, seeds: list[int]) -> None:
    """Try, say how long an epoch took, be given the plan with their number, train; say each seed that is done."""
    try:
        torch.set_num_threads(1)
        data = load(plan)
        _train(plan, data, seeds[0], out=None, epochs=1)  # what is slow once: imports, kernels
        try:
            barrier.wait(_PATIENCE)
        except BrokenBarrierError:
            print("a trial was not joined by all others: epochs may come out shorter than they will be", flush=True)
        trial = _train(plan, data, seeds[0], out=None, epochs=_TRIAL_EPOCHS)
        connection.send(max(trial.history.column("seconds")[1:]))
        plan = connection.recv()
        for seed in seeds:
            trained = _train(plan, data, seed)
            print(f"seed {seed}: {trained.accuracy}, {trained.seconds:.1f} s", flush=True)
            connection.send(seed)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        connection.close()


def _reports(connections: list[Connection], end: float) -> Iterator[tuple[Connection, Any]]:
    """Yield one message of each connection, as they come, until the end; of a worker that has failed there is none."""
    waiting = list(connections)
    while waiting and (ready := wait(waiting, max(0.0, end - time.monotonic()))):
        for connection in ready:
            waiting.remove(connection)  # type: ignore[arg-type]  # only connections were waited for
            try:
                yield connection, connection.recv()  # type: ignore[union-attr, misc]
            except EOFError:
                continue
