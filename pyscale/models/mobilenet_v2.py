"""MobileNetV2, scalable in depth, width and resolution.

Module names, state-dict keys and initialisation are those of torchvision, so its checkpoints load.

References:
    Sandler, Howard, Zhu, Zhmoginov and Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018,
    table 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from pyscale.models.architecture import Architecture, Network
from pyscale.models.layers import ConvNormActivation, initialise_convolutions
from pyscale.models.scaling import Scaling, round_channels, round_depth, round_resolution


@dataclass(frozen=True)
class InvertedResidualStage:
    """One stage: ``blocks`` inverted residuals to ``channels``, expanded ``expand`` times inside, the first strided."""

    expand: int
    channels: int
    blocks: int
    stride: int

    def scaled(self, scaling: Scaling) -> InvertedResidualStage:
        """The same stage, deeper and wider."""
        return replace(
            self,
            channels=round_channels(self.channels * scaling.width),
            blocks=round_depth(self.blocks * scaling.depth),
        )


@dataclass(frozen=True, kw_only=True)
class MobileNetV2Architecture(Architecture):
    """A strided stem, stages of inverted residuals, a 1 x 1 head and a classifier."""

    stages: tuple[InvertedResidualStage, ...]
    stem: int = 32
    head: int = 1280
    dropout: float = 0.2

    def scaled(self, scaling: Scaling) -> MobileNetV2Architecture:
        """Scale all three dimensions; a narrower network keeps the width of its head, as the paper does."""
        return replace(
            self,
            stages=tuple(stage.scaled(scaling) for stage in self.stages),
            stem=round_channels(self.stem * scaling.width),
            head=round_channels(self.head * max(1.0, scaling.width)),
            image_size=round_resolution(self.image_size * scaling.resolution),
        )

    def network(self) -> MobileNetV2:
        """A freshly initialised :class:`MobileNetV2`."""
        return MobileNetV2(self)


class InvertedResidual(nn.Module):
    """Expand by a 1 x 1 convolution, filter depthwise, project linearly; a shortcut where the shape is kept."""

    def __init__(self, in_channels: int, channels: int, *, stride: int, expand: int) -> None:
        super().__init__()
        hidden = in_channels * expand
        layers: list[nn.Module] = []
        if expand != 1:
            layers.append(ConvNormActivation(in_channels, hidden, 1, activation=_relu6))
        layers.append(ConvNormActivation(hidden, hidden, 3, stride=stride, groups=hidden, activation=_relu6))
        layers += [nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, channels, h / stride, w / stride)."""
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


class MobileNetV2(Network):
    """A MobileNetV2 as its architecture says, with torchvision's module names and initialisation."""

    def __init__(self, architecture: MobileNetV2Architecture) -> None:
        super().__init__(architecture)
        channels = architecture.stem
        layers: list[nn.Module] = [
            ConvNormActivation(architecture.in_channels, channels, 3, stride=2, activation=_relu6)
        ]
        for stage in architecture.stages:
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                layers.append(InvertedResidual(channels, stage.channels, stride=stride, expand=stage.expand))
                channels = stage.channels
        layers.append(ConvNormActivation(channels, architecture.head, 1, activation=_relu6))
        self.features = nn.Sequential(*layers)
        linear = nn.Linear(architecture.head, architecture.num_classes)
        self.classifier = nn.Sequential(nn.Dropout(architecture.dropout), linear)
        initialise_convolutions(self)
        nn.init.normal_(linear.weight, 0, 0.01)
        nn.init.zeros_(linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, num_classes)."""
        pooled = adaptive_avg_pool2d(self.features(images), (1, 1))
        logits: Tensor = self.classifier(torch.flatten(pooled, 1))
        return logits


def _relu6() -> nn.Module:
    return nn.ReLU6(inplace=True)


MOBILENETS_V2 = {
    "mobilenet_v2": MobileNetV2Architecture(
        stages=(
            InvertedResidualStage(1, 16, 1, 1),
            InvertedResidualStage(6, 24, 2, 2),
            InvertedResidualStage(6, 32, 3, 2),
            InvertedResidualStage(6, 64, 4, 2),
            InvertedResidualStage(6, 96, 3, 1),
            InvertedResidualStage(6, 160, 3, 2),
            InvertedResidualStage(6, 320, 1, 1),
        )
    )
}
