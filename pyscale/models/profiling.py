"""What a network costs: parameters, multiply-accumulates, activations, bytes and measured latency."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import nan
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from pyscale.models.recipe import check_count

_CONVOLUTIONS = (torch.ops.aten.convolution, torch.ops.aten._convolution, torch.ops.aten.cudnn_convolution)
_WARM_UP = 3


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
    side, channels = _image_shape(model, image_size, in_channels)
    check_count("batch_size", batch_size)
    if repeats != 0:
        check_count("repeats", repeats)
    with _evaluating(model):
        macs, activations = _count(model, _images(model, 1, channels, side))
        latency = _time(model, _images(model, batch_size, channels, side), repeats)
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


def _image_shape(model: nn.Module, image_size: int | None, in_channels: int | None) -> tuple[int, int]:
    """Side and channels of the images: as asked, else the model's own."""
    side = getattr(model, "image_size", None) if image_size is None else image_size
    if side is None:
        raise ValueError(
            "image_size: the model carries none (no model.image_size); pass the side of its images in pixels"
        )
    recipe = getattr(model, "recipe", None)
    channels = getattr(recipe, "in_channels", 3) if in_channels is None else in_channels
    check_count("image_size", side)
    check_count("in_channels", channels)
    return side, channels


def _images(model: nn.Module, batch_size: int, channels: int, side: int) -> Tensor:
    """Random images, not zeros (some hardware is faster on those), like the parameters in device and dtype."""
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0, device="cpu"))
    generator = torch.Generator("cpu").manual_seed(0)  # of its own: torch's global random state stays as it is
    return torch.rand(batch_size, channels, side, side, generator=generator, device="cpu").to(like)


def _count(model: nn.Module, image: Tensor) -> tuple[int, int]:
    """Multiply-accumulates and convolution outputs of one forward pass."""
    eager = getattr(model, "_orig_mod", model)  # what torch.compile wrapped: compiled code dispatches no convolutions
    outputs = _ConvolutionOutputs()
    with torch.no_grad(), FlopCounterMode(display=False) as flops, outputs:
        eager(image)
    return flops.get_total_flops() // 2, outputs.elements


def _time(model: nn.Module, images: Tensor, repeats: int) -> float:
    """Median seconds of a forward pass."""
    if repeats == 0 or images.is_meta:
        return nan
    seconds = []
    with torch.inference_mode():
        for _ in range(_WARM_UP + repeats):
            _synchronize(images.device)
            start = time.perf_counter()
            model(images)
            _synchronize(images.device)
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[_WARM_UP:])


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, every module's own mode restored after."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
