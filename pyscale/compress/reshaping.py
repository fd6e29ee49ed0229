"""A freshly built model made as narrow as a pruned one, so that pruned models need no pickling."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

_SHOWN = 5


def reshape(model: nn.Module, state_dict: Mapping[str, Tensor]) -> nn.Module:
    """Resize a model's layers to the tensors of a state dict, and load it.

    The state dict of a model that had channels taken out (:func:`pyscale.compress.prune`) says by its shapes how wide
    every layer is. So the original architecture and the state dict are enough to have the pruned model again.
    Convolutions (their groups follow from their weights), linear layers, batch and instance norms, group and layer
    norms and PReLUs are resized; anything else must have its shape already.

    Args:
        model: As built, before pruning; changed in place. Training mode and device stay.
        state_dict: Of the pruned model.

    Returns:
        The model.

    Raises:
        ValueError: Keys are missing or unexpected, or a tensor's shape can't be had by resizing a layer. The model is
            unchanged then.

    Example:
        >>> def build(channels):
        ...     return nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU(), nn.Conv2d(channels, 4, 1))
        >>> reshape(build(8), build(5).state_dict())[2]
        Conv2d(5, 4, kernel_size=(1, 1), stride=(1, 1))
    """
    present = model.state_dict()
    missing, unexpected = [k for k in present if k not in state_dict], [k for k in state_dict if k not in present]
    if missing or unexpected:
        kinds = {"missing": missing, "not in the model": unexpected}
        raise ValueError(f"state_dict: {'; '.join(f'{kind}: {_few(keys)}' for kind, keys in kinds.items() if keys)}")
    changed: dict[str, dict[str, torch.Size]] = {}
    for key, tensor in present.items():
        if tensor.shape != state_dict[key].shape:
            name, _, attribute = key.rpartition(".")
            changed.setdefault(name, {})[attribute] = state_dict[key].shape
    _check(model, changed)
    for name, shapes in changed.items():
        _resize(model.get_submodule(name), shapes)
    model.load_state_dict(state_dict)
    return model


def _check(model: nn.Module, changed: dict[str, dict[str, torch.Size]]) -> None:
    """Raise unless every change of shape is one that :func:`_resize` can make."""
    for name, shapes in changed.items():
        module = model.get_submodule(name)
        for attribute, shape in shapes.items():
            old = getattr(module, attribute).shape
            wide = 2 if isinstance(module, _ConvNd | nn.Linear) and attribute == "weight" else 1
            if not isinstance(module, _RESIZED) or len(shape) != len(old) or shape[wide:] != old[wide:]:
                raise ValueError(
                    f"state_dict: {name}.{attribute} of shape {tuple(shape)} does not fit {type(module).__name__} "
                    f"with {tuple(old)}, which is not resized that way"
                )
        if isinstance(module, _ConvNd) and "weight" in shapes:
            filters = shapes["weight"][0]
            each = _filters_a_group(module) if _is_depthwise(module) else module.groups
            if filters % each:
                raise ValueError(f"state_dict: {name}.weight has {filters} filters, no multiple of {each}")


def _resize(module: nn.Module, shapes: dict[str, torch.Size]) -> None:
    """Give a layer parameters and buffers of other shapes, and the counts that follow from them."""
    for attribute, shape in shapes.items():
        old = getattr(module, attribute)
        new = torch.empty(shape, dtype=old.dtype, device=old.device)
        setattr(module, attribute, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)
    shape = next(iter(shapes.values())) if "weight" not in shapes else shapes["weight"]
    if isinstance(module, _ConvNd) and "weight" in shapes:
        if _is_depthwise(module):
            module.groups = shape[0] // _filters_a_group(module)
        first, second = (shape[0], shape[1] * module.groups)
        inputs, outputs = (first, second) if module.transposed else (second, first)
        module.in_channels, module.out_channels = inputs, outputs
    elif isinstance(module, nn.Linear) and "weight" in shapes:
        module.out_features, module.in_features = shape
    elif isinstance(module, _NormBase):
        module.num_features = shape[0]
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = shape[0]
    elif isinstance(module, nn.LayerNorm):
        module.normalized_shape = tuple(shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = shape[0]


_RESIZED = (_ConvNd, nn.Linear, _NormBase, nn.GroupNorm, nn.LayerNorm, nn.PReLU)


def _is_depthwise(module: _ConvNd) -> bool:
    return module.groups == module.in_channels > 1


def _filters_a_group(module: _ConvNd) -> int:
    """Rows of the weight that belong to a group: outputs, or inputs of a transposed convolution."""
    return (module.in_channels if module.transposed else module.out_channels) // module.groups


def _few(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
