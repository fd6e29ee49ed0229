"""What every family has in common: a declarative architecture that can be scaled, and the network built from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from pyscale.models.scaling import Scaling

if TYPE_CHECKING:
    from typing_extensions import Self

    from pyscale.models.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Architecture(ABC):
    """The integers that define a network: channels, blocks and strides, as data.

    Args:
        image_size: side of the input image in pixels.
        num_classes: outputs of the classifier.
        in_channels: channels of the input image.
    """

    image_size: int = 224
    num_classes: int = 1000
    in_channels: int = 3

    @abstractmethod
    def scaled(self, scaling: Scaling) -> Self:
        """The same architecture with every depth, width and the resolution scaled and rounded."""

    @abstractmethod
    def network(self) -> Network:
        """A freshly initialised network of this architecture."""


class Network(nn.Module):
    """A convolutional classifier that knows its architecture, its resolution and, when made by ``build``, its recipe.

    Attributes:
        architecture: the scaled integers it was built from.
        image_size: side in pixels of the images it is meant for (other sizes work too: the head pools globally).
        recipe: the arguments of ``build`` that made it; None when the class was called directly.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.image_size = architecture.image_size
        self.recipe: Recipe | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, in_channels, height, width) to logits (n, num_classes)."""
        raise NotImplementedError
