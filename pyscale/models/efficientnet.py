"""EfficientNet B0 to B7, each scalable further in depth, width and resolution.

Module names, state-dict keys, normalisation and initialisation are those of torchvision, so its checkpoints load.

References:
    Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, table 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from pyscale.models.architecture import Architecture, Network
from pyscale.models.layers import ConvNormActivation, SqueezeExcitation, StochasticDepth, initialise_convolutions
from pyscale.models.scaling import CHANNEL_DIVISOR, Scaling, round_channels, round_depth, round_resolution


@dataclass(frozen=True)
class MBConvStage:
    """One stage: ``blocks`` inverted residuals with squeeze and excitation, the first with ``stride``."""

    kernel: int
    stride: int
    expand: int
    channels: int
    blocks: int

    def scaled(self, scaling: Scaling) -> MBConvStage:
        """The same stage, deeper and wider."""
        return replace(
            self,
            channels=round_channels(self.channels * scaling.width),
            blocks=round_depth(self.blocks * scaling.depth),
        )


@dataclass(frozen=True, kw_only=True)
class EfficientNetArchitecture(Architecture):
    """A strided stem, stages of MBConv blocks, a 1 x 1 head four times as wide as the last stage, and a classifier.

    The head has at least ``least_head`` channels. ``stochastic_depth`` is the probability that a branch is dropped past
    the last block; it grows linearly from 0 at the first.
    """

    stages: tuple[MBConvStage, ...]
    stem: int = 32
    least_head: int = CHANNEL_DIVISOR
    dropout: float = 0.2
    stochastic_depth: float = 0.2
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1

    @property
    def head(self) -> int:
        """Channels of the 1 x 1 head."""
        return max(self.least_head, 4 * self.stages[-1].channels)

    def scaled(self, scaling: Scaling) -> EfficientNetArchitecture:
        """Scale all three dimensions; dropout, stochastic depth and normalisation stay."""
        return replace(
            self,
            stages=tuple(stage.scaled(scaling) for stage in self.stages),
            stem=round_channels(self.stem * scaling.width),
            image_size=round_resolution(self.image_size * scaling.resolution),
        )

    def network(self) -> EfficientNet:
        """A freshly initialised :class:`EfficientNet`."""
        return EfficientNet(self)


class MBConv(nn.Module):
    """Expand, filter depthwise, squeeze and excite, project linearly; a shortcut where the shape is kept."""

    def __init__(
        self, in_channels: int, stage: MBConvStage, *, stride: int, drop: float, norm: partial[nn.BatchNorm2d]
    ) -> None:
        super().__init__()
        hidden = in_channels * stage.expand
        layers: list[nn.Module] = []
        if stage.expand != 1:
            layers.append(ConvNormActivation(in_channels, hidden, 1, norm=norm, activation=_silu))
        layers += [
            ConvNormActivation(hidden, hidden, stage.kernel, stride=stride, groups=hidden, norm=norm, activation=_silu),
            SqueezeExcitation(hidden, max(1, in_channels // 4), activation=_silu),
            ConvNormActivation(hidden, stage.channels, 1, norm=norm, activation=None),
        ]
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(drop)
        self.residual = stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, channels, h / stride, w / stride)."""
        out: Tensor = self.block(x)
        if self.residual:
            out = self.stochastic_depth(out)
            out += x
        return out


class EfficientNet(Network):
    """An EfficientNet as its architecture says, with torchvision's module names, normalisation and initialisation."""

    def __init__(self, architecture: EfficientNetArchitecture) -> None:
        super().__init__(architecture)
        norm = partial(nn.BatchNorm2d, eps=architecture.norm_eps, momentum=architecture.norm_momentum)
        channels = architecture.stem
        layers: list[nn.Module] = [
            ConvNormActivation(architecture.in_channels, channels, 3, stride=2, norm=norm, activation=_silu)
        ]
        total = sum(stage.blocks for stage in architecture.stages)
        done = 0
        for stage in architecture.stages:
            blocks = []
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                drop = architecture.stochastic_depth * done / total
                blocks.append(MBConv(channels, stage, stride=stride, drop=drop, norm=norm))
                channels = stage.channels
                done += 1
            layers.append(nn.Sequential(*blocks))
        layers.append(ConvNormActivation(channels, architecture.head, 1, norm=norm, activation=_silu))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        linear = nn.Linear(architecture.head, architecture.num_classes)
        self.classifier = nn.Sequential(nn.Dropout(architecture.dropout, inplace=True), linear)
        initialise_convolutions(self)
        bound = 1 / math.sqrt(architecture.num_classes)
        nn.init.uniform_(linear.weight, -bound, bound)
        nn.init.zeros_(linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, num_classes)."""
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))
        return logits


def _silu() -> nn.Module:
    return nn.SiLU(inplace=True)


_B0 = EfficientNetArchitecture(
    stages=(
        MBConvStage(3, 1, 1, 16, 1),
        MBConvStage(3, 2, 6, 24, 2),
        MBConvStage(5, 2, 6, 40, 2),
        MBConvStage(3, 2, 6, 80, 3),
        MBConvStage(5, 1, 6, 112, 3),
        MBConvStage(5, 2, 6, 192, 4),
        MBConvStage(3, 1, 6, 320, 1),
    )
)


def _published(depth: float, width: float, image_size: int, dropout: float) -> EfficientNetArchitecture:
    """B0 under published coefficients, which are not exact powers of the paper's bases, nor is the resolution."""
    return replace(_B0.scaled(Scaling(depth, width)), image_size=image_size, dropout=dropout)


def _tensorflow_norm(architecture: EfficientNetArchitecture) -> EfficientNetArchitecture:
    """The original's BatchNorm; torchvision has it from B5 up, where its weights were converted from TensorFlow's."""
    return replace(architecture, norm_eps=1e-3, norm_momentum=0.01)


EFFICIENTNETS = {
    "efficientnet_b0": _B0,
    "efficientnet_b1": _published(1.1, 1.0, 240, 0.2),
    "efficientnet_b2": _published(1.2, 1.1, 260, 0.3),
    "efficientnet_b3": _published(1.4, 1.2, 300, 0.3),
    "efficientnet_b4": _published(1.8, 1.4, 380, 0.4),
    "efficientnet_b5": _tensorflow_norm(_published(2.2, 1.6, 456, 0.4)),
    "efficientnet_b6": _tensorflow_norm(_published(2.6, 1.8, 528, 0.5)),
    "efficientnet_b7": _tensorflow_norm(_published(3.1, 2.0, 600, 0.5)),
}
