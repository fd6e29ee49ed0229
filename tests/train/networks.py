"""Small networks the tests train."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, inner, outer, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        self.shortcut = nn.Conv2d(inner, outer, 1, stride, bias=False) if inner != outer else nn.Identity()

    def forward(self, x):
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class SmallResNet(nn.Module):
    """A CIFAR-style residual network of 6n + 2 layers."""

    def __init__(self, n=1, width=16, channels=1, classes=10, dropout=0.0, image_size=None):
        super().__init__()
        self.image_size = image_size
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        widths = [width] + [width * 2**stage for stage in range(3) for _ in range(n)]
        strides = [2 if stage and not block else 1 for stage in range(3) for block in range(n)]
        self.blocks = nn.Sequential(*(Block(*pair, s) for *pair, s in zip(widths, widths[1:], strides, strict=False)))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(widths[-1], classes)

    def forward(self, x):
        return self.linear(self.dropout(self.blocks(self.stem(x)).mean((2, 3))))


def small_resnet(seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SmallResNet(**options)
