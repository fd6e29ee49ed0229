"""The three stages of deep compression on one network: pruned, shared, Huffman-coded, each measured and in a file.

.. code-block:: python

    result = compress_deeply("lenet_300_100", from_npz("mnist.npz"), "outputs/lenet", seed=0)
    print(result)  # rates, accuracies and what every layer takes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pyscale.compress import Report, Schedule, load, prune, save, share_weights
from pyscale.models import rebuild
from pyscale.studies.running import Step
from pyscale.studies.trained_networks import build_seeded, keep_recipe
from pyscale.train import Accuracy, Data, Recipe, evaluate, fit


@dataclass(frozen=True)
class CompressionPlan:
    """How a network is trained and compressed.

    Args:
        family: A name that :func:`pyscale.models.build` knows.
        amount: Share of the weights to prune; a mapping gives shares by layer.
        bits: Of a code, for all layers or by layer.
        schedule: The steps of pruning, each followed by ``tuning``.
        training: Of the dense network.
        tuning: Of the weights left after each step of pruning.
        sharing: Of the shared values.
    """

    family: str
    amount: float | Mapping[str, float]
    bits: int | Mapping[str, int]
    schedule: Schedule
    training: Recipe
    tuning: Recipe
    sharing: Recipe


_TRAINING = Recipe(epochs=12, optimizer="adamw", lr=2e-3, weight_decay=1e-2)
_TUNING = Recipe(epochs=2, optimizer="adamw", lr=1e-3, weight_decay=0.1)
_SHARING = Recipe(epochs=1, optimizer="adamw", lr=1e-4, weight_decay=0.0)

PLANS = {
    "lenet_300_100": CompressionPlan(
        family="lenet_300_100",
        amount=0.925,
        bits=5,
        schedule=Schedule("cubic", 8),
        training=_TRAINING,
        tuning=_TUNING.but(epochs=3),
        sharing=_SHARING,
    ),
    "lenet5": CompressionPlan(
        family="lenet5",
        amount=0.93,
        bits={"conv*": 8, "ip*": 5},
        schedule=Schedule("cubic", 6),
        training=_TRAINING.but(epochs=8),
        tuning=_TUNING,
        sharing=_SHARING,
    ),
}
"""Plans for MNIST, one core and minutes."""


@dataclass(frozen=True)
class Stage:
    """A network after one stage.

    Attributes:
        name: ``"trained"``, ``"pruned"``, ``"shared"`` or ``"coded"``.
        accuracy: On the held-out pictures, of the network read back from the file.
        report: Of the file; symbols take the same bits each in all but the last.
        path: The file.
    """

    name: str
    accuracy: Accuracy
    report: Report
    path: Path


@dataclass(frozen=True)
class DeeplyCompressed:
    """A network's stages, in order.

    Attributes:
        plan: What was done.
        seed: Of first weights and trainings.
        stages: Trained, pruned, shared, coded.
    """

    plan: CompressionPlan
    seed: int
    stages: tuple[Stage, ...]

    @property
    def rate(self) -> float:
        """How many times smaller the last file is than the trained network in memory."""
        return self.stages[-1].report.rate

    @property
    def points_lost(self) -> float:
        """Accuracy of the trained network less that of the compressed one, in percentage points."""
        return 100 * (self.stages[0].accuracy.value - self.stages[-1].accuracy.value)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "family": self.plan.family,
            "seed": self.seed,
            "rate": self.rate,
            "points_lost": self.points_lost,
            "stages": [
                {
                    "name": stage.name,
                    "accuracy": stage.accuracy.to_dict(),
                    "bytes_file": stage.report.bytes_file,
                    "rate": stage.report.rate,
                    "tensors": list(stage.report.rows()),
                }
                for stage in self.stages
            ],
        }

    def __str__(self) -> str:
        lines = [
            f"{stage.name:<8} {100 * stage.accuracy.value:.2f} %  {stage.report.bytes_file:>8} bytes  "
            f"{stage.report.rate:.1f} times smaller"
            for stage in self.stages
        ]
        return "\n".join([*lines, "", str(self.stages[-1].report)])


def compress_deeply(
    plan: CompressionPlan | str,
    data: Data,
    out: str | Path,
    *,
    seed: int = 0,
    resume: bool = True,
    progress: bool = True,
    on_step: Callable[[Step], None] | None = None,
    **options: Any,
) -> DeeplyCompressed:
    """Train a network, prune it, share its weights and Huffman-code them, and measure all stages on held-out pictures.

    Sizes are those of real files, and accuracies those of networks rebuilt from the files. Every training keeps its
    run in ``out``, so a killed study goes on where it stopped. The held-out pictures decide nothing: the plan is
    fixed beforehand and the last weights of every training are taken.

    Args:
        plan: A plan, or the name of one in ``PLANS``.
        data: Pictures of the network's size.
        out: The folder: ``runs/`` and one ``.psz`` file a stage.
        seed: Of first weights and trainings.
        resume: False trains anew.
        progress: Whether the trainings' progress bars are shown.
        on_step: Called as each part begins.
        **options: Passed to :func:`pyscale.train.fit`, such as ``threads=1``.

    Returns:
        Accuracies and reports.

    Raises:
        ValueError: If the plan is unknown, or ``out`` holds trainings of another one.
        ImportError: If the ``train`` extra is not installed.

    References:
        Han, Mao and Dally, "Deep compression", ICLR 2016 (arXiv 1510.00149).
    """
    if isinstance(plan, str):
        if plan not in PLANS:
            raise ValueError(f"plan must be a CompressionPlan or one of {', '.join(PLANS)}, got {plan!r}")
        plan = PLANS[plan]
    steps = _Steps(plan, on_step)
    out = Path(out)

    def trainer(kind: str, recipe: Recipe) -> Callable[[nn.Module], None]:
        def train(model: nn.Module) -> None:
            number = steps.begin(kind)
            folder = out / "runs" / f"{number}-{kind}"
            fit(model, data, recipe=recipe, seed=seed + number, out=folder, resume=resume, progress=progress, **options)

        return train

    network = build_seeded(
        plan.family, seed, num_classes=data.num_classes, in_channels=data.channels, image_size=_side(data)
    )
    keep_recipe(network, out)
    trainer("train", plan.training)(network)
    pruned = prune(network, plan.amount, schedule=plan.schedule, finetune=trainer("prune", plan.tuning))
    shared = share_weights(pruned, plan.bits, finetune=trainer("share", plan.sharing))
    steps.begin("measure")
    config = network.recipe.to_dict() if network.recipe is not None else None
    stages = [
        _stage(name, model, data, out / f"{name}.psz", config, huffman=name == "coded")
        for name, model in (("trained", network), ("pruned", pruned), ("shared", shared), ("coded", shared))
    ]
    return DeeplyCompressed(plan, seed, tuple(stages))


def _stage(name: str, model: nn.Module, data: Data, path: Path, config: Any, *, huffman: bool) -> Stage:
    save(model, path, config=config, huffman=huffman)
    read = load(path)
    network = rebuild(read.config)
    network.load_state_dict(read.state_dict)
    return Stage(name, evaluate(network, data), read.report, path)


def _side(data: Data) -> int:
    if not isinstance(data.image_size, int):
        raise ValueError(f"data: pictures must be square and of one size, got {data!r}")
    return data.image_size


class _Steps:
    """Numbers the parts of a compression."""

    def __init__(self, plan: CompressionPlan, on_step: Callable[[Step], None] | None) -> None:
        self.total = plan.schedule.steps + 3
        self.number = 0
        self._on_step = on_step

    def begin(self, title: str) -> int:
        self.number += 1
        if self._on_step is not None:
            self._on_step(Step(self.number, self.total, title))
        return self.number
