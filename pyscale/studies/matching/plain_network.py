"""A plain convolutional network, without shortcuts or parameters that layers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PlainNetwork(nn.Module):
    r"""Ten layers: eight convolutions with batch normalisation and ReLU, global average pooling, and the classifier.

    Of w, 2w and 4w channels: two 3 × 3 convolutions; three, the first of stride 2; two, the first of stride 2 and the
    second without padding; and one of 1 × 1. With w = 16 it is Tiny-10 of the paper below (table E.1), after All-CNN-C:
    every layer has a place of its own, none is skipped, so none is much like its neighbours by construction.

    The layers that represent are :attr:`layers`: what leaves every ReLU, and the pooled features.

    Args:
        width: Channels w of the first convolutions.
        in_channels: Channels of the pictures.
        num_classes: Outputs.
        image_size: Side of the pictures it is trained on and compared at; at least 9.

    Raises:
        ValueError: If a number is too small.

    Example:
        >>> net = PlainNetwork(width=4, in_channels=1, image_size=16)
        >>> net(torch.zeros(2, 1, 16, 16)).shape, len(net.layers)
        (torch.Size([2, 10]), 9)

    References:
        Kornblith, Norouzi, Lee and Hinton, "Similarity of neural network representations revisited", 2019;
        Springenberg et al., "Striving for simplicity: the all convolutional net", 2015.
    """

    def __init__(self, *, width: int = 16, in_channels: int = 3, num_classes: int = 10, image_size: int = 32) -> None:
        super().__init__()
        for name, value, least in (("width", width, 1), ("in_channels", in_channels, 1), ("image_size", image_size, 9)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        self.image_size = image_size
        plan = [  # channels in w, kernel size, stride, padding
            (1, 3, 1, 1),
            (1, 3, 1, 1),
            (2, 3, 2, 1),
            (2, 3, 1, 1),
            (2, 3, 1, 1),
            (4, 3, 2, 1),
            (4, 3, 1, 0),
            (4, 1, 1, 0),
        ]
        blocks, channels = [], in_channels
        for wide, kernel, stride, padding in plan:
            conv = nn.Conv2d(channels, wide * width, kernel, stride, padding, bias=False)
            channels = wide * width
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
            blocks.append(nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU()))
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers whose activations represent the pictures, in forward order; the logits are none."""
        return (*(f"blocks.{i}.2" for i in range(len(self.blocks))), "pool")

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures (n, in_channels, image_size, image_size) to scores (n, num_classes)."""
        scores: Tensor = self.classifier(torch.flatten(self.pool(self.blocks(x)), 1))
        return scores
