"""MobileNetV1, scalable in depth, width and resolution.

torchvision has none. State-dict keys are those of the PyTorch checkpoint in widest use, marvis/pytorch-mobilenet's:
``model.0.{0,1}`` for the stem (convolution, norm), ``model.1`` to ``model.13`` for the blocks with ``0, 1`` (depthwise)
and ``3, 4`` (pointwise), and ``fc``.

References:
    Howard, Zhu, Chen, Kalenichenko, Wang, Weyand, Andreetto and Adam, "MobileNets: Efficient Convolutional Neural
    Networks for Mobile Vision Applications", 2017, table 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pyscale.models.architecture import Architecture, Network
from pyscale.models.layers import ConvNormActivation, initialise_convolutions
from pyscale.models.scaling import Scaling, round_channels, round_depth, round_resolution


@dataclass(frozen=True)
class SeparableStage:
    """One stage: ``blocks`` depthwise separable convolutions to ``channels``, the first with ``stride``."""

    channels: int
    blocks: int
    stride: int

    def scaled(self, scaling: Scaling) -> SeparableStage:
        """The same stage, deeper and wider."""
        return replace(
            self,
            channels=round_channels(self.channels * scaling.width),
            blocks=round_depth(self.blocks * scaling.depth),
        )


@dataclass(frozen=True, kw_only=True)
class MobileNetV1Architecture(Architecture):
    """A strided stem, stages of depthwise separable convolutions of one width each, and a classifier."""

    stages: tuple[SeparableStage, ...]
    stem: int = 32

    def scaled(self, scaling: Scaling) -> MobileNetV1Architecture:
        """Scale all three dimensions, every layer's width alike."""
        return replace(
            self,
            stages=tuple(stage.scaled(scaling) for stage in self.stages),
            stem=round_channels(self.stem * scaling.width),
            image_size=round_resolution(self.image_size * scaling.resolution),
        )

    def network(self) -> MobileNetV1:
        """A freshly initialised :class:`MobileNetV1`."""
        return MobileNetV1(self)


class SeparableConvolution(nn.Sequential):
    """A depthwise 3 x 3 convolution, then a 1 x 1 one, each with norm and activation; there is no shortcut."""

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        depthwise = ConvNormActivation(in_channels, in_channels, 3, stride=stride, groups=in_channels, activation=_relu)
        super().__init__(*depthwise, *ConvNormActivation(in_channels, channels, 1, activation=_relu))


class MobileNetV1(Network):
    """A MobileNetV1 as its architecture says."""

    def __init__(self, architecture: MobileNetV1Architecture) -> None:
        super().__init__(architecture)
        channels = architecture.stem
        layers: list[nn.Module] = [
            ConvNormActivation(architecture.in_channels, channels, 3, stride=2, activation=_relu)
        ]
        for stage in architecture.stages:
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                layers.append(SeparableConvolution(channels, stage.channels, stride=stride))
                channels = stage.channels
        self.model = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, architecture.num_classes)
        initialise_convolutions(self)
        nn.init.normal_(self.fc.weight, 0, 0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, num_classes)."""
        logits: Tensor = self.fc(torch.flatten(self.avgpool(self.model(images)), 1))
        return logits


def _relu() -> nn.Module:
    return nn.ReLU(inplace=True)


MOBILENETS_V1 = {
    "mobilenet_v1": MobileNetV1Architecture(
        stages=(
            SeparableStage(64, 1, 1),
            SeparableStage(128, 2, 2),
            SeparableStage(256, 2, 2),
            SeparableStage(512, 6, 2),
            SeparableStage(1024, 2, 2),
        )
    )
}
