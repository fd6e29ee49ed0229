"""How long forward passes take: one network's in seconds, or as a share of another's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf, nan

import torch
from torch import Tensor, nn

from pyscale.models.recipe import as_count

_WARM_UP = 3
_STRETCHES, _FEWEST = 5, 2  # while two networks take turns; rounds in each


def pass_seconds(model: nn.Module, images: Tensor, repeats: int) -> float:
    """Median seconds of a forward pass, after some to warm up; NaN where nothing is computed, or nothing timed."""
    if repeats == 0 or images.is_meta:
        return nan
    with torch.inference_mode():
        seconds = [_pass(model, images) for _ in range(_WARM_UP + repeats)]
    return statistics.median(seconds[_WARM_UP:])


def latency_share(network: nn.Module, baseline: nn.Module, *, seconds: float = 0.8) -> float:
    r"""A network's latency as a share of a baseline's, both timed in the same stretches of time.

    A pass takes several times as long while other jobs run, so seconds that were measured at different times say little
    about two networks. Here they take turns, pass by pass, in five stretches; with the passes of a stretch
    :math:`t_i` and the baseline's :math:`b_i`,

    .. math:: \text{share} = \operatorname{median}_{\text{stretches}} \; \frac{\min_i t_i}{\min_i b_i}

    The least of a stretch is what a pass takes undisturbed; a moment in which the machine was faster, and had only one
    of the two, spoils one stretch. Measured with CIFAR ResNet-20 and smaller ones (0.3 to 1.3 ms) on two cores, alone
    and beside one or two processes that compute half of the time: off by 1 % (root mean square), 4 % at worst, and in 2
    seconds by 0.5 %, 1 % at worst; beside two that leave no core free by 5 %, 11 % at worst. Seconds measured at
    different times gave shares 20 to 120 % off. Half a second of the same turns, summed up in other ways: 1.6 to 3.5 %
    off by this one, 2 to 4 % by the median of single turns' ratios, 1 to 10 % (59 % at worst) by the ratio of all
    minima, 4 to 17 % by the ratio of medians.

    One image a pass, of each network's own size, in eval and inference mode, where its parameters are.

    Args:
        network: carries the side of its images (``image_size``), as the baseline does; its training or eval mode is
            left as found.
        baseline: what its latency is a share of.
        seconds: how long to measure; longer where two passes of each in every stretch take longer.

    Returns:
        The share, positive; 1 is as fast as the baseline.

    Raises:
        ValueError: a network carries no ``image_size``, or is on the meta device.
    """
    images = [_image_of(name, model) for name, model in (("network", network), ("baseline", baseline))]
    turns = list(zip((network, baseline), images, strict=True))
    with evaluating(network), evaluating(baseline), torch.inference_mode():
        for model, image in turns:
            pass_seconds(model, image, 1)
        return statistics.median(_stretch(turns, seconds / _STRETCHES) for _ in range(_STRETCHES))


def _stretch(turns: Sequence[tuple[nn.Module, Tensor]], seconds: float) -> float:
    """The ratio of the two fastest passes while two networks take turns, the one that was second being first next."""
    fastest, rounds = [inf, inf], 0
    started = time.perf_counter()
    while rounds < _FEWEST or time.perf_counter() - started < seconds:
        for place in (0, 1) if rounds % 2 == 0 else (1, 0):
            fastest[place] = min(fastest[place], _pass(*turns[place]))
        rounds += 1
    return fastest[0] / fastest[1]


def image_shape(model: nn.Module, image_size: int | None, in_channels: int | None) -> tuple[int, int]:
    """Side and channels of the images: as asked, else the model's own."""
    side = getattr(model, "image_size", None) if image_size is None else image_size
    if side is None:
        raise ValueError(
            "image_size: the model carries none (no model.image_size); pass the side of its images in pixels"
        )
    recipe = getattr(model, "recipe", None)
    channels = getattr(recipe, "in_channels", 3) if in_channels is None else in_channels
    return as_count("image_size", side), as_count("in_channels", channels)


def random_images(model: nn.Module, batch_size: int, channels: int, side: int) -> Tensor:
    """Random images, not zeros (some hardware is faster on those), like the parameters in device and dtype."""
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0, device="cpu"))
    generator = torch.Generator("cpu").manual_seed(0)  # of its own: torch's global random state stays as it is
    return torch.rand(batch_size, channels, side, side, generator=generator, device="cpu").to(like)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, every module's own mode restored after."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _image_of(name: str, model: nn.Module) -> Tensor:
    """One image of a model's own size, where it can be timed."""
    side, channels = image_shape(model, None, None)
    image = random_images(model, 1, channels, side)
    if image.is_meta:
        raise ValueError(f"{name}: expected a network on a device that computes, got one on meta")
    return image


def _pass(model: nn.Module, image: Tensor) -> float:
    """Seconds of one forward pass."""
    _synchronize(image.device)
    start = time.perf_counter()
    model(image)
    _synchronize(image.device)
    return time.perf_counter() - start
