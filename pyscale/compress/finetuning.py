"""What trains a network between two steps of its compression."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

Finetune = Callable[[nn.Module], object]


def check_finetune(finetune: object) -> None:
    """Raise TypeError for what is neither None nor a function."""
    if finetune is not None and not callable(finetune):
        raise TypeError(f"finetune must be a function that trains the model it is given, got {finetune!r}")
