"""Single weights set to zero, those of least magnitude first, under masks that hold while the model is fine-tuned."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as masks

from pyscale.compress.finetuning import Finetune
from pyscale.compress.layers import order_parameters, parameter_names, weight_of
from pyscale.compress.schedules import Schedule


def prune_weights(
    model: nn.Module,
    layers: dict[str, nn.Module],
    amounts: dict[str, float],
    *,
    together: bool,
    schedule: Schedule,
    finetune: Finetune | None,
) -> None:
    """Prune a model in place.

    A step masks the weights of least magnitude among those still there, then fine-tunes; a masked weight gets no
    gradient. At the end, also after an error, the masks are made permanent: zeros in plain parameters.

    Args:
        model: Owner of the layers.
        layers: Layers by name.
        amounts: Share of a layer's weights to remove, by layer name; other layers stay.
        together: Whether magnitudes compete across layers, all of which then have the same amount.
        schedule: The steps.
        finetune: Called with the model after every step.
    """
    chosen = {name: layers[name] for name in amounts}
    steps = {name: schedule.amounts(amount) for name, amount in amounts.items()}
    orders = [parameter_names(layer) for layer in chosen.values()]
    try:
        for step in range(schedule.steps):
            if together:
                _mask_together(list(chosen.values()), next(iter(steps.values()))[step])
            else:
                for name, layer in chosen.items():
                    _mask(layer, steps[name][step])
            if finetune is not None:
                finetune(model)
    finally:
        for layer, order in zip(chosen.values(), orders, strict=True):
            if hasattr(layer, "weight_mask"):
                _make_permanent(layer)
                order_parameters(layer, order)


def _mask(layer: nn.Module, amount: float) -> None:
    """Bring the share of masked weights in one layer to ``amount``."""
    masks.l1_unstructured(layer, "weight", _still_to_go([layer], amount))


def _mask_together(layers: list[nn.Module], amount: float) -> None:
    """Bring the share of masked weights in all layers together to ``amount``."""
    masks.global_unstructured(
        [(layer, "weight") for layer in layers],
        pruning_method=masks.L1Unstructured,
        amount=_still_to_go(layers, amount),
    )


def _make_permanent(layer: nn.Module) -> None:
    """Zeros in place of the mask: plain ones, where a product with the mask leaves the sign of what was there."""
    gone = _mask_of(layer) == 0
    masks.remove(layer, "weight")
    with torch.no_grad():
        weight_of(layer).masked_fill_(gone, 0.0)


def _still_to_go(layers: list[nn.Module], amount: float) -> int:
    kept = [_mask_of(layer) for layer in layers]
    total = sum(mask.numel() for mask in kept)
    gone = total - sum(int(torch.count_nonzero(mask)) for mask in kept)
    return max(0, round(amount * total) - gone)


def _mask_of(layer: nn.Module) -> Tensor:
    mask = getattr(layer, "weight_mask", None)
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return mask if isinstance(mask, Tensor) else torch.ones_like(weight)
