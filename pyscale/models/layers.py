"""Building blocks that families share, with torchvision's module names inside."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class ConvNormActivation(nn.Sequential):
    """A convolution without bias that keeps the size (but for its stride), a norm, and an activation unless it is None.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the kernel, odd.
        stride: step of the kernel.
        groups: ``in_channels`` for a depthwise convolution.
        norm: makes the norm for a number of channels.
        activation: makes the activation, or None.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        activation: Callable[[], nn.Module] | None,
    ) -> None:
        padding = (kernel - 1) // 2
        convolution = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        super().__init__(convolution, norm(out_channels), *([] if activation is None else [activation()]))


class SqueezeExcitation(nn.Module):
    """Scale every channel by a gate computed from all channels' means.

    Args:
        channels: channels of the input and the output.
        squeezed: channels between the two 1 x 1 convolutions.
        activation: makes the activation between them.
        gate: makes the function that turns the last one's outputs into factors.

    References:
        Hu, Shen and Sun, "Squeeze-and-Excitation Networks", CVPR 2018, equations 2 to 4.
    """

    def __init__(
        self,
        channels: int,
        squeezed: int,
        *,
        activation: Callable[[], nn.Module],
        gate: Callable[[], nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation()
        self.scale_activation = gate()

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
        gate: Tensor = self.scale_activation(
            self.fc2(self.activation(self.fc1(self.avgpool(x))))
        )  # (n, channels, 1, 1)
        return gate * x


class StochasticDepth(nn.Module):
    """In training, drop a whole residual branch for each image with probability ``p``, and scale up those that survive.

    References:
        Huang, Sun, Liu, Sedra and Weinberger, "Deep Networks with Stochastic Depth", ECCV 2016, section 3.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, branch: Tensor) -> Tensor:
        """Map (n, channels, h, w) to the same shape."""
        if not self.training or self.p == 0:
            return branch
        kept = torch.empty(branch.shape[0], 1, 1, 1, dtype=branch.dtype, device=branch.device).bernoulli_(1 - self.p)
        return branch * kept.div_(1 - self.p)

    def extra_repr(self) -> str:
        """Show the probability in the printed network."""
        return f"p={self.p:.4g}"


def initialise_convolutions(network: nn.Module) -> None:
    """Draw kernels from He's normal distribution over the fan out, and set biases to zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
