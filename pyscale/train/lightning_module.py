"""The Lightning side of a run: a module that applies a recipe, and the callbacks that record and checkpoint it.

Importing this module imports Lightning, so only :func:`pyscale.train.fit` does, when it is called.
"""

from __future__ import annotations

import io
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from lightning.fabric.plugins import ClusterEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pyscale.distributed import Crew
from pyscale.train.batches import Batches
from pyscale.train.distillation import Teacher
from pyscale.train.errors import DivergenceError
from pyscale.train.recipes import Recipe
from pyscale.train.results import Row
from pyscale.train.seeding import derive_seed, seed_everything

Batch = tuple[Tensor, Tensor]

ONE_CYCLE_START = 1 / 25  # of the peak rate
ONE_CYCLE_END = ONE_CYCLE_START / 1e4


class Classifier(LightningModule):
    """A network with its recipe: loss, optimiser, schedule, and the sums a history row is made of."""

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        seed: int,
        batches: Batches,
        crew: Crew,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.teacher = teacher
        self.crew = crew
        self.sizes: list[int] = []  # of the epoch's batches, other processes' parts included
        self.network = network
        self.recipe = recipe
        self.seed = seed
        self.batches = batches
        self.sums: dict[str, list[Tensor | float]] = {}

    def train_dataloader(self) -> Batches:
        """The batches of the present epoch; the trainer asks anew before every one."""
        self.batches.set_epoch(self.current_epoch)
        self.sizes = self.batches.sizes()
        return self.batches

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimiser with its schedule stepped every batch."""
        optimizer = make_optimizer(self.network, self.recipe)
        scheduler = make_scheduler(optimizer, self.recipe, self.recipe.epochs * len(self.batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Seed what draws from the global generators, so that an epoch does not depend on those before it."""
        stream = "global" if self.crew.first else f"global of rank {self.crew.rank}"
        seed_everything(derive_seed(self.seed, self.current_epoch, stream))
        self.sums["train"] = [0.0, 0.0, 0.0]

    def on_validation_epoch_start(self) -> None:
        """Start the validation sums, of one network on all processes."""
        self.share_buffers()
        self.sums["val"] = [0.0, 0.0, 0.0]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The smoothed cross-entropy of one batch.

        Processes have parts of unequal size, and their gradients are averaged: each loss is weighted by its part times
        the processes, so that the average is the gradient of the whole batch's mean. A process without any picture of
        the batch takes part with a gradient of 0.
        """
        n = len(batch[1])
        if n == 0:
            return torch.stack([(p * 0).sum() for p in self.network.parameters() if p.requires_grad]).sum()
        loss = self._step(batch, "train", self.recipe.label_smoothing)
        if not torch.isfinite(loss):
            raise DivergenceError(
                f"the loss became {loss.item()} in epoch {self.current_epoch}, batch {batch_idx} "
                f"(learning rate {self.trainer.optimizers[0].param_groups[0]['lr']:.3g}): "
                "lower lr, lengthen warmup, set clip, or check the pictures"
            )
        return loss if self.crew.alone else loss * (n * self.crew.size / self.sizes[batch_idx])

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the validation sums."""
        if len(batch[1]):
            self._step(batch, "val", 0.0)

    def _step(self, batch: Batch, split: str, label_smoothing: float) -> Tensor:
        images, labels = batch
        scores = self.network(images)
        loss = functional.cross_entropy(scores, labels, label_smoothing=label_smoothing)
        if split == "train" and self.teacher is not None:
            loss = self.teacher.blended(loss, images, scores)
        sums = self.sums[split]
        for i, term in enumerate((loss.detach() * len(labels), (scores.argmax(1) == labels).sum(), len(labels))):
            sums[i] = sums[i] + term
        return loss

    def row(self) -> Row:
        """Loss and accuracy of the present epoch, per split, over what all processes have seen; on rank 0 alone."""
        own = {split: [float(term) for term in terms] for split, terms in self.sums.items()}
        sums = self.crew.reduce(own, _added)
        row: Row = {}
        for split, (loss, correct, n) in (sums or {}).items():
            row[f"{split}_loss"] = loss / n
            row[f"{split}_accuracy"] = correct / n
        return row

    def share_buffers(self) -> None:
        """Give all processes the mean of their running statistics, and rank 0's other buffers.

        Gradients keep parameters alike; what batch normalisation has seen of its own part of the batches is averaged.
        """
        if self.crew.alone:
            return
        own = dict(self.network.named_buffers())
        shared = self.crew.reduce(
            {name: buffer.detach().cpu() for name, buffer in own.items()},
            lambda mine, theirs: {name: _summed(name, mine[name], theirs[name]) for name in mine},
        )
        shared = self.crew.broadcast(shared)
        for name, buffer in own.items():
            statistics = _is_statistics(name)
            buffer.detach().copy_(shared[name] / self.crew.size if statistics else shared[name])


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
        classifier = cast("Classifier", pl_module)
        classifier.share_buffers()
        row = classifier.crew.broadcast({"lr": rate, **classifier.row(), "seconds": seconds})
        self.rows.append({"epoch": trainer.current_epoch, **row})
        if classifier.crew.first:
            for logger in trainer.loggers:
                logger.log_metrics(row, step=trainer.current_epoch)

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
        """Save, on rank 0 of several; there, let the run folder write what goes beside the checkpoint."""
        trainer.save_checkpoint(self.path)
        if trainer.is_global_zero:
            self.after()


class SafeCheckpointIO(TorchCheckpointIO):
    """Checkpoints written beside their place and renamed, and read without unpickling code.

    Rank 0 of several processes reads for all: the others need not see its disk.
    """

    def __init__(self, crew: Crew) -> None:
        super().__init__()
        self._crew = crew

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
        data = self._crew.on_first(lambda: torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8))
        try:
            checkpoint: dict[str, Any] = torch.load(
                io.BytesIO(data.numpy().tobytes()), map_location="cpu", weights_only=True
            )
        except Exception as error:  # half a dozen types on a damaged file
            raise ValueError(f"out: the checkpoint {path} is damaged ({error}); pass resume=False") from error
        return checkpoint


class OneOfMany(ClusterEnvironment):
    """Tells Lightning of processes that are there already: each is a node of one device."""

    def __init__(self, crew: Crew) -> None:
        super().__init__()
        self._crew = crew

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning starts none."""
        return True

    @property
    def main_address(self) -> str:
        """Not needed: the group is there."""
        return ""

    @property
    def main_port(self) -> int:
        """Not needed either."""
        return 0

    @staticmethod
    def detect() -> bool:
        """Never by itself."""
        return False

    def world_size(self) -> int:
        """The processes."""
        return self._crew.size

    def set_world_size(self, size: int) -> None:
        """It is what it is."""

    def global_rank(self) -> int:
        """This process."""
        return self._crew.rank

    def set_global_rank(self, rank: int) -> None:
        """It is what it is."""

    def local_rank(self) -> int:
        """The only process of its node."""
        return 0

    def node_rank(self) -> int:
        """This process."""
        return self._crew.rank


def _added(mine: dict[str, list[float]], theirs: dict[str, list[float]]) -> dict[str, list[float]]:
    """Sums of a split's sums over processes; a split that one of them has nothing of is the other's."""
    return {
        split: [a + b for a, b in zip(mine.get(split, [0.0] * 3), theirs.get(split, [0.0] * 3), strict=True)]
        for split in {**mine, **theirs}
    }


def _is_statistics(name: str) -> bool:
    return name.rpartition(".")[2] in ("running_mean", "running_var")


def _summed(name: str, mine: Tensor, theirs: Tensor) -> Tensor:
    return mine.double() + theirs.double() if _is_statistics(name) else mine


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
