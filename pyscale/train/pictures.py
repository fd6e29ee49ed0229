"""Pictures held in memory as two tensors, so that a batch is one gather, at any resolution."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

RESIZE_CHUNK = 1024  # pictures resized at a time: bounds the float32 copy


class PictureSet(Dataset[tuple[Tensor, Tensor]]):
    """A labelled set of pictures of one size, in memory.

    Args:
        images: (n, channels, height, width), uint8 in 0..255 or float.
        labels: (n,) int64 class indices.
        source: The set this one was resized from. Resizing always starts there, so it never loses twice.

    Example:
        >>> pictures = PictureSet(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4))
        >>> pictures.resized((16, 16)).size
        (16, 16)
    """

    def __init__(self, images: Tensor, labels: Tensor, source: PictureSet | None = None) -> None:
        self.images = images
        self.labels = labels
        self.source = source

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.labels[index]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.images.shape[2], self.images.shape[3]

    def take(self, indices: Tensor) -> PictureSet:
        """The pictures at ``indices`` (a copy), in that order."""
        source = self.source.take(indices) if self.source is not None else None
        return PictureSet(self.images[indices], self.labels[indices], source)

    def resized(self, size: tuple[int, int]) -> PictureSet:
        """The same pictures at another (height, width), resized from the source resolution."""
        source = self.source or self
        if size == source.size:
            return source
        return PictureSet(resize(source.images, size), self.labels, source)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize pictures by antialiased bilinear interpolation, keeping their dtype.

    Where the size shrinks, the triangle filter is widened to cover every source pixel, so nothing aliases.

    Args:
        images: (n, channels, height, width), uint8 or float; uint8 is rounded back to uint8.
        size: (height, width) wanted.

    Returns:
        (n, channels, *size), the dtype of ``images``.

    Example:
        >>> resize(torch.full((1, 1, 4, 4), 7.0), (2, 2))
        tensor([[[[7., 7.],
                  [7., 7.]]]])
    """
    resized = torch.empty((*images.shape[:2], *size), dtype=images.dtype)
    for chunk, out in zip(torch.split(images, RESIZE_CHUNK), torch.split(resized, RESIZE_CHUNK), strict=True):
        wide = functional.interpolate(chunk.float(), size, mode="bilinear", align_corners=False, antialias=True)
        out.copy_(wide.round_().clamp_(0, 255) if images.dtype == torch.uint8 else wide)
    return resized
