"""Weights that share a few values: trained quantisation, the second stage of deep compression."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from numbers import Integral

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pyscale.compress.clustering import cluster
from pyscale.compress.finetuning import Finetune, check_finetune
from pyscale.compress.layers import order_parameters, parameter_names, per_layer, weight_of, weighted_layers

MOST_BITS = 8  # of a code: what the file format stores a symbol in


def share_weights(
    model: nn.Module,
    bits: int | Mapping[str, int],
    *,
    finetune: Finetune | None = None,
    inplace: bool = False,
) -> nn.Module:
    r"""Let the weights of each layer share at most ``2**bits`` values, chosen by k-means and then fine-tuned.

    In every convolution and linear layer the non-zero weights are clustered, and each becomes its cluster's centroid.
    Zeros stay zero and take one of the values, so a pruned layer has at most ``2**bits - 1`` others. Biases and norms
    stay as they are. In memory the weights remain dense tensors of the same size and speed: bytes are saved by
    :func:`pyscale.compress.save`.

    While ``finetune`` runs, a layer's only weight parameter is its vector of centroids c, and the weight is computed
    from it: :math:`W_{ij} = c_{I_{ij}}`. Its gradient is the sum over its members,

    .. math:: \frac{\partial L}{\partial c_k} = \sum_{ij} \frac{\partial L}{\partial W_{ij}} 1(I_{ij} = k)

    so any optimiser over ``model.parameters()`` fine-tunes the shared values; the sums are large, so its rate must be
    lower than that of single weights. Afterwards the model has plain parameters again.

    Args:
        model: Has convolutions or linear layers.
        bits: 1 to 8: one number, or numbers by layer name or glob (the first that matches counts; layers that none
            matches are left alone).
        finetune: Trains the model it is given, in place; None leaves the centroids of k-means.
        inplace: Whether the model given is changed; False leaves it alone and returns a copy.

    Returns:
        The model, its weights shared.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: ``bits`` is out of range or a glob matches no layer; a weight is not finite, or belongs to two
            layers.

    Example:
        >>> layer = nn.Linear(100, 10)
        >>> shared = share_weights(nn.Sequential(layer), bits=3)
        >>> len(shared[0].weight.unique())
        8

    References:
        Han, Mao and Dally, "Deep compression", ICLR 2016 (arXiv 1510.00149), section 3, equation 3.
    """
    check_finetune(finetune)
    layers = weighted_layers(model)
    asked = per_layer("bits", bits, list(layers), _checked_bits)
    _refuse_tied({name: layers[name] for name in asked})
    if not inplace:
        model = copy.deepcopy(model)
        layers = weighted_layers(model)
    chosen = {name: layers[name] for name in asked if torch.count_nonzero(weight_of(layers[name]))}
    orders = [parameter_names(layer) for layer in chosen.values()]
    try:
        for name, layer in chosen.items():
            parametrize.register_parametrization(layer, "weight", _SharedWeight(weight_of(layer), asked[name]))
        if finetune is not None:
            finetune(model)
    finally:
        for layer, order in zip(chosen.values(), orders, strict=True):
            if parametrize.is_parametrized(layer, "weight"):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
                order_parameters(layer, order)
    return model


class _SharedWeight(nn.Module):
    """A weight as a function of its centroids: (k,) -> the weight's shape. Knows which non-zero place has which."""

    places: Tensor
    members: Tensor

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        flat = weight.flatten()
        places = flat.nonzero().squeeze(1)
        k = 2**bits - (len(places) < len(flat))
        centroids, members = cluster(flat[places].double().cpu().numpy(), k)
        self.shape = weight.shape
        self._start = torch.from_numpy(np.ascontiguousarray(centroids)).to(weight)
        self.register_buffer("places", places)
        self.register_buffer("members", torch.from_numpy(members).to(weight.device))

    def forward(self, centroids: Tensor) -> Tensor:
        """Put every centroid where its members are."""
        flat = centroids.new_zeros(self.shape.numel())
        return flat.index_copy(0, self.places, centroids.index_select(0, self.members)).view(self.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """The centroids that k-means found."""
        return self._start


def _checked_bits(argument: str, bits: object) -> int:
    if isinstance(bits, bool) or not isinstance(bits, Integral):
        raise TypeError(f"{argument} must be an int from 1 to {MOST_BITS}, got {bits!r}")
    count = int(bits)
    if not 1 <= count <= MOST_BITS:
        raise ValueError(f"{argument} must be from 1 to {MOST_BITS}, got {bits}")
    return count


def _refuse_tied(layers: dict[str, nn.Module]) -> None:
    """Raise where two layers have the same weight: each would get centroids of its own."""
    seen: dict[int, str] = {}
    for name, layer in layers.items():
        first = seen.setdefault(id(layer.weight), name)
        if first != name:
            raise ValueError(f"model: layers {first!r} and {name!r} have one weight together; it can't be shared apart")
