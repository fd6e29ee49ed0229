"""How networks are compressed deeply: trained, pruned by a schedule, shared; and the plans that were run to the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyscale.compress import Schedule
from pyscale.train import Recipe


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
        from_weights: Whether ``training`` goes on from trained weights, and is too short for fresh ones.
    """

    family: str
    amount: float | Mapping[str, float]
    bits: int | Mapping[str, int]
    schedule: Schedule
    training: Recipe
    tuning: Recipe
    sharing: Recipe
    from_weights: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


_TRAINING = Recipe(epochs=12, optimizer="adamw", lr=2e-3, weight_decay=1e-2)
_TUNING = Recipe(epochs=2, optimizer="adamw", lr=1e-3, weight_decay=0.1)
_SHARING = Recipe(epochs=1, optimizer="adamw", lr=1e-4, weight_decay=0.0)
_GOING_ON = Recipe(epochs=6, lr=0.01, weight_decay=1e-4, crop=0.125, flip=True)  # SGD, a tenth of the published rate

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
        tuning=_TUNING.but(weight_decay=0.0),
        sharing=_SHARING,
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
"""Plans for MNIST: one and six minutes of one core.

On its test pictures LeNet-300-100 became 44 times smaller and gained 0.11 points in the mean of three seeds (it gained
with each: fine-tuning under decay goes on where training stopped). LeNet-5 became 42.7 times smaller and lost 0.06
points in the mean of three seeds, 0.00 to 0.14.
"""
