"""What a network costs: parameters, multiply-accumulates, activations, bytes and measured latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from pyscale.models.recipe import as_count
from pyscale.models.timing import evaluating, image_shape, pass_seconds, random_images

_CONVOLUTIONS = (torch.ops.aten.convolution, torch.ops.aten._convolution, torch.ops.aten.cudnn_convolution)


@dataclass(frozen=True)
class Profile:
    """What a network costs.

    Attributes:
        parameters: number of parameters, shared ones once.
        macs: multiply-accumulates of one image's forward pass, in convolutions and matrix products.
        activations: elements in the outputs of all convolutions for one image; on accelerators they predict inference
            time better than MACs do.
        bytes: size of all parameters and buffers as they are held in memory.
        latency: median seconds of one forward pass of ``batch_size`` images in eval mode; NaN where nothing was timed.
        image_size: side in pixels of the image that was counted and timed.
        batch_size: images per timed forward pass.
    """

    parameters: int
    macs: int
    activations: int
    bytes: int
    latency: float
    image_size: int
    batch_size: int = 1


def profile(
    model: nn.Module,
    image_size: int | None = None,
    *,
    batch_size: int = 1,
    repeats: int = 10,
    in_channels: int | None = None,
) -> Profile:
    """Count what a network costs, and time it.

    Multiply-accumulates are counted where torch dispatches convolutions and matrix products (half of its FLOP count),
    not by module class, so a subclass of ``nn.Conv2d`` or a functional call counts like any other. Activations are the
    output elements of all convolutions. Latency is the median of ``repeats`` forward passes in eval and inference mode,
    on the device that holds the model, after the counting pass and three more to warm up, with the device synchronised
    around each. On the meta device everything but latency is counted, and nothing computed. A compiled model is counted
    as it was before, and timed as compiled. The training or eval mode of every module is left as found.

    Args:
        model: any network that takes images (n, channels, side, side).
        image_size: side of the images in pixels; None is the model's own (``model.image_size``).
        batch_size: images per timed pass, at least 1; counts are always for one image.
        repeats: timed passes; 0 skips the timing.
        in_channels: channels of the images; None is the model's own (``model.recipe``), or 3 for a foreign model.

    Returns:
        The counts and the latency in seconds (NaN on the meta device, or with ``repeats=0``).

    Raises:
        TypeError: ``model`` is not a module, or a count not an integer.
        ValueError: a count is out of range, or ``image_size`` is None and the model has none.

    Example:
        >>> from pyscale.models import build
        >>> cost = profile(build("cifar_resnet20"), repeats=0)
        >>> cost.parameters, cost.macs
        (269722, 40551040)

    References:
        Radosavovic et al., "Designing Network Design Spaces", CVPR 2020, section 3 (activations).
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
    side, channels = image_shape(model, image_size, in_channels)
    batch_size = as_count("batch_size", batch_size)
    if repeats != 0:
        repeats = as_count("repeats", repeats)
    with evaluating(model):
        macs, activations = _count(model, random_images(model, 1, channels, side))
        latency = pass_seconds(model, random_images(model, batch_size, channels, side), repeats)
    return Profile(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=macs,
        activations=activations,
        bytes=sum(tensor.numel() * tensor.element_size() for tensor in (*model.parameters(), *model.buffers())),
        latency=latency,
        image_size=side,
        batch_size=batch_size,
    )


class _ConvolutionOutputs(TorchDispatchMode):  # type: ignore[no-untyped-call, unused-ignore]
    """Adds up the elements of every convolution's output."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in _CONVOLUTIONS:
            self.elements += out.numel()
        return out


def _count(model: nn.Module, image: Tensor) -> tuple[int, int]:
    """Multiply-accumulates and convolution outputs of one forward pass."""
    eager = getattr(model, "_orig_mod", model)  # what torch.compile wrapped: compiled code dispatches no convolutions
    outputs = _ConvolutionOutputs()
    with torch.no_grad(), FlopCounterMode(display=False) as flops, outputs:
        eager(image)
    return flops.get_total_flops() // 2, outputs.elements
