"""The three stages of deep compression on one network: pruned, shared, Huffman-coded, each measured and in a file.

.. code-block:: python

    result = compress_deeply("lenet_300_100", from_npz("mnist.npz"), "outputs/lenet", seed=0)
    print(result)  # rates, accuracies and what every layer takes
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from pyscale.comparison.files import replacing
from pyscale.compress import Report, load, prune, save, share_weights
from pyscale.models import rebuild
from pyscale.models.checkpoint import load_weights
from pyscale.studies.compression_plans import PLANS, CompressionPlan
from pyscale.studies.running import Step
from pyscale.studies.trained_networks import build_seeded, keep_recipe
from pyscale.train import Accuracy, Data, Recipe, evaluate, fit
from pyscale.train.runs import weights_digest


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
            "plan": self.plan.to_dict(),
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
    weights: str | Path | None = None,
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
        out: The folder: ``plan.json``, ``runs/`` and one ``.psz`` file a stage.
        seed: Of first weights and trainings.
        weights: A checkpoint that training goes on from, as for :func:`pyscale.models.build`; None is fresh weights.
            Stages are held to the network as the plan's training leaves it, not to the checkpoint: what is gained by
            seeing these pictures is no gain of compression.
        resume: False trains anew.
        progress: Whether the trainings' progress bars are shown.
        on_step: Called as each part begins.
        **options: Passed to :func:`pyscale.train.fit`, such as ``threads=1``.

    Returns:
        Accuracies and reports.

    Raises:
        ValueError: If the plan is unknown, ``out`` holds another plan, other first weights or another seed, or
            ``weights`` does not fit.
        FileNotFoundError: If there is no file at ``weights``.
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
    network = build_seeded(
        plan.family, seed, num_classes=data.num_classes, in_channels=data.channels, image_size=_side(data)
    )
    if weights is not None:
        load_weights(network, weights)
    elif plan.from_weights:
        raise ValueError(f"weights: this plan goes on from trained weights; give a checkpoint of {plan.family}")
    _keep_plan({**plan.to_dict(), "weights": None if weights is None else weights_digest(network)}, out, resume)
    keep_recipe(network, out)

    running = {"resume": resume, "progress": progress, **options}

    def trainer(kind: str, recipe: Recipe, **taught: Any) -> Callable[[nn.Module], None]:
        def train(model: nn.Module) -> None:
            number = steps.begin(kind)
            folder = out / "runs" / f"{number}-{kind}"
            fit(model, data, recipe=recipe, seed=seed + number, out=folder, **taught, **running)

        return train

    trainer("train", plan.training)(network)
    taught = {} if plan.distillation is None else {"teacher": network, "distillation": plan.distillation}
    pruned = prune(network, plan.amount, schedule=plan.schedule, finetune=trainer("prune", plan.tuning, **taught))
    shared = share_weights(pruned, plan.bits, finetune=trainer("share", plan.sharing, **taught))
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


def _keep_plan(plan: dict[str, Any], out: Path, resume: bool) -> None:
    """Write the plan into its folder, or check that the one there is the same: a training does not know of amounts."""
    path, asked = out / "plan.json", json.loads(json.dumps(plan))
    if resume and path.exists():
        there = json.loads(path.read_text())
        differing = [name for name in asked if there.get(name) != asked[name]]
        if differing:
            raise ValueError(
                f"out: {out} holds another plan: {', '.join(f'{n} is {there.get(n)!r} there' for n in differing)}. "
                "Choose another folder, or pass resume=False to start anew"
            )
    out.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write((json.dumps(asked, indent=2) + "\n").encode())


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
