"""ResNet-RS, the published presets of depth and resolution, each scalable further in all three dimensions.

What :mod:`pyscale.models.resnet` has not: a stem of three 3 x 3 convolutions with a strided fourth in place of pooling,
average pooling in the shortcuts (ResNet-D), squeeze and excitation with a quarter of the channels, dropout and
stochastic depth. State-dict keys are those of timm's ``resnetrs*``. A name holds the depth, then the side of the image:
the paper scales depth where training is long enough to overfit, width elsewhere, and resolution slowly.

References:
    Bello, Fedus, Du, Cubuk, Srinivas, Lin, Shlens and Zoph, "Revisiting ResNets: Improved Training and Scaling
    Strategies", NeurIPS 2021.
    He et al., "Bag of Tricks for Image Classification with Convolutional Neural Networks", CVPR 2019, figure 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from pyscale.models.architecture import Architecture, Network
from pyscale.models.layers import SqueezeExcitation, StochasticDepth, initialise_convolutions
from pyscale.models.resnet import ResNetStage
from pyscale.models.scaling import Scaling, round_channels, round_resolution


@dataclass(frozen=True, kw_only=True)
class ResNetRSArchitecture(Architecture):
    """A stem of four convolutions, stages of bottleneck blocks with squeeze and excitation, and a classifier.

    ``stem`` holds the channels of the stem's first two convolutions and of its last two. A block of stage k of 4 drops
    its branch with probability ``stochastic_depth * (k + 1) / 5``.
    """

    stages: tuple[ResNetStage, ResNetStage, ResNetStage, ResNetStage]
    stem: tuple[int, int] = (32, 64)
    dropout: float = 0.25
    stochastic_depth: float = 0.0

    def scaled(self, scaling: Scaling) -> ResNetRSArchitecture:
        """Scale all three dimensions; dropout and stochastic depth stay."""
        one, two, three, four = (stage.scaled(scaling) for stage in self.stages)
        first, last = (round_channels(channels * scaling.width) for channels in self.stem)
        return replace(
            self,
            stages=(one, two, three, four),
            stem=(first, last),
            image_size=round_resolution(self.image_size * scaling.resolution),
        )

    def network(self) -> ResNetRS:
        """A freshly initialised :class:`ResNetRS`."""
        return ResNetRS(self)


class SqueezedBottleneck(nn.Module):
    """A 3 x 3 convolution between two 1 x 1 ones, squeeze and excitation, and a shortcut."""

    expansion: ClassVar[int] = 4

    def __init__(
        self, in_planes: int, planes: int, stride: int, *, downsample: nn.Module | None = None, drop: float
    ) -> None:
        super().__init__()
        out_planes = planes * self.expansion
        self.conv1 = nn.Conv2d(in_planes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_planes)
        self.relu = nn.ReLU(inplace=True)
        self.se = SqueezeExcitation(out_planes, out_planes // 4, activation=_relu)
        self.stochastic_depth = StochasticDepth(drop)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_planes, h, w) to (n, 4 planes, ceil(h / stride), ceil(w / stride))."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.stochastic_depth(self.se(self.bn3(self.conv3(out))))
        out += x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out)
        return activated


class ResNetRS(Network):
    """A ResNet-RS as its architecture says, with timm's module names; every branch starts at zero."""

    def __init__(self, architecture: ResNetRSArchitecture) -> None:
        super().__init__(architecture)
        first, last = architecture.stem
        self.conv1 = nn.Sequential(
            *_unit(architecture.in_channels, first, stride=2),
            *_unit(first, first, stride=1),
            nn.Conv2d(first, last, 3, padding=1, bias=False),
        )
        self.bn1 = nn.BatchNorm2d(last)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Sequential(*_unit(last, last, stride=2))  # timm's name for what replaces the pooling
        inputs = (last, *(stage.planes * SqueezedBottleneck.expansion for stage in architecture.stages))
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(in_planes, stage, architecture.stochastic_depth * (index + 1) / (len(architecture.stages) + 1))
            for index, (in_planes, stage) in enumerate(zip(inputs[:-1], architecture.stages, strict=True), start=1)
        )
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(architecture.dropout)
        self.fc = nn.Linear(inputs[-1], architecture.num_classes)
        initialise_convolutions(self)  # the classifier keeps torch's default
        for module in self.modules():
            if isinstance(module, SqueezedBottleneck):
                nn.init.zeros_(module.bn3.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, num_classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        logits: Tensor = self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))
        return logits


def _unit(in_channels: int, channels: int, *, stride: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    convolution = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(channels), _relu()


def _stage(in_planes: int, stage: ResNetStage, drop: float) -> nn.Sequential:
    out_planes = stage.planes * SqueezedBottleneck.expansion
    downsample: nn.Module | None = None
    if stage.stride != 1 or in_planes != out_planes:
        pool = nn.Identity() if stage.stride == 1 else nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
        downsample = nn.Sequential(pool, nn.Conv2d(in_planes, out_planes, 1, bias=False), nn.BatchNorm2d(out_planes))
    first = SqueezedBottleneck(in_planes, stage.planes, stage.stride, downsample=downsample, drop=drop)
    rest = (SqueezedBottleneck(out_planes, stage.planes, 1, drop=drop) for _ in range(1, stage.blocks))
    return nn.Sequential(first, *rest)


def _relu() -> nn.Module:
    return nn.ReLU(inplace=True)


_BLOCKS = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    270: (4, 29, 53, 4),
    350: (4, 36, 72, 4),
    420: (4, 44, 87, 4),
}


def _preset(depth: int, image_size: int, dropout: float, stochastic_depth: float) -> ResNetRSArchitecture:
    one, two, three, four = _BLOCKS[depth]
    stages = (ResNetStage(64, one, 1), ResNetStage(128, two, 2), ResNetStage(256, three, 2), ResNetStage(512, four, 2))
    return ResNetRSArchitecture(
        stages=stages, image_size=image_size, dropout=dropout, stochastic_depth=stochastic_depth
    )


RESNETS_RS = {
    "resnet_rs50_160": _preset(50, 160, 0.25, 0.0),
    "resnet_rs101_160": _preset(101, 160, 0.25, 0.0),
    "resnet_rs101_192": _preset(101, 192, 0.25, 0.0),
    "resnet_rs152_192": _preset(152, 192, 0.25, 0.0),
    "resnet_rs152_224": _preset(152, 224, 0.25, 0.0),
    "resnet_rs152_256": _preset(152, 256, 0.25, 0.0),
    "resnet_rs200_256": _preset(200, 256, 0.25, 0.1),
    "resnet_rs270_256": _preset(270, 256, 0.25, 0.1),
    "resnet_rs350_256": _preset(350, 256, 0.25, 0.1),
    "resnet_rs350_320": _preset(350, 320, 0.4, 0.1),
    "resnet_rs420_320": _preset(420, 320, 0.4, 0.1),
}
