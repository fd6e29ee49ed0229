"""A network of a study that is made from a trained one: pruned, fine-tuned, perhaps shared, and kept in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pyscale.comparison.files import replacing
from pyscale.compress import Schedule, prune, save, share_weights
from pyscale.models import Network
from pyscale.studies.amounts import least_amount, limit_of
from pyscale.studies.budgets import BudgetError, Compression
from pyscale.studies.run_cache import RunCache
from pyscale.studies.trained_networks import COMPRESSION_FILE, SPARSE_FILE, WEIGHTS_FILE, keep_recipe, open_trained
from pyscale.train import Data, History, Recipe, Trained, evaluate, fit
from pyscale.train.runs import weights_digest

HISTORY_FILE = "history.csv"
_FORMAT = 2  # 2: amounts found by latency are shares measured in turns


def tuning_recipe(recipe: Recipe, compression: Compression) -> Recipe:
    """How a pruned network is fine-tuned: as it was trained, at a third of the rate.

    Chosen on training pictures that were held out, never on those that a study measures with (the digits,
    ``cifar_resnet8``, eight seeds, three passes; ``python -m benchmarks.tuning_rate``): a tenth of the rate costs 0.8
    points more than a third, and the whole rate can't be told from a third.
    """
    return recipe.but(epochs=compression.epochs, lr=recipe.lr / 3)


def sharing_recipe(recipe: Recipe, compression: Compression) -> Recipe:
    """How shared values are fine-tuned: a centroid's gradient is a sum over its members, so steps are of fixed size."""
    return recipe.but(epochs=compression.sharing_epochs, optimizer="adamw", lr=1e-4, weight_decay=0.0)


def compressed(
    original: Trained,
    data: Data,
    compression: Compression,
    out: Path,
    *,
    resume: bool = True,
    cache: RunCache | None = None,
    **options: Any,
) -> Trained:
    """Compress a trained network, or take up what a killed run left.

    Args:
        original: The trained network, left as it is.
        data: What it was trained on.
        compression: What to do.
        out: The folder: ``compression.json``, the runs ``pruning/`` (of a schedule ``pruning/1/`` and so on) and
            ``sharing/``, and at the end the file that holds the network: ``network.psz``, or ``weights.pt`` of one that
            is dense.
        resume: False starts anew.
        cache: Where finished runs of all studies are.
        **options: Of :func:`pyscale.train.fit`: device, threads, progress.

    Returns:
        The compressed network, its history that of fine-tuning.

    Raises:
        BudgetError: If the budget cannot be met.
        ValueError: If ``out`` holds another compression.
    """
    job = _Job(original, data, compression, out, options)
    where = {name: str(options.get(name)) for name in ("device", "threads")}  # they decide rounding
    key = None if cache is None else cache.key({**job.asked, **where})
    if not resume:
        for file in (job.asked_file, job.network_file):
            file.unlink(missing_ok=True)
    elif cache is not None and key is not None and not job.asked_file.exists():
        cache.fetch(key, out)
    amount = job.amount()
    taken_up = job.network_file.exists()
    if not taken_up:
        job.make(amount, resume=resume)
        if cache is not None and key is not None:
            cache.keep(key, out)
    network = open_trained(out)
    history = History.from_csv((out / HISTORY_FILE).read_text())
    recipe = tuning_recipe(original.recipe, compression)
    accuracy = evaluate(network, data, device=options.get("device"))
    return Trained(network, history, accuracy, recipe, original.seed, out, recipe.epochs if taken_up else 0)


@dataclass(frozen=True)
class _Job:
    original: Trained
    data: Data
    compression: Compression
    out: Path
    options: dict[str, Any]

    @property
    def asked_file(self) -> Path:
        return self.out / COMPRESSION_FILE

    @property
    def network_file(self) -> Path:
        return self.out / (SPARSE_FILE if self.compression.in_sparse_file else WEIGHTS_FILE)

    @property
    def asked(self) -> dict[str, Any]:
        """Everything that decides the outcome but what is measured."""
        recipe = self.original.recipe
        return {
            "format": _FORMAT,
            "original": weights_digest(self.original.model),
            "compression": _decided(self.compression),
            "seed": self.original.seed,
            "tuning": tuning_recipe(recipe, self.compression).to_dict(),
            "sharing": sharing_recipe(recipe, self.compression).to_dict(),
            "data": repr(self.data),
        }

    def amount(self) -> float:
        """The share to remove: as given, or found once and written down, so that a resumed run removes the same."""
        asked = json.loads(json.dumps(self.asked))
        if self.asked_file.exists():
            there = json.loads(self.asked_file.read_text())
            if there["asked"] != asked:
                differ = sorted(name for name in asked if there["asked"].get(name) != asked[name])
                raise ValueError(
                    f"out: {self.out} holds another compression (other {', '.join(differ)}). Choose another folder, "
                    "or pass resume=False to start anew"
                )
        else:
            there = {"asked": asked, **self._found()}
            self.out.mkdir(parents=True, exist_ok=True)
            with replacing(self.asked_file) as file:
                file.write((json.dumps(there, indent=2) + "\n").encode())
        if there["amount"] is None:
            raise BudgetError(there["reason"])
        return float(there["amount"])

    def _found(self) -> dict[str, Any]:
        """The amount, or why there is none."""
        if self.compression.budget is None:
            return {"amount": self.compression.amount}
        limit = limit_of(self.compression.budget, self.original.model)
        try:
            return {"amount": least_amount(self.original.model, self.compression, limit)}
        except BudgetError as error:
            return {"amount": None, "reason": str(error)}

    def make(self, amount: float, *, resume: bool) -> None:
        rows: list[dict[str, float]] = []

        def trainer(stage: str, recipe: Recipe, *, numbered: bool = False) -> Callable[[nn.Module], None]:
            calls = count()

            def train(model: nn.Module) -> None:
                step = next(calls)
                out = self.out / stage / str(step + 1) if numbered else self.out / stage
                seed = self.original.seed + step
                done = fit(model, self.data, recipe=recipe, seed=seed, out=out, resume=resume, **self.options)
                rows.extend({**row, "epoch": len(rows)} for row in done.history)

            return train

        recipe, compression = self.original.recipe, self.compression
        schedule = None if compression.schedule is None else Schedule(compression.schedule, compression.steps)
        network = prune(
            self.original.model,
            amount,
            granularity=compression.granularity,
            scope=compression.scope,
            schedule=schedule,
            finetune=trainer("pruning", tuning_recipe(recipe, compression), numbered=schedule is not None),
        )
        if compression.bits is not None:
            tune = trainer("sharing", sharing_recipe(recipe, compression))
            share_weights(network, compression.bits, finetune=tune, inplace=True)
        assert isinstance(network, Network)
        keep_recipe(network, self.out)
        with replacing(self.out / HISTORY_FILE) as file:
            file.write(History(rows).to_csv().encode())
        if compression.in_sparse_file:
            save(network, self.network_file)
        else:
            with replacing(self.network_file) as file:
                torch.save(network.state_dict(), file)


def _decided(compression: Compression) -> dict[str, Any]:
    """What decides the outcome: how steps are made only where there are some, so that older runs are taken up."""
    asked = asdict(compression)
    if compression.schedule is None:
        del asked["schedule"], asked["steps"]
    if compression.scope == "global":
        del asked["scope"]
    return asked
