"""Residual networks for small images (CIFAR's ResNet-20 to 110, any depth 6n + 2), scalable in all three dimensions.

State-dict keys are those of the published checkpoints: ``conv1``, ``bn1``, ``layerK.i.{conv1,bn1,conv2,bn2}`` and
``linear``. The shortcuts have no parameters (option A of the paper).

References:
    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from pyscale.models.architecture import Architecture, Network
from pyscale.models.scaling import Scaling, round_channels, round_depth, round_resolution


@dataclass(frozen=True, kw_only=True)
class CifarResNetArchitecture(Architecture):
    """Three stages of ``blocks`` basic blocks each; the second and the third halve the resolution."""

    blocks: int
    planes: tuple[int, int, int] = (16, 32, 64)
    image_size: int = 32
    num_classes: int = 10

    def scaled(self, scaling: Scaling) -> CifarResNetArchitecture:
        """Scale blocks, planes and resolution."""
        one, two, three = (round_channels(planes * scaling.width) for planes in self.planes)
        return replace(
            self,
            blocks=round_depth(self.blocks * scaling.depth),
            planes=(one, two, three),
            image_size=round_resolution(self.image_size * scaling.resolution),
        )

    def network(self) -> CifarResNet:
        """A freshly initialised :class:`CifarResNet`."""
        return CifarResNet(self)


class PadShortcut(nn.Module):
    """Shortcut without parameters (option A): every ``stride``-th pixel, and zero channels on both sides."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        extra = planes - in_planes
        self.padding = (extra // 2, extra - extra // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_planes, h, w) to (n, planes, ceil(h / stride), ceil(w / stride))."""
        return pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.padding))

    def extra_repr(self) -> str:
        """Show what the shortcut does in the printed network."""
        return f"stride={self.stride}, padding={self.padding}"


class CifarBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut without parameters."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = PadShortcut(in_planes, planes, stride) if stride != 1 or in_planes != planes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_planes, h, w) to (n, planes, h / stride, w / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.shortcut is None else self.shortcut(x)
        activated: Tensor = self.relu(out)
        return activated


class CifarResNet(Network):
    """A residual network for small images as its architecture says."""

    def __init__(self, architecture: CifarResNetArchitecture) -> None:
        super().__init__(architecture)
        one, two, three = architecture.planes
        self.conv1 = nn.Conv2d(architecture.in_channels, one, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(one)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(one, one, architecture.blocks, stride=1)
        self.layer2 = _stage(one, two, architecture.blocks, stride=2)
        self.layer3 = _stage(two, three, architecture.blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.linear = nn.Linear(three, architecture.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, num_classes)."""
        x = self.relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(torch.flatten(self.avgpool(x), 1))
        return logits


def _stage(in_planes: int, planes: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = CifarBlock(in_planes, planes, stride)
    return nn.Sequential(first, *(CifarBlock(planes, planes, 1) for _ in range(1, blocks)))


def cifar_architecture(depth: int) -> CifarResNetArchitecture:
    """The architecture with ``depth`` weighted layers, which must be 6n + 2 with n at least 1."""
    if depth < 8 or depth % 6 != 2:
        below = max(8, (depth - 2) // 6 * 6 + 2)
        raise ValueError(
            f"name: a CIFAR ResNet has 6n + 2 layers, got cifar_resnet{depth}; "
            f"the nearest are cifar_resnet{below} and cifar_resnet{below + 6}"
        )
    return CifarResNetArchitecture(blocks=(depth - 2) // 6)
