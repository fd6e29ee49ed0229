"""Pruning: weights set to zero, or whole channels taken out."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Literal, get_args

from torch import Tensor, nn

from pyscale.compress.channel_pruning import prune_channels
from pyscale.compress.finetuning import Finetune, check_finetune
from pyscale.compress.layers import per_layer, weighted_layers
from pyscale.compress.schedules import Kind, Schedule, as_schedule
from pyscale.compress.weight_pruning import prune_weights

Granularity = Literal["weight", "channel"]
Scope = Literal["global", "layer"]


def prune(
    model: nn.Module,
    amount: float | Mapping[str, float],
    *,
    granularity: Granularity = "weight",
    scope: Scope = "global",
    schedule: Schedule | Kind | None = None,
    finetune: Finetune | None = None,
    inplace: bool = False,
    example: Tensor | None = None,
    keep: Sequence[str] = (),
) -> nn.Module:
    """Remove the weights or the channels of least magnitude from a model's convolutions and linear layers.

    **Weights** become zeros in tensors of the same shape. While ``finetune`` runs they are held at zero by masks; at
    the end the masks are gone and plain parameters are left. This alone makes nothing faster, since dense kernels
    multiply by zeros as by other numbers, and no file smaller but one written by :func:`pyscale.compress.save`.

    **Channels** are taken out: the layer that makes a channel, its norm, and every layer that reads it become smaller,
    together with all layers tied to them by residual sums. The model accepts the same inputs and gives outputs of the
    same shape. It stays dense, with less to compute. Its state dict fits a freshly built original after
    :func:`pyscale.compress.reshape`. Groups of layers without which the model would not run, or would compute
    something else than with those channels at zero, are left whole.

    Args:
        model: Has convolutions or linear layers.
        amount: Share to remove, at least 0 and below 1: of the weights, or of the channels. A mapping gives shares by
            layer name or glob, the first that matches counting; layers that none matches stay whole.
        granularity: ``"weight"`` or ``"channel"``.
        scope: ``"global"`` lets all layers compete, so that each loses a different share; ``"layer"`` takes ``amount``
            from each. A mapping is by layer in any case.
        schedule: A :class:`Schedule` of steps, ``"cubic"`` or ``"iterative"``; ``finetune`` is called after each. None
            is one step.
        finetune: Trains the model it is given, in place.
        inplace: Whether the model given is changed; False leaves it alone and returns a copy.
        example: For channels: a batch that the model accepts, to follow them with. None is made up from the first
            layer's inputs and ``model.image_size``.
        keep: For channels: names or globs of layers whose channels stay.

    Returns:
        The pruned model.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is out of range, a glob matches no layer, a weight is not finite, a schedule has no
            ``finetune``, or the model does not accept ``example``.
        ImportError: Channels need the ``compress`` extra.

    Example:
        >>> layer = nn.Linear(20, 10)
        >>> pruned = prune(nn.Sequential(layer), 0.75)
        >>> int(pruned[0].weight.count_nonzero())
        50

    References:
        Han, Pool, Tran and Dally, "Learning both weights and connections for efficient neural networks", NIPS 2015.
        Fang, Ma, Song, Mi and Wang, "DepGraph: towards any structural pruning", CVPR 2023, for channels.
    """
    if granularity not in get_args(Granularity):
        raise ValueError(f"granularity must be one of {get_args(Granularity)}, got {granularity!r}")
    if scope not in get_args(Scope):
        raise ValueError(f"scope must be one of {get_args(Scope)}, got {scope!r}")
    steps = as_schedule(schedule)
    if schedule is not None and finetune is None:
        raise ValueError("schedule: steps without finetune between them are one step; pass finetune, or schedule=None")
    if granularity == "weight" and (example is not None or len(keep)):
        raise ValueError('example and keep are for granularity="channel"; leave a layer out by a mapping of amounts')
    check_finetune(finetune)
    amounts = per_layer("amount", amount, list(weighted_layers(model)), _checked_amount)
    if not inplace:
        model = copy.deepcopy(model)
    together = scope == "global" and not isinstance(amount, Mapping)
    if granularity == "weight":
        layers = weighted_layers(model)
        prune_weights(model, layers, amounts, together=together, schedule=steps, finetune=finetune)
    else:
        prune_channels(
            model, amounts, together=together, schedule=steps, finetune=finetune, example=example, keep=tuple(keep)
        )
    return model


def _checked_amount(argument: str, amount: object) -> float:
    if isinstance(amount, bool) or not isinstance(amount, Real):
        raise TypeError(f"{argument} must be a number, got {amount!r}")
    share = float(amount)
    if not 0 <= share < 1:
        raise ValueError(f"{argument} must be at least 0 and below 1, got {amount}")
    return share
