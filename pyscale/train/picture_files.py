"""Picture files, in a folder or inside a zip file, decoded to tensors."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from torch import Tensor

from pyscale.train.decoding import DecodedPictures


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


class PictureFiles(DecodedPictures):
    """Pictures that stay in their files and are decoded when asked for.

    Args:
        source: Where the files are.
        names: One a picture.
        labels: (n,) int64.
        channels: 1 or 3; files are converted.
        size: (height, width) to resize to; None takes the first picture's size and refuses others.
    """

    argument = "path"

    def __init__(
        self, source: PictureSource, names: list[str], labels: Tensor, channels: int, size: tuple[int, int] | None
    ) -> None:
        self.source = source
        self.names = names
        super().__init__(labels, channels, size)

    def _open(self, index: int) -> Any:
        from PIL import Image

        return Image.open(BytesIO(self.source.read(self.names[index])))

    def _place(self, index: int) -> str:
        return f"{self.names[index]} in {self.source.path}"
