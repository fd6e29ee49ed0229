"""From a name to a network: look up the architecture, scale it, initialise it, load weights."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from pyscale.models.architecture import Network
from pyscale.models.checkpoint import load_weights
from pyscale.models.recipe import Recipe
from pyscale.models.registry import fitted
from pyscale.models.scaling import Scaling


def build(
    name: str,
    *,
    scaling: Scaling | None = None,
    num_classes: int | None = None,
    in_channels: int = 3,
    image_size: int | None = None,
    weights: str | PathLike[str] | None = None,
) -> Network:
    """Build a network by name, scaled in depth, width and resolution.

    Every stage gets ``ceil(depth * blocks)`` blocks; every width is the nearest multiple of 8, never below 90 % of the
    exact one; the resolution is the nearest pixel. At ``Scaling(1, 1, 1)`` the network is the published one: its
    parameters, MACs, state-dict keys and shapes, and, with the same seed, the same weights bit for bit. Dropout and
    stochastic depth stay those of the named network.

    Args:
        name: one of :func:`names`, or ``cifar_resnet<d>`` with d = 6n + 2.
        scaling: factors on the named network; None is 1 in every dimension.
        num_classes: outputs of the classifier, at least 1; None is as published: 10 for the CIFAR ResNets, else 1000.
        in_channels: channels of the images, at least 1.
        image_size: side in pixels of the named network's images *before* scaling, for data of another size; None is as
            published. ``model.image_size`` is this times ``scaling.resolution``. It changes no parameter.
        weights: a checkpoint file that fits exactly: a state dict, or a dict holding one as ``state_dict``; a prefix
            ``module.`` is stripped.

    Returns:
        The network in training mode on torch's default device. ``model.image_size`` is its own resolution,
        ``model.recipe`` these arguments, ``model.architecture`` the integers they led to.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an unknown name (near matches and all known names are listed), a count below 1, or weights that do
            not fit.
        FileNotFoundError: no file at ``weights``.

    Example:
        >>> import torch
        >>> model = build("cifar_resnet8", scaling=Scaling(resolution=2), num_classes=10, in_channels=1, image_size=8)
        >>> model.image_size
        16
        >>> model(torch.zeros(5, 1, 16, 16)).shape
        torch.Size([5, 10])
    """
    base = fitted(name, num_classes=num_classes, in_channels=in_channels, image_size=image_size)
    recipe = Recipe(
        name=name,
        scaling=Scaling() if scaling is None else scaling,
        num_classes=base.num_classes,
        in_channels=base.in_channels,
        image_size=base.image_size,
    )
    network = base.scaled(recipe.scaling).network()
    network.recipe = recipe
    if weights is not None:
        load_weights(network, weights)
    return network


def rebuild(recipe: Recipe | Mapping[str, Any], *, weights: str | PathLike[str] | None = None) -> Network:
    """Build the network that a recipe describes: ``rebuild(model.recipe)`` is the same network, newly initialised.

    Args:
        recipe: a network's ``recipe``, or its ``to_dict()`` read back from a file.
        weights: a checkpoint file, as for :func:`build`.

    Returns:
        The network, as :func:`build` returns it.

    Example:
        >>> model = build("cifar_resnet8", scaling=Scaling(width=0.5), num_classes=10)
        >>> rebuild(model.recipe.to_dict()).recipe == model.recipe
        True
    """
    known = recipe if isinstance(recipe, Recipe) else Recipe.from_dict(recipe)
    return build(
        known.name,
        scaling=known.scaling,
        num_classes=known.num_classes,
        in_channels=known.in_channels,
        image_size=known.image_size,
        weights=weights,
    )
