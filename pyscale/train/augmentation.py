"""Light augmentation of whole batches: random crops with zero padding, and mirroring."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Among: TypeAlias = tuple[int, slice]


def random_crop(images: Tensor, padding: int, generator: torch.Generator, among: Among | None = None) -> Tensor:
    """Shift every picture by its own random offset of at most ``padding`` pixels either way, filling with zeros.

    Args:
        images: (n, channels, height, width).
        padding: Pixels of zeros around each picture before a window of the old size is cut out.
        generator: A CPU generator; draws 2n numbers.
        among: Where the images are a part of a batch: the batch's size, of which n is then, and their places.

    Returns:
        The same shape, in channels-last memory order.
    """
    n, _, height, width = images.shape
    total, own = among or (n, slice(None))
    offsets = torch.randint(0, 2 * padding + 1, (2, total), generator=generator)[:, own].to(images.device)
    padded = functional.pad(images, (padding,) * 4).permute(0, 2, 3, 1)  # (n, height + 2p, width + 2p, channels)
    rows = offsets[0, :, None] + torch.arange(height, device=images.device)  # (n, height)
    columns = offsets[1, :, None] + torch.arange(width, device=images.device)  # (n, width)
    picture = torch.arange(n, device=images.device)[:, None, None]
    return padded[picture, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def random_flip(images: Tensor, generator: torch.Generator, among: Among | None = None) -> Tensor:
    """Mirror each picture left to right with probability one half.

    Args:
        images: (n, channels, height, width).
        generator: A CPU generator; draws n numbers.
        among: As for :func:`random_crop`.

    Returns:
        The same shape.
    """
    total, own = among or (len(images), slice(None))
    mirrored = torch.randint(0, 2, (total,), generator=generator)[own].bool().to(images.device)
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


def augment(
    images: Tensor, *, crop: float, flip: bool, generator: torch.Generator, among: Among | None = None
) -> Tensor:
    """Crop and flip a batch as a recipe says.

    Args:
        images: (n, channels, height, width).
        crop: Padding as a share of the picture's shorter side; 0 does not crop.
        flip: Whether to mirror half of them.
        generator: A CPU generator, the only source of randomness.
        among: As for :func:`random_crop`: a picture is then augmented as it would be in the whole batch.

    Returns:
        The same shape and dtype.
    """
    padding = round(crop * min(images.shape[2:]))
    if padding:
        images = random_crop(images, padding, generator, among)
    return random_flip(images, generator, among) if flip else images
