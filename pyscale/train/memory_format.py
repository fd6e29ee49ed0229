"""When the channels-last memory format may be used."""

from __future__ import annotations

import torch
from torch import nn

SMALLEST_SAFE_CHANNELS = 16  # the channel block of the widest instruction set (AVX-512); 8 with AVX2


def channels_last_is_safe(model: nn.Module, device: torch.device) -> bool:
    """Whether a network's gradients are right in the channels-last format.

    On x86 oneDNN's weight gradient of a strided 1 x 1 convolution writes past its workspace where the format is
    channels-last and there are fewer input channels than a vector block: wrong gradients with several threads, a
    corrupted heap with one. Such convolutions are the shortcuts of narrow residual networks.

    Args:
        model: The network.
        device: Where it is to be trained; only the CPU is concerned.

    Returns:
        Whether no convolution of the network is of that kind.

    Example:
        >>> narrow, wide = (nn.Conv2d(channels, 32, 1, stride=2) for channels in (8, 16))
        >>> channels_last_is_safe(narrow, torch.device("cpu")), channels_last_is_safe(wide, torch.device("cpu"))
        (False, True)

    References:
        oneDNN, "1x1 convolution backward_weights writes past the rtus workspace",
        https://github.com/uxlfoundation/oneDNN/issues/6035
    """
    return device.type != "cpu" or not any(
        isinstance(module, nn.Conv2d)
        and set(module.kernel_size) == {1}
        and max(module.stride) > 1
        and module.in_channels // module.groups < SMALLEST_SAFE_CHANNELS
        for module in model.modules()
    )
