"""MobileNetV3, large and small, scalable in depth, width and resolution.

Module names, state-dict keys, normalisation and initialisation are those of torchvision, so its checkpoints load.

References:
    Howard et al., "Searching for MobileNetV3", ICCV 2019, tables 1 and 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from pyscale.models.architecture import Architecture, Network
from pyscale.models.layers import ConvNormActivation, SqueezeExcitation, initialise_convolutions
from pyscale.models.scaling import Scaling, round_channels, round_depth, round_resolution


@dataclass(frozen=True)
class SearchedStage:
    """One stage of inverted residuals to ``channels``, the first with ``stride``.

    ``hidden`` holds the channels inside each block: they were searched for block by block, and are no multiples of
    those outside. ``squeeze`` adds squeeze and excitation; ``hard_swish`` replaces ReLU.
    """

    kernel: int
    channels: int
    hidden: tuple[int, ...]
    stride: int
    squeeze: bool
    hard_swish: bool

    def scaled(self, scaling: Scaling) -> SearchedStage:
        """The same stage, wider inside and outside, and deeper: blocks beyond the published ones repeat the last."""
        blocks = round_depth(len(self.hidden) * scaling.depth)
        published = self.hidden[:blocks]
        deeper = published + published[-1:] * (blocks - len(published))
        return replace(
            self,
            channels=round_channels(self.channels * scaling.width),
            hidden=tuple(round_channels(channels * scaling.width) for channels in deeper),
        )


@dataclass(frozen=True, kw_only=True)
class MobileNetV3Architecture(Architecture):
    """A strided stem, stages of inverted residuals, a 1 x 1 layer six times as wide as the last, and two linear ones.

    ``head`` is the width between the two linear layers.
    """

    stages: tuple[SearchedStage, ...]
    head: int
    stem: int = 16
    dropout: float = 0.2

    def scaled(self, scaling: Scaling) -> MobileNetV3Architecture:
        """Scale all three dimensions; the head's width too, as torchvision does."""
        return replace(
            self,
            stages=tuple(stage.scaled(scaling) for stage in self.stages),
            stem=round_channels(self.stem * scaling.width),
            head=round_channels(self.head * scaling.width),
            image_size=round_resolution(self.image_size * scaling.resolution),
        )

    def network(self) -> MobileNetV3:
        """A freshly initialised :class:`MobileNetV3`."""
        return MobileNetV3(self)


class SearchedInvertedResidual(nn.Module):
    """Expand, filter depthwise, perhaps squeeze and excite, project linearly; a shortcut where the shape is kept."""

    def __init__(self, in_channels: int, hidden: int, stage: SearchedStage, *, stride: int) -> None:
        super().__init__()
        activation = _hard_swish if stage.hard_swish else _relu
        layers: list[nn.Module] = []
        if hidden != in_channels:
            layers.append(ConvNormActivation(in_channels, hidden, 1, norm=_norm, activation=activation))
        layers.append(
            ConvNormActivation(
                hidden, hidden, stage.kernel, stride=stride, groups=hidden, norm=_norm, activation=activation
            )
        )
        if stage.squeeze:
            squeezed = round_channels(hidden // 4)
            layers.append(SqueezeExcitation(hidden, squeezed, activation=_relu, gate=nn.Hardsigmoid))
        layers.append(ConvNormActivation(hidden, stage.channels, 1, norm=_norm, activation=None))
        self.block = nn.Sequential(*layers)
        self.residual = stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, channels, h / stride, w / stride)."""
        out: Tensor = self.block(x)
        if self.residual:
            out += x
        return out


class MobileNetV3(Network):
    """A MobileNetV3 as its architecture says, with torchvision's module names, normalisation and initialisation."""

    def __init__(self, architecture: MobileNetV3Architecture) -> None:
        super().__init__(architecture)
        channels = architecture.stem
        layers: list[nn.Module] = [
            ConvNormActivation(architecture.in_channels, channels, 3, stride=2, norm=_norm, activation=_hard_swish)
        ]
        for stage in architecture.stages:
            for index, hidden in enumerate(stage.hidden):
                stride = stage.stride if index == 0 else 1
                layers.append(SearchedInvertedResidual(channels, hidden, stage, stride=stride))
                channels = stage.channels
        layers.append(ConvNormActivation(channels, 6 * channels, 1, norm=_norm, activation=_hard_swish))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, architecture.head),
            _hard_swish(),
            nn.Dropout(architecture.dropout, inplace=True),
            nn.Linear(architecture.head, architecture.num_classes),
        )
        initialise_convolutions(self)
        for layer in self.classifier:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0, 0.01)
                nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, num_classes)."""
        logits: Tensor = self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))
        return logits


_norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)


def _relu() -> nn.Module:
    return nn.ReLU(inplace=True)


def _hard_swish() -> nn.Module:
    return nn.Hardswish(inplace=True)


MOBILENETS_V3 = {
    "mobilenet_v3_small": MobileNetV3Architecture(
        stages=(
            SearchedStage(3, 16, (16,), 2, squeeze=True, hard_swish=False),
            SearchedStage(3, 24, (72, 88), 2, squeeze=False, hard_swish=False),
            SearchedStage(5, 40, (96, 240, 240), 2, squeeze=True, hard_swish=True),
            SearchedStage(5, 48, (120, 144), 1, squeeze=True, hard_swish=True),
            SearchedStage(5, 96, (288, 576, 576), 2, squeeze=True, hard_swish=True),
        ),
        head=1024,
    ),
    "mobilenet_v3_large": MobileNetV3Architecture(
        stages=(
            SearchedStage(3, 16, (16,), 1, squeeze=False, hard_swish=False),
            SearchedStage(3, 24, (64, 72), 2, squeeze=False, hard_swish=False),
            SearchedStage(5, 40, (72, 120, 120), 2, squeeze=True, hard_swish=False),
            SearchedStage(3, 80, (240, 200, 184, 184), 2, squeeze=False, hard_swish=True),
            SearchedStage(3, 112, (480, 672), 1, squeeze=True, hard_swish=True),
            SearchedStage(5, 160, (672, 960, 960), 2, squeeze=True, hard_swish=True),
        ),
        head=1280,
    ),
}
