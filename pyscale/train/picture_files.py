"""Picture files, in a folder or inside a zip file, decoded to tensors."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pyscale.train.pictures import PictureSet

MODES = {1: "L", 3: "RGB"}  # Pillow's names, by channel count


class PictureSource:
    """Where picture files are: a folder, or a zip file that is read as it is.

    Args:
        path: The folder or zip file.
        names: Of the files in it, relative, with forward slashes.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path = path
        self.names = tuple(names)
        self.zipped = path.is_file()
        self._archive: tuple[int, zipfile.ZipFile] | None = None  # with the process that opened it

    def read(self, name: str) -> bytes:
        """The content of one file."""
        if not self.zipped:
            return (self.path / name).read_bytes()
        if self._archive is None or self._archive[0] != os.getpid():  # a forked worker must not share the handle
            self._archive = os.getpid(), zipfile.ZipFile(self.path)
        return self._archive[1].read(name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None}


class PictureFiles(Dataset[tuple[Tensor, int]]):
    """Pictures that stay in their files and are decoded when asked for.

    Args:
        source: Where the files are.
        names: One a picture.
        labels: (n,) int64.
        channels: 1 or 3; files are converted.
        size: (height, width) to resize to; None takes the first picture's size and refuses others.
    """

    def __init__(
        self, source: PictureSource, names: list[str], labels: Tensor, channels: int, size: tuple[int, int] | None
    ) -> None:
        self.source = source
        self.names = names
        self.targets = labels
        self.channels = channels
        self.resized_to = size
        self.size = size if size is not None else self._decode(names[0]).size[::-1]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.pixels([index])[0], int(self.targets[index])

    def pixels(self, indices: Sequence[int]) -> Tensor:
        """(len(indices), channels, height, width) uint8."""
        pixels = np.empty((len(indices), *self.size, self.channels), dtype=np.uint8)
        for i, index in enumerate(indices):
            picture = self._decode(self.names[index])
            if picture.size != self.size[::-1]:
                (width, height), name = picture.size, self.names[index]
                raise ValueError(
                    f"path: {name} measures {height} x {width} pixels, others {self.size[0]} x {self.size[1]}; "
                    "give image_size to resize them all"
                )
            pixels[i] = np.asarray(picture).reshape(*self.size, self.channels)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()

    def in_memory(self) -> PictureSet:
        """Decode everything."""
        return PictureSet(self.pixels(range(len(self))), self.targets)

    def resized(self, size: tuple[int, int]) -> PictureFiles:
        """The same files, decoded to another (height, width)."""
        return PictureFiles(self.source, self.names, self.targets, self.channels, size)

    def _decode(self, name: str) -> Any:
        from PIL import Image, UnidentifiedImageError

        try:
            with Image.open(BytesIO(self.source.read(name))) as picture:
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
            raise ValueError(f"path: {name} in {self.source.path} is not a readable picture: {reason}") from error
