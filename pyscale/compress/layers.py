"""Which layers are compressed, and what is asked of each: one value for all, or values by name and glob."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import Tensor, nn

Value = TypeVar("Value")

WEIGHTED = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def weighted_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The convolutions and linear layers by name, in the order of ``named_modules``.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: It has no such layer, or a weight of one is not finite.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    layers: dict[str, nn.Module] = {
        name: module for name, module in model.named_modules() if isinstance(module, WEIGHTED)
    }
    if not layers:
        raise ValueError(f"model must have a convolution or a linear layer, got {type(model).__name__} without one")
    for name, layer in layers.items():
        if not torch.isfinite(weight_of(layer)).all():
            raise ValueError(f"model: the weight of layer {name!r} holds NaN or infinite values")
    return layers


def weight_of(layer: nn.Module) -> Tensor:
    """The weight a layer computes with, without its history."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def order_parameters(layer: nn.Module, names: list[str]) -> None:
    """Put a layer's parameters back into an order, which hooks and parametrizations change as they go."""
    for name in names:
        layer._parameters[name] = layer._parameters.pop(name)


def parameter_names(layer: nn.Module) -> list[str]:
    """A layer's own parameters in order, absent biases too."""
    return list(layer._parameters)


def per_layer(
    argument: str, asked: Value | Mapping[str, Value], names: list[str], check: Callable[[str, object], Value]
) -> dict[str, Value]:
    """What is asked of each layer; layers that no pattern matches are left out.

    Args:
        argument: The argument's name, for messages.
        asked: One value for all layers, or values by layer name or glob; the first that matches counts.
        names: The layers there are.
        check: Returns a value as it is meant, or raises; gets the argument's name and the value.

    Returns:
        Values by layer name, in the order of ``names``.

    Raises:
        ValueError: A pattern matches no layer.

    Example:
        >>> per_layer("bits", {"head": 4, "body.*": 8}, ["stem", "body.0", "head"], lambda argument, value: value)
        {'body.0': 8, 'head': 4}
    """
    if not isinstance(asked, Mapping):
        value = check(argument, asked)
        return dict.fromkeys(names, value)
    values = {pattern: check(f"{argument}[{pattern!r}]", value) for pattern, value in asked.items()}
    idle = [pattern for pattern in values if not any(fnmatchcase(name, pattern) for name in names)]
    if idle:
        raise ValueError(f"{argument}: {', '.join(map(repr, idle))} match no layer; there are {', '.join(names)}")
    found = {}
    for name in names:
        matching = [value for pattern, value in values.items() if fnmatchcase(name, pattern)]
        if matching:
            found[name] = matching[0]
    return found
