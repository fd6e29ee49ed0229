"""Residual networks for ImageNet-sized images (ResNet-18 to 152), scalable in depth, width and resolution.

Module names, state-dict keys and initialisation are those of torchvision, so its checkpoints load.

References:
    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, table 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from pyscale.models.architecture import Architecture, Network
from pyscale.models.layers import initialise_convolutions
from pyscale.models.scaling import Scaling, round_channels, round_depth, round_resolution


@dataclass(frozen=True)
class ResNetStage:
    """One stage: ``blocks`` residual blocks of ``planes`` channels, the first with ``stride``."""

    planes: int
    blocks: int
    stride: int

    def scaled(self, scaling: Scaling) -> ResNetStage:
        """The same stage, deeper and wider."""
        planes, blocks = round_channels(self.planes * scaling.width), round_depth(self.blocks * scaling.depth)
        return ResNetStage(planes, blocks, self.stride)


@dataclass(frozen=True, kw_only=True)
class ResNetArchitecture(Architecture):
    """A residual network: a 7 x 7 stem, max pooling, then stages of basic or bottleneck blocks."""

    stages: tuple[ResNetStage, ResNetStage, ResNetStage, ResNetStage]
    bottleneck: bool
    stem: int = 64

    def scaled(self, scaling: Scaling) -> ResNetArchitecture:
        """Scale the planes, so that a bottleneck's three convolutions and its shortcut stay consistent."""
        one, two, three, four = (stage.scaled(scaling) for stage in self.stages)
        return replace(
            self,
            stages=(one, two, three, four),
            stem=round_channels(self.stem * scaling.width),
            image_size=round_resolution(self.image_size * scaling.resolution),
        )

    def network(self) -> ResNet:
        """A freshly initialised :class:`ResNet`."""
        return ResNet(self)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    expansion: ClassVar[int] = 1

    def __init__(self, in_planes: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_planes, h, w) to (n, planes, h / stride, w / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out)
        return activated


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two 1 x 1 ones, and a shortcut; the 3 x 3 carries the stride."""

    expansion: ClassVar[int] = 4

    def __init__(self, in_planes: int, planes: int, stride: int, downsample: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_planes, h, w) to (n, 4 planes, h / stride, w / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out)
        return activated


class ResNet(Network):
    """A residual network as its architecture says, with torchvision's module names and initialisation."""

    def __init__(self, architecture: ResNetArchitecture) -> None:
        super().__init__(architecture)
        self.conv1 = nn.Conv2d(architecture.in_channels, architecture.stem, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(architecture.stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        block = Bottleneck if architecture.bottleneck else BasicBlock
        inputs = (architecture.stem, *(stage.planes * block.expansion for stage in architecture.stages))
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(block, in_planes, stage) for in_planes, stage in zip(inputs[:-1], architecture.stages, strict=True)
        )
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inputs[-1], architecture.num_classes)
        initialise_convolutions(self)  # the classifier keeps torch's default

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, num_classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


def _stage(block: type[BasicBlock | Bottleneck], in_planes: int, stage: ResNetStage) -> nn.Sequential:
    out_planes = stage.planes * block.expansion
    downsample: nn.Module | None = None
    if stage.stride != 1 or in_planes != out_planes:
        # Made before its block, as torchvision does: the same seed then draws the same weights.
        downsample = nn.Sequential(
            nn.Conv2d(in_planes, out_planes, 1, stage.stride, bias=False), nn.BatchNorm2d(out_planes)
        )
    first = block(in_planes, stage.planes, stage.stride, downsample)
    return nn.Sequential(first, *(block(out_planes, stage.planes, 1, None) for _ in range(1, stage.blocks)))


def _architecture(blocks: tuple[int, int, int, int], *, bottleneck: bool) -> ResNetArchitecture:
    one, two, three, four = blocks
    stages = (ResNetStage(64, one, 1), ResNetStage(128, two, 2), ResNetStage(256, three, 2), ResNetStage(512, four, 2))
    return ResNetArchitecture(stages=stages, bottleneck=bottleneck)


RESNETS = {
    "resnet18": _architecture((2, 2, 2, 2), bottleneck=False),
    "resnet34": _architecture((3, 4, 6, 3), bottleneck=False),
    "resnet50": _architecture((3, 4, 6, 3), bottleneck=True),
    "resnet101": _architecture((3, 4, 23, 3), bottleneck=True),
    "resnet152": _architecture((3, 8, 36, 3), bottleneck=True),
}
