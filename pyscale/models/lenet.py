"""The LeNets that pruning and compression are measured with: LeNet-300-100 and Caffe's LeNet-5, scalable.

State-dict keys are Caffe's layer names: ``conv1``, ``conv2`` and ``ip1``, ``ip2``, ...

References:
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", Proc. IEEE 1998.
    Jia et al., "Caffe: convolutional architecture for fast feature embedding", ACM Multimedia 2014, whose LeNet-5 has
    20 and 50 channels and 500 hidden units.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu

from pyscale.models.architecture import Architecture, Network
from pyscale.models.scaling import Scaling, round_channels, round_depth, round_resolution

_KERNEL, _POOLED = 5, 2


@dataclass(frozen=True, kw_only=True)
class LeNetArchitecture(Architecture):
    """5 x 5 convolutions without padding, each halved by max pooling, then fully connected layers.

    Args:
        convolutions: channels of each convolution; there may be none.
        hidden: units of each fully connected layer before the classifier.
        image_size: side of the input image in pixels; the network takes no other, since nothing pools globally.
        num_classes: outputs of the classifier.
        in_channels: channels of the input image.
    """

    convolutions: tuple[int, ...]
    hidden: tuple[int, ...]
    image_size: int = 28
    num_classes: int = 10
    in_channels: int = 1

    def scaled(self, scaling: Scaling) -> LeNetArchitecture:
        """Scale widths, resolution, and depth by repeating hidden layers; widths of 1 are left as published."""
        repeats = round_depth(scaling.depth)
        return replace(
            self,
            convolutions=tuple(_widened(channels, scaling.width) for channels in self.convolutions),
            hidden=tuple(_widened(units, scaling.width) for units in self.hidden for _ in range(repeats)),
            image_size=round_resolution(self.image_size * scaling.resolution),
        )

    def network(self) -> LeNet:
        """A freshly initialised :class:`LeNet`."""
        return LeNet(self)

    @property
    def features(self) -> int:
        """How many numbers the first fully connected layer reads.

        Raises:
            ValueError: the image is too small for the convolutions.
        """
        side, channels = self.image_size, self.in_channels
        for width in self.convolutions:
            side, channels = (side - _KERNEL + 1) // _POOLED, width
        if side < 1:
            raise ValueError(f"image_size: {self.image_size} is too small for {len(self.convolutions)} convolutions")
        return channels * side * side


class LeNet(Network):
    """A LeNet as its architecture says; as in Caffe's, convolutions are followed by pooling alone."""

    def __init__(self, architecture: LeNetArchitecture) -> None:
        super().__init__(architecture)
        channels = (architecture.in_channels, *architecture.convolutions)
        units = (architecture.features, *architecture.hidden, architecture.num_classes)
        self._convolutions = [f"conv{i}" for i in range(1, len(channels))]
        self._products = [f"ip{i}" for i in range(1, len(units))]
        for name, into, out in zip(self._convolutions, channels, channels[1:], strict=False):
            self.add_module(name, nn.Conv2d(into, out, _KERNEL))
        for name, into, out in zip(self._products, units, units[1:], strict=False):
            self.add_module(name, nn.Linear(into, out))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, image_size, image_size) to logits (n, num_classes)."""
        x = images
        for name in self._convolutions:
            x = max_pool2d(self.get_submodule(name)(x), _POOLED)
        x = torch.flatten(x, 1)
        *hidden, classifier = self._products
        for name in hidden:
            x = relu(self.get_submodule(name)(x))
        logits: Tensor = self.get_submodule(classifier)(x)
        return logits


def _widened(width: int, factor: float) -> int:
    return width if factor == 1 else round_channels(width * factor)


LENETS = {
    "lenet_300_100": LeNetArchitecture(convolutions=(), hidden=(300, 100)),
    "lenet5": LeNetArchitecture(convolutions=(20, 50), hidden=(500,)),
}
