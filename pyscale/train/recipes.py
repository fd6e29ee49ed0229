"""How to train: one frozen value that says everything about the optimisation, and the recipes that were measured."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from numbers import Real
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how a network is fitted, apart from the network, the data and the seed.

    Args:
        epochs: Passes over the training set.
        batch_size: Pictures a step; an epoch is cut into batches of nearly equal size, none dropped.
        optimizer: ``"sgd"`` (Nesterov momentum) or ``"adamw"``.
        lr: The highest learning rate of the schedule.
        momentum: Of SGD, the same under every schedule.
        weight_decay: L2 penalty of SGD, decoupled decay of AdamW.
        decay_all: False spares biases and normalisation parameters (everything of one dimension) from the decay.
        schedule: ``"onecycle"`` (cosine up to ``lr``, cosine down to nearly 0), ``"cosine"`` (linear warm-up, cosine to
            0) or ``"constant"`` (linear warm-up, then ``lr``). Stepped every batch.
        warmup: Share of all steps spent rising, in [0, 1); "onecycle" needs more than 0.
        label_smoothing: Share of the target spread over all classes, in [0, 1).
        clip: Largest gradient norm; None does not clip.
        crop: Random crops after zero padding of this share of the picture's side (0.125 is 4 of 32 pixels).
        flip: Mirror half the pictures left to right. Wrong for digits and letters.
        channels_last: Train in the channels-last memory format where that is safe (faster; results change by rounding
            only).

    Raises:
        TypeError: If a rate, share or norm is no number.
        ValueError: If a number is out of its range or a name is unknown.

    Example:
        >>> Recipe(epochs=3, optimizer="adamw", lr=1e-3).but(epochs=5).epochs
        5
    """

    epochs: int = 10
    batch_size: int = 128
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decay_all: bool = False
    schedule: Literal["onecycle", "cosine", "constant"] = "onecycle"
    warmup: float = 0.25
    label_smoothing: float = 0.0
    clip: float | None = None
    crop: float = 0.0
    flip: bool = False
    channels_last: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):  # which JSON does not know
                object.__setattr__(self, field.name, value.item())
        for name in _NUMBERS:
            if not isinstance(getattr(self, name), Real) and (name, getattr(self, name)) != ("clip", None):
                raise TypeError(f"{name} must be a number, got {getattr(self, name)!r}")
        for name, count in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            _check(name, count, type(count) is int and count >= 1, "an int >= 1")
        _check("optimizer", self.optimizer, self.optimizer in ("sgd", "adamw"), '"sgd" or "adamw"')
        _check("schedule", self.schedule, self.schedule in _SCHEDULES, " or ".join(f'"{s}"' for s in _SCHEDULES))
        _check("lr", self.lr, math.isfinite(self.lr) and self.lr > 0, "finite and > 0")
        _check("momentum", self.momentum, 0 <= self.momentum < 1, "in [0, 1)")
        _check("weight_decay", self.weight_decay, self.weight_decay >= 0, ">= 0")
        _check("warmup", self.warmup, 0 <= self.warmup < 1, "in [0, 1)")
        _check("warmup", self.warmup, self.warmup > 0 or self.schedule != "onecycle", '> 0 for schedule="onecycle"')
        _check("label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "in [0, 1)")
        _check("clip", self.clip, self.clip is None or self.clip > 0, "None or > 0")
        _check("crop", self.crop, 0 <= self.crop <= 1, "in [0, 1]")

    @property
    def open_ended(self) -> bool:
        """Whether no step's rate depends on the number of epochs, so that a longer run begins with a shorter one.

        Example:
            >>> Recipe(schedule="constant", warmup=0).open_ended, Recipe(schedule="onecycle").open_ended
            (True, False)
        """
        return self.schedule == "constant" and self.warmup == 0

    def but(self, **changes: Any) -> Recipe:
        """The same recipe with some fields changed; an unknown field is a TypeError that names near matches."""
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                near = get_close_matches(name, known)
                hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
                raise TypeError(f"a recipe has no field {name!r}; {hint}")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


_NUMBERS = ("lr", "momentum", "weight_decay", "warmup", "label_smoothing", "clip", "crop")
_SCHEDULES = ("onecycle", "cosine", "constant")


def _check(name: str, value: Any, holds: bool, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {expected}, got {value!r}")


DEFAULT = Recipe()
"""For pictures nothing is known about: no augmentation."""

DIGITS = Recipe(epochs=12, batch_size=64, lr=0.1, weight_decay=2e-3, label_smoothing=0.1, crop=0.125)
"""For scikit-learn's digits and small residual networks.

Held-out accuracy of ``cifar_resnet20`` with one input channel, mean of three seeds: 98.2 % at 8 pixels, 99.1 % at 16.
A pass takes one core 1.3 and 2.5 s.
"""

PICTURES = Recipe(epochs=30, batch_size=128, lr=0.2, weight_decay=5e-4, crop=0.125, flip=True)
"""For small natural pictures (CIFAR) and CIFAR ResNets."""
