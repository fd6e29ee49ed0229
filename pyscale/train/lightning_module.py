"""The Lightning side of a run: a module that applies a recipe, and the callbacks that record and checkpoint it.

Importing this module imports Lightning, so only :func:`pyscale.train.fit` does, when it is called.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pyscale.train.batches import Batches
from pyscale.train.errors import DivergenceError
from pyscale.train.recipes import Recipe
from pyscale.train.results import Row
from pyscale.train.seeding import derive_seed, seed_everything

Batch = tuple[Tensor, Tensor]

ONE_CYCLE_START = 1 / 25  # of the peak rate
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


class Classifier(LightningModule):
    """A network with its recipe: loss, optimiser, schedule, and the sums a history row is made of."""

    def __init__(self, network: nn.Module, recipe: Recipe, seed: int, batches: Batches) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.seed = seed
        self.batches = batches
        self.sums: dict[str, list[Tensor | float]] = {}

    def train_dataloader(self) -> Batches:
        """The batches of the present epoch; the trainer asks anew before every one."""
        self.batches.set_epoch(self.current_epoch)
        return self.batches

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimiser with its schedule stepped every batch."""
        optimizer = make_optimizer(self.network, self.recipe)
        scheduler = make_scheduler(optimizer, self.recipe, self.recipe.epochs * len(self.batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Seed what draws from the global generators, so that an epoch does not depend on those before it."""
        seed_everything(derive_seed(self.seed, self.current_epoch, "global"))
        self.sums["train"] = [0.0, 0.0, 0.0]

    def on_validation_epoch_start(self) -> None:
        """Start the validation sums."""
        self.sums["val"] = [0.0, 0.0, 0.0]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The smoothed cross-entropy of one batch."""
        loss = self._step(batch, "train", self.recipe.label_smoothing)
        if not torch.isfinite(loss):
            raise DivergenceError(
                f"the loss became {loss.item()} in epoch {self.current_epoch}, batch {batch_idx} "
                f"(learning rate {self.trainer.optimizers[0].param_groups[0]['lr']:.3g}): "
                "lower lr, lengthen warmup, set clip, or check the pictures"
            )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the validation sums."""
        self._step(batch, "val", 0.0)

    def _step(self, batch: Batch, split: str, label_smoothing: float) -> Tensor:
        images, labels = batch
        scores = self.network(images)
        loss = functional.cross_entropy(scores, labels, label_smoothing=label_smoothing)
        sums = self.sums[split]
        for i, term in enumerate((loss.detach() * len(labels), (scores.argmax(1) == labels).sum(), len(labels))):
            sums[i] = sums[i] + term
        return loss

    def row(self) -> Row:
        """Loss and accuracy of the present epoch, per split."""
        row = {}
        for split, (loss, correct, n) in self.sums.items():
            row[f"{split}_loss"] = float(loss) / float(n)
            row[f"{split}_accuracy"] = float(correct) / float(n)
        return row


class Recorder(Callback):
    """Writes a history row after every epoch, for loggers too; its rows travel with the checkpoint."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.resumed_at = 0
        self._started = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the row."""
        seconds = time.perf_counter() - self._started
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        row = cast("Classifier", pl_module).row()
        self.rows.append({"epoch": trainer.current_epoch, "lr": rate, **row, "seconds": seconds})
        for logger in trainer.loggers:
            logger.log_metrics({"lr": rate, **row, "seconds": seconds}, step=trainer.current_epoch)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of an interrupted run."""
        self.rows = state_dict["rows"]
        self.resumed_at = len(self.rows)


class Checkpointer(Callback):
    """Saves the whole state of the run after every epoch, over the file of the epoch before."""

    def __init__(self, path: Path, after: Callable[[], None]) -> None:
        self.path = path
        self.after = after

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; then let the run folder write what goes beside the checkpoint."""
        trainer.save_checkpoint(self.path)
        self.after()


class SafeCheckpointIO(TorchCheckpointIO):
    """Checkpoints written beside their place and renamed, and read without unpickling code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write to a temporary name in the same folder, then rename."""
        path = Path(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            torch.save(checkpoint, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read tensors and plain values only, to the CPU, whatever the caller proposes."""
        try:
            checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # half a dozen types on a damaged file
            raise ValueError(f"out: the checkpoint {path} is damaged ({error}); pass resume=False") from error
        return checkpoint


def make_optimizer(network: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser; parameters of one dimension are spared the decay unless ``decay_all``."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trainable:
        raise ValueError("model has no parameter that requires a gradient")
    decayed = [p for p in trainable if recipe.decay_all or p.ndim > 1]
    spared = [p for p in trainable if not (recipe.decay_all or p.ndim > 1)]
    groups = [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in ((decayed, recipe.weight_decay), (spared, 0.0))
        if parameters
    ]
    if recipe.optimizer == "adamw":
        return AdamW(groups, lr=recipe.lr)
    return SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)


def make_scheduler(optimizer: Optimizer, recipe: Recipe, total_steps: int) -> LRScheduler:
    """The recipe's schedule over ``total_steps`` batches."""
    return LambdaLR(optimizer, lambda step: schedule_factor(step, total_steps, recipe))


def schedule_factor(step: int, total_steps: int, recipe: Recipe) -> float:
    """The share of ``recipe.lr`` that a schedule gives to a step (from 0).

    Example:
        >>> recipe = Recipe(schedule="cosine", warmup=0.2)
        >>> [round(schedule_factor(step, 10, recipe), 3) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]

    References:
        Smith and Topin, Super-convergence (2018), for the one cycle; its cosine form and numbers are torch's.
    """
    if recipe.schedule == "onecycle":
        peak = max(0.0, recipe.warmup * total_steps - 1)  # the step with the full rate, need not be whole
        if step < peak:
            return _cosine(ONE_CYCLE_START, 1.0, step / peak)
        return _cosine(1.0, ONE_CYCLE_END, (step - peak) / max(1.0, total_steps - 1 - peak))
    warmup_steps = round(recipe.warmup * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if recipe.schedule == "constant":
        return 1.0
    return _cosine(1.0, 0.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))


def _cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from ``start`` at share 0 to ``end`` at share 1."""
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
