"""Fitting a classifier with Lightning: reproducible from its seed, and resumable to the same final weights."""

from __future__ import annotations

import logging
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import nn

from pyscale.distributed import Crew, gathered, is_transport_error, local_device
from pyscale.train.accuracy import Accuracy
from pyscale.train.data import Data
from pyscale.train.datasets import DataLike, as_data
from pyscale.train.dependencies import import_train_dependency
from pyscale.train.distillation import Distillation, Teacher
from pyscale.train.evaluation import (
    as_device,
    at_model_resolution,
    check_scores,
    evaluate_together,
    evaluating,
    model_device,
)
from pyscale.train.loggers import Loggers, as_loggers, check_loggers
from pyscale.train.memory_format import channels_last_is_safe
from pyscale.train.recipes import Recipe
from pyscale.train.results import History, Trained
from pyscale.train.runs import RunFolder, run_config
from pyscale.train.seeding import check_seed, preserved_global_state

if TYPE_CHECKING:
    from lightning.fabric.plugins import ClusterEnvironment
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.strategies import DDPStrategy

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

_LIGHTNING_CHATTER = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning calls what torch 2.13 deprecates
    r"You defined a `validation_step` but have no `val_dataloader`",  # data without a validation split
    r"GPU available but not used",  # the caller asked for the CPU
)


def fit(
    model: nn.Module,
    data: DataLike,
    *,
    epochs: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = True,
    recipe: Recipe | None = None,
    teacher: nn.Module | None = None,
    distillation: Distillation | None = None,
    precision: Precision = "32-true",
    device: str | torch.device | None = None,
    threads: int | None = None,
    workers: int = 0,
    progress: bool = True,
    logger: Loggers = None,
    sharding: Literal["auto", "none"] = "auto",
    **changes: Any,
) -> Trained:
    """Train a classifier and measure it on the held-out pictures.

    The model is trained in place. Data order, augmentation and everything drawn from global generators depend on
    (seed, epoch) alone, so the same first weights and seed give the same final weights on the same machine, also when
    the run was killed and taken up again from the checkpoint of its last whole epoch.

    Under torchrun, or in any ``torch.distributed`` process group, the processes train one model together: each takes
    its part of every batch, so ``batch_size`` and the steps are those of one process, and weights are too, to rounding,
    unless layers look at a whole batch (batch normalisation sees its process's part) or draw numbers (dropout). Rank
    0's first weights count, rank 0 alone reads and writes ``out``, and every process returns the same
    (docs/distributed.md).

    Args:
        model: Maps (b, channels, height, width) to (b, classes) scores. Its ``image_size``, if any, is the
            resolution it is served.
        data: A :class:`Data`, or what :func:`from_datasets` takes.
        epochs: Passes over the training pictures; None is the recipe's.
        seed: Of data order, augmentation and dropout. The first weights are the caller's.
        out: Folder of the run: checkpoint, ``history.csv``, ``weights.pt``, ``result.json``. None keeps nothing.
        resume: Whether to take up the run in ``out``: an interrupted one goes on, a finished one is loaded and not
            trained again, another one (other recipe, seed, precision, architecture or pictures) is refused. With a
            recipe whose rate does not depend on the number of epochs (:attr:`Recipe.open_ended`) one of fewer epochs
            goes on to those asked for, and ends as if it had been asked for them at once. The model's first weights are
            not compared: those of the run replace them. False starts anew.
        recipe: How to train; None is ``data.recipe``.
        teacher: A trained network whose scores are learned beside the labels; it is copied and stays as it is.
        distillation: How much they count; None is ``Distillation()`` where there is a teacher.
        precision: ``"32-true"``, ``"bf16-mixed"``, or ``"16-mixed"`` (GPU only).
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``; None is a GPU where there is one.
        threads: Of torch on the CPU while training; None leaves them. More than one make tiny networks slower on busy
            cores, and rounding depends on the number.
        workers: Processes that read pictures that are not in memory.
        progress: Whether Lightning's progress bar is shown.
        logger: ``"csv"`` or ``"tensorboard"``, which write into ``out/logs``, or a logger of Lightning, or several:
            each gets every row of the history as its epoch ends, on rank 0. A run that is taken up logs what is new, a
            finished one nothing.
        sharding: "none" trains on this process alone, whatever others there are.
        **changes: Fields of :class:`Recipe` to change, such as ``lr=0.05``.

    Returns:
        The model in eval mode on the device it came on, its history, and its test accuracy with interval.

    Raises:
        DivergenceError: If the loss becomes NaN or infinite.
        ValueError: If model, data and options do not fit together, or ``out`` holds another run.
        TypeError: If an argument is of the wrong kind or a change is no field of :class:`Recipe`.
        ImportError: If the ``train`` extra is not installed, or for ``"tensorboard"`` the extra of that name.
        pyscale.distributed.PeerError: Another process failed or died.

    Example:
        >>> from pyscale.train import digits, fit
        >>> linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> trained = fit(linear, digits(), epochs=2, crop=0.0, progress=False)
        >>> trained.accuracy.value > 0.8, len(trained.history)
        (True, 2)
    """
    if epochs is not None:
        changes["epochs"] = epochs
    seed = check_seed(seed)
    target = target_device(device, precision)
    if out is not None and not isinstance(out, str | PathLike):
        raise TypeError(f"out must be the path of a folder or None, got {out!r}")
    check_loggers(logger, out)
    if sharding not in ("auto", "none"):
        raise ValueError(f'sharding must be "auto" or "none", got {sharding!r}')
    with ExitStack() as stack:
        backend = "cpu:gloo,cuda:nccl" if target.type == "cuda" else "gloo"
        crew = stack.enter_context(gathered(alone=sharding == "none", backend=backend))
        stack.enter_context(preserved_global_state())
        data = at_model_resolution(model, as_data(data))
        recipe = (recipe or data.recipe).but(**changes)
        _check_fit(model, data)
        taught = _teacher(teacher, distillation, model, data, target)
        folder_path = Path(out) if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = run_config(model, data, recipe.to_dict(), seed, precision) | (taught.config() if taught else {})
        folder = RunFolder(folder_path, config, open_ended=recipe.open_ended)
        crew.agree("fit", config)
        if crew.on_first(lambda: _opened(folder, resume)):
            history, accuracy = _loaded(folder, model, crew)
            resumed_at = recipe.epochs
        else:
            run = _Run(
                model, data, recipe, taught, seed, folder, precision, target, threads, workers, progress, logger, crew
            )
            original = model_device(model)
            try:
                history, resumed_at = _train(run)
                accuracy = evaluate_together(model, data, crew, device=target)
            finally:
                model.to(original)
            crew.on_first(lambda: folder.finish(model, history, accuracy))
    model.eval()
    return Trained(model, history, accuracy, recipe, seed, folder_path if out is not None else None, resumed_at)


@dataclass(frozen=True)
class _Run:
    """The checked arguments of one fit."""

    model: nn.Module
    data: Data
    recipe: Recipe
    teacher: Teacher | None
    seed: int
    folder: RunFolder
    precision: Precision
    device: torch.device
    threads: int | None
    workers: int
    progress: bool
    logger: Loggers
    crew: Crew


def _opened(folder: RunFolder, resume: bool) -> bool:
    """Open a run's folder and return whether the run in it is finished."""
    folder.open(resume)
    return folder.finished


def _loaded(folder: RunFolder, model: nn.Module, crew: Crew) -> tuple[History, Accuracy]:
    """Load a finished run, which rank 0 reads for all."""

    def load() -> dict[str, Any]:
        history, accuracy = folder.load(model)
        weights = {} if crew.alone else model.state_dict()
        return {"history": history.rows, "accuracy": accuracy.to_dict(), "weights": weights}

    found = crew.on_first(load)
    if not crew.first:
        model.load_state_dict(found["weights"])
    return History(found["history"]), Accuracy.from_dict(found["accuracy"])


def _train(run: _Run) -> tuple[History, int]:
    """Train the model in place; return the history and the epoch the run was taken up at."""
    import_train_dependency("lightning.pytorch")
    from pyscale.train.lightning_module import Checkpointer, Classifier, Recorder

    model = run.model
    recipe = run.recipe.but(channels_last=run.recipe.channels_last and channels_last_is_safe(model, run.device))
    crew = run.crew
    reading: dict[str, Any] = {"workers": run.workers, "device": run.device, "share": (crew.rank, crew.size)}
    batches = run.data.loader("train", recipe.batch_size, shuffle=True, seed=run.seed, recipe=recipe, **reading)
    validation = None if run.data.val is None else run.data.loader("val", recipe.batch_size, **reading)
    recorder = Recorder()
    checkpointer = Checkpointer(run.folder.checkpoint, lambda: run.folder.write_history(History(recorder.rows)))
    with _quiet_lightning():
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
        if run.threads is not None:
            torch.set_num_threads(run.threads)
        if recipe.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
        model.train()
        classifier = Classifier(model, recipe, run.seed, batches, crew, run.teacher)
        trainer = _trainer(run, [recorder, checkpointer])
        checkpoint = run.folder.checkpoint if crew.on_first(run.folder.checkpoint.exists) else None
        try:
            trainer.fit(classifier, val_dataloaders=validation, ckpt_path=checkpoint)
        except SystemExit as error:  # Lightning turns Ctrl-C into an exit; a library must not
            raise KeyboardInterrupt from error
        except RuntimeError as error:
            if is_transport_error(error):
                crew.explain(error)
            raise
        finally:
            model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return History(recorder.rows), recorder.resumed_at


def _trainer(run: _Run, callbacks: list[Callback]) -> Trainer:
    from lightning.pytorch import Trainer

    from pyscale.train.lightning_module import OneOfMany, SafeCheckpointIO

    on_gpu, crew = run.device.type == "cuda", run.crew
    together: dict[str, Any] = {} if crew.alone else {"num_nodes": crew.size, "strategy": _strategy(OneOfMany(crew))}
    return Trainer(
        **together,
        accelerator="gpu" if on_gpu else "cpu",
        devices=[run.device.index or 0] if on_gpu else 1,
        precision=run.precision,
        max_epochs=run.recipe.epochs,
        reload_dataloaders_every_n_epochs=1,  # every epoch has batches of its own
        gradient_clip_val=run.recipe.clip,
        callbacks=callbacks,
        plugins=[SafeCheckpointIO(crew)],
        enable_progress_bar=run.progress and crew.first,
        default_root_dir=run.folder.path,
        logger=as_loggers(run.logger, run.folder.path) or False,
        log_every_n_steps=1,  # rows are an epoch's; more would bring a warning for few batches
        enable_checkpointing=False,  # so is the checkpoint callback
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        benchmark=False,
    )


def _strategy(environment: ClusterEnvironment) -> DDPStrategy:
    """How Lightning trains with several processes: buffers stay their own until an epoch ends."""
    from lightning.pytorch.strategies import DDPStrategy

    return DDPStrategy(cluster_environment=environment, broadcast_buffers=False)


def target_device(device: str | torch.device | None, precision: str) -> torch.device:
    """Where :func:`fit` trains: as asked, else a GPU where there is one; checked beside the precision."""
    if precision not in get_args(Precision):
        raise ValueError(f"precision must be one of {get_args(Precision)}, got {precision!r}")
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    target = as_device(local_device(device))
    if target.type not in ("cpu", "cuda"):
        raise ValueError(f'device must be "cpu" or a "cuda" device, got {str(device)!r}')
    if precision == "16-mixed" and target.type == "cpu":
        raise ValueError('precision "16-mixed" needs a GPU; on a CPU take "bf16-mixed" or "32-true"')
    return target


def _check_fit(model: nn.Module, data: Data) -> None:
    """Run two training pictures through the model in eval mode, so that a misfit is explained before training."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("model has no parameter that requires a gradient")
    images = next(iter(data.loader("train", 2)))[0].to(model_device(model))
    with evaluating(model), torch.no_grad():
        try:
            scores = model(images)
        except RuntimeError as error:
            raise ValueError(
                f"model does not accept pictures of shape {tuple(images.shape)} from {data!r}: {error}"
            ) from error
    check_scores(scores, data)


def _teacher(
    network: nn.Module | None, distillation: Distillation | None, model: nn.Module, data: Data, device: torch.device
) -> Teacher | None:
    """The teacher on the device, once it has scored two training pictures; None where there is none."""
    if network is None:
        if distillation is not None:
            raise ValueError("distillation: there is no teacher whose scores could be learned; pass teacher=")
        return None
    if not isinstance(network, nn.Module):
        raise TypeError(f"teacher must be a torch.nn.Module, got {type(network).__name__}")
    teacher = Teacher(network, distillation or Distillation())
    teacher.to(device)
    images = next(iter(data.loader("train", 2)))[0]
    try:
        taught = check_scores(teacher.scores(images.to(device)), data).shape[1]
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"teacher does not fit {data!r}: {error}") from error
    with evaluating(model), torch.no_grad():
        learned = model(images.to(model_device(model))).shape[1]
    if taught != learned:
        raise ValueError(f"teacher scores {taught} classes, model {learned}: both must score the same")
    return teacher


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's start-up notes and put Ctrl-C's handler back, which it replaces when interrupted."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if in_main_thread else None
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for message in _LIGHTNING_CHATTER:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
