"""The pictures in a data set of Hugging Face's library ``datasets``, decoded when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from pyscale.train.decoding import DecodedPictures
from pyscale.train.dependencies import import_train_dependency


class HubPictures(DecodedPictures):
    """The pictures of one split, each decoded when it is asked for; no other column is read.

    Args:
        rows: A ``datasets.Dataset``.
        column: Of the pictures.
        split: Its name, for messages.
        labels: (n,) int64.
        channels: 1 or 3; pictures are converted.
        size: (height, width) to resize to; None takes the first picture's size and refuses others.
    """

    argument = "dataset"

    def __init__(
        self, rows: Any, column: str, split: str, labels: Tensor, channels: int, size: tuple[int, int] | None
    ) -> None:
        decodes = isinstance(rows.features[column], import_train_dependency("datasets", extra="hub").Image)
        self.rows = rows.select_columns([column]).with_format(None if decodes else "numpy")
        self.column = column
        self.split = split
        super().__init__(labels, channels, size)

    def _open(self, index: int) -> Any:
        from PIL import Image

        stored = self.rows[int(index)][self.column]
        if isinstance(stored, Image.Image):
            return stored
        if not isinstance(stored, np.ndarray) or not np.issubdtype(stored.dtype, np.integer):
            kind = getattr(stored, "dtype", type(stored).__name__)
            raise ValueError(f"image={self.column!r} must hold pictures or arrays of integers 0..255, got {kind}")
        if not (stored.ndim == 2 or (stored.ndim == 3 and stored.shape[2] in (1, 3, 4))) or stored.size == 0:
            raise ValueError(f"image={self.column!r} must hold (H, W) or (H, W, C) arrays, got shape {stored.shape}")
        if stored.min() < 0 or stored.max() > 255:
            raise ValueError(f"image={self.column!r} must hold 0..255, got {stored.min()}..{stored.max()}")
        pixels = stored.astype(np.uint8)
        return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)

    def _place(self, index: int) -> str:
        return f"row {index} of {self.split}"
