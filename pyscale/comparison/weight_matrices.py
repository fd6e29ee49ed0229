"""The weights of convolution and linear layers as matrices, and what a row of each stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from pyscale.comparison.layers import Layers, Selection, select_layers
from pyscale.comparison.wrappers import named_modules
from pyscale.metrics.validity import check_finite
from pyscale.ops.arrays import as_matrix

Rows = Literal["inputs", "outputs"]
KINDS: tuple[type[nn.Module], ...] = (_ConvNd, nn.Linear)


@dataclass(frozen=True)
class WeightMatrix:
    """One layer's weight.

    Attributes:
        name: The layer's.
        matrix: (rows, columns).
        shape: Of the weight as the layer holds it.
        stands_for: What decides whether rows can be paired: two layers with the same have row i in common.
        row: The same in words, for messages.
        spelled_out: Whether the user named the layer, rather than a pattern or a type that it fits.
    """

    name: str
    matrix: Tensor
    shape: tuple[int, ...]
    stands_for: tuple[int, ...]
    row: str
    spelled_out: bool


def weight_matrices(
    model: nn.Module,
    layers: Layers,
    rows: Rows,
    *,
    label: str,
    argument: str,
    device: torch.device | None = None,
) -> list[WeightMatrix]:
    """Lay out the weights of a model's chosen layers.

    Args:
        model: Any module.
        layers: As for :func:`pyscale.compare_weights`.
        rows: What the rows are.
        label: What errors call the model.
        argument: What errors call ``layers``.
        device: Where the matrices go; None leaves them where the first is.

    Returns:
        At least one matrix, in the order of registration.

    Raises:
        TypeError: A weight holds no floating-point numbers.
        ValueError: No layer is left, one that was named has no weight of these kinds, or a weight is not finite.
    """
    selection = _select(model, layers, label, argument)
    found = []
    for name, module in selection.modules.items():
        weight = cast(Tensor, module.weight).detach()
        matrix, stands_for, row = _laid_out(weight, module, rows)
        subject = f"weights of layer {name!r} of {label}"
        if matrix.is_meta:
            raise ValueError(f"{subject} are on the meta device, where they have no values")
        device = device or matrix.device
        matrix = as_matrix(matrix.to(device), subject)
        check_finite(matrix, subject)
        spelled_out = name in selection.required
        found.append(WeightMatrix(name, matrix, tuple(weight.shape), stands_for, row, spelled_out))
    return found


def _select(model: nn.Module, layers: Layers, label: str, argument: str) -> Selection:
    """Return the chosen layers that have a weight of these kinds."""
    if layers is None:
        present = dict(named_modules(model)).values()
        layers = [kind for kind in KINDS if any(isinstance(module, kind) for module in present)]
        if not layers:
            raise ValueError(f"{label} has no convolution or linear layer whose weights could be compared")
    try:
        chosen = select_layers(model, layers, argument=argument)
    except ValueError as error:
        raise ValueError(f"{error} ({label})") from None
    for name in sorted(chosen.required):
        if name not in chosen.modules:
            raise ValueError(f"{argument} asks for {name!r}, a single call; weights are the same in all calls")
        if not isinstance(chosen.modules[name], KINDS):
            kind = type(chosen.modules[name]).__name__
            raise ValueError(
                f"{argument} asks for {name!r} of {label}, a {kind}; expected convolution or linear layers"
            )
    modules = {name: module for name, module in chosen.modules.items() if isinstance(module, KINDS)}
    if not modules:
        raise ValueError(f"{argument} chooses no convolution or linear layer of {label}")
    return Selection(modules, {}, chosen.required, by_default=False)


def _laid_out(weight: Tensor, module: nn.Module, rows: Rows) -> tuple[Tensor, tuple[int, ...], str]:
    """Return the matrix, what its rows stand for, and that in words."""
    groups = module.groups if isinstance(module, _ConvNd) else 1
    if isinstance(module, _ConvTransposeNd):  # (in, out/groups, kernel): bring it to (out, in/groups, kernel)
        weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    out, inputs, *kernel = weight.shape
    if rows == "outputs":
        return weight.reshape(out, -1), (out,), f"{out} output channels"
    positions = tuple(kernel) if math.prod(kernel) > 1 else ()
    grouped = (
        groups if inputs > 1 else 1
    )  # where a group has one channel, rows are kernel positions whatever the groups
    words = f"{inputs} input channels" + (f" in each of {groups} groups" if groups > 1 else "")
    if positions:
        words += f" x {' x '.join(map(str, positions))} kernel positions"
    return weight.reshape(out, -1).T, (grouped, inputs, *positions), words
