"""Pictures that are decoded when asked for, and data made of them: in memory where they fit, else read by the batch."""

from __future__ import annotations

import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pyscale.train.arrays import channel_moments
from pyscale.train.data import Data
from pyscale.train.pictures import PictureSet
from pyscale.train.recipes import Recipe
from pyscale.train.splitting import stratified_subset

MODES = {1: "L", 3: "RGB"}  # Pillow's names, by channel count
MOMENT_SAMPLE = 1000  # pictures the normalisation is measured on where they are not held in memory


class DecodedPictures(Dataset[tuple[Tensor, int]]):
    """Labelled pictures that are somewhere else, each decoded by Pillow when it is asked for.

    Args:
        labels: (n,) int64.
        channels: 1 or 3; pictures are converted.
        size: (height, width) to resize to; None takes the first picture's size and refuses others.
    """

    argument: ClassVar[str]  # of the public function, for messages

    def __init__(self, labels: Tensor, channels: int, size: tuple[int, int] | None) -> None:
        self.targets = labels
        self.channels = channels
        self.resized_to = size
        self.size = size if size is not None else self._decode(0).size[::-1]

    @abstractmethod
    def _open(self, index: int) -> Any:
        """A Pillow picture."""

    @abstractmethod
    def _place(self, index: int) -> str:
        """Where a picture is, for messages."""

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.pixels([index])[0], int(self.targets[index])

    def pixels(self, indices: Sequence[int]) -> Tensor:
        """(len(indices), channels, height, width) uint8."""
        pixels = np.empty((len(indices), *self.size, self.channels), dtype=np.uint8)
        for i, index in enumerate(indices):
            picture = self._decode(index)
            if picture.size != self.size[::-1]:
                width, height = picture.size
                raise ValueError(
                    f"{self.argument}: {self._place(index)} measures {height} x {width} pixels, others "
                    f"{self.size[0]} x {self.size[1]}; give image_size to resize them all"
                )
            pixels[i] = np.asarray(picture).reshape(*self.size, self.channels)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()

    def in_memory(self) -> PictureSet:
        """Decode everything."""
        return PictureSet(self.pixels(range(len(self))), self.targets)

    def resized(self, size: tuple[int, int]) -> DecodedPictures:
        """The same pictures, decoded to another (height, width)."""
        other = copy(self)
        other.resized_to = other.size = size
        return other

    def _decode(self, index: int) -> Any:
        from PIL import Image, UnidentifiedImageError

        try:
            with self._open(index) as picture:
                converted = picture.convert(MODES[self.channels])
                if self.resized_to is None or converted.size == self.resized_to[::-1]:
                    return converted
                return converted.resize(self.resized_to[::-1], Image.Resampling.BILINEAR)  # Pillow's is antialiased
        except (
            OSError,
            SyntaxError,
            ValueError,
            zipfile.BadZipFile,
            zlib.error,
            Image.DecompressionBombError,
        ) as error:
            reason = "of no known format" if isinstance(error, UnidentifiedImageError) else str(error)
            raise ValueError(f"{self.argument}: {self._place(index)} is not a readable picture: {reason}") from error


def data_of_decoded(
    splits: Mapping[str, DecodedPictures], class_names: Sequence[str], *, memory: int, recipe: Recipe, name: str
) -> Data:
    """Data of pictures that are decoded when asked for.

    Args:
        splits: ``"train"``, ``"test"`` and perhaps ``"val"``.
        class_names: One name a class.
        memory: Bytes the decoded pictures may take; where they fit, all are decoded now.
        recipe: What :func:`fit` does unless told otherwise.
        name: For tables and error messages.

    Returns:
        The data, normalised by the training pictures' mean and standard deviation per channel, of a seeded sample of
        them where they are not held in memory.

    Raises:
        ValueError: If the splits' pictures differ in size, or a picture cannot be read.
    """
    train = splits["train"]
    for split, pictures in splits.items():
        if pictures.size != train.size:
            raise ValueError(
                f"{train.argument}: {split} pictures measure {pictures.size}, train's {train.size}; give image_size"
            )
    served: dict[str, Dataset[Any]] = dict(splits)
    if sum(map(len, splits.values())) * train.channels * train.size[0] * train.size[1] <= memory:
        held = {split: pictures.in_memory() for split, pictures in splits.items()}
        mean, std = channel_moments(held["train"].images)
        served.update(held)
    else:
        sample = stratified_subset(train.targets.numpy(), min(MOMENT_SAMPLE, len(train)))
        mean, std = channel_moments(train.pixels(sample.tolist()))
    return Data(
        train=served["train"],
        test=served["test"],
        val=served.get("val"),
        class_names=tuple(class_names),
        channels=train.channels,
        mean=mean,
        std=std,
        size=train.size,
        recipe=recipe,
        name=name,
    )
