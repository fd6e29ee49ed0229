"""From what a layer returned to the tensor that is compared: the first one in it, if its rows are the samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

_PARTS = (list, tuple)


def first_tensor(value: Any) -> Tensor | None:
    """Return the first tensor in a nest of tuples, lists, mappings and dataclasses, depth first, or None.

    Example:
        >>> import torch
        >>> first_tensor({"hidden": (None, torch.tensor(3.0)), "cell": torch.tensor(4.0)})
        tensor(3.)
    """
    if isinstance(value, Tensor):
        return value
    for part in _parts(value):
        found = first_tensor(part)
        if found is not None:
            return found
    return None


def batch_first(module: nn.Module, activation: Tensor) -> Tensor:
    """Return the activation with samples along the first dimension where the module says they are in the second."""
    if getattr(module, "batch_first", True) is False and activation.ndim == 3:
        return activation.transpose(0, 1)
    return activation


def why_unusable(activation: Tensor | None, samples: int | None) -> str | None:
    """Return why an activation can't be compared, or None where it can.

    Args:
        activation: What :func:`first_tensor` found.
        samples: The number of samples in the batch, if known.
    """
    if activation is None:
        return "its output holds no tensor"
    if activation.is_nested or activation.layout != torch.strided:
        return "its output is a nested or sparse tensor; convert it to a dense one"
    if not activation.is_floating_point():
        kind = str(activation.dtype).removeprefix("torch.")
        return f"its output has dtype {kind}; only floating-point activations can be compared"
    shape = tuple(activation.shape)
    if activation.ndim == 0 or (samples is not None and shape[0] != samples):
        return f"its output has shape {shape}, whose first dimension is not the batch of {samples} samples"
    return "its output has no features" if activation.numel() == 0 else None


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, _PARTS):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    return ()
