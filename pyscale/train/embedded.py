"""The data that is always there: scikit-learn's handwritten digits."""

from __future__ import annotations

import numpy as np

from pyscale.train.arrays import from_arrays
from pyscale.train.data import Data, Size
from pyscale.train.dependencies import import_train_dependency
from pyscale.train.recipes import DIGITS
from pyscale.train.splitting import stratified_split


def digits(image_size: Size | None = None, *, channels: int = 1, test_fraction: float = 0.2, seed: int = 0) -> Data:
    """1797 handwritten digits of 8 x 8 pixels in 17 greys: real data that needs no download.

    Args:
        image_size: Side to resize to (antialiased bilinear), or (height, width); None keeps 8.
        channels: Copies of the grey channel, for networks that want 3.
        test_fraction: Share held out, stratified.
        seed: Which pictures are held out. It is no part of a run's seed, so runs of all seeds share one test set.

    Returns:
        The data, with the recipe :data:`DIGITS`, which does not mirror.

    Raises:
        ValueError: If an argument is out of its range.
        ImportError: If scikit-learn is missing.

    Example:
        >>> digits(image_size=32, channels=3)
        Data('digits', train=1438, test=359, num_classes=10, channels=3, image_size=32)

    References:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998).
    """
    if channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    bunch = import_train_dependency("sklearn.datasets").load_digits()
    images = np.repeat(
        bunch.images[:, None].astype(np.float32) / 16, channels, axis=1
    )  # (1797, channels, 8, 8) in 0..1
    labels = bunch.target
    kept, held_out = stratified_split(labels, test_fraction, seed)
    data = from_arrays(images[kept], labels[kept], images[held_out], labels[held_out], recipe=DIGITS, name="digits")
    return data if image_size is None else data.resized(image_size)
