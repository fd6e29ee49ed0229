"""Data from NumPy arrays, in memory or in an ``.npz`` file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pyscale.train.data import Data
from pyscale.train.pictures import PictureSet
from pyscale.train.recipes import DEFAULT, Recipe

CHANNEL_COUNTS = (1, 3, 4)  # what an axis of pictures' channels can measure
_MAGICS = (b"PK", b"\x93NUMPY")  # that NumPy's files begin with, of several arrays and of one
_REQUIRED = ("x_train", "y_train", "x_test", "y_test")


def from_npz(path: str | Path, *, class_names: Sequence[str] | None = None, recipe: Recipe | None = None) -> Data:
    """Read ``x_train``, ``y_train``, ``x_test``, ``y_test`` and perhaps ``x_val``, ``y_val`` from an ``.npz`` file.

    Args:
        path: The file. Objects in it are never unpickled.
        class_names: One name a class; the default is ``"0"``, ``"1"``, ...
        recipe: What :func:`fit` does unless told otherwise.

    Returns:
        The data; array layouts are those of :func:`from_arrays`.

    Raises:
        TypeError: If ``path`` is no path.
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an ``.npz`` file, an array is missing, pickled, or of the wrong kind.
    """
    if not isinstance(path, str | PathLike):
        raise TypeError(f"path must be that of a file, got {path!r}")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: no such file: {path}")
    try:
        with path.open("rb") as file:  # NumPy leaves a file of its own open where it is no archive
            if not file.read(6).startswith(_MAGICS):  # NumPy would advise to unpickle it
                raise ValueError("it is no .npz archive")
            file.seek(0)
            arrays = _read_archive(np.load(file, allow_pickle=False))
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"path: {path} is not a data set in .npz form: {error}") from error
    return from_arrays(**arrays, class_names=class_names, recipe=recipe, name=path.stem)


def from_arrays(
    x_train: npt.ArrayLike,
    y_train: npt.ArrayLike,
    x_test: npt.ArrayLike,
    y_test: npt.ArrayLike,
    x_val: npt.ArrayLike | None = None,
    y_val: npt.ArrayLike | None = None,
    *,
    class_names: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    name: str = "arrays",
) -> Data:
    """Make data of pictures in arrays.

    Args:
        x_train: (N, H, W), or with a channel axis of 1, 3 or 4: uint8 in 0..255, or float on any scale. Where both
            layouts are possible uint8 is read as (N, H, W, C) and float as (N, C, H, W); other channel counts are
            float (N, C, H, W).
        y_train: (N,) or (N, 1) integer labels from 0.
        x_test: Like ``x_train``.
        y_test: Like ``y_train``.
        x_val: Like ``x_train``; measured after every epoch.
        y_val: Like ``y_train``.
        class_names: One name a class; the default is ``"0"``, ``"1"``, ...
        recipe: What :func:`fit` does unless told otherwise.
        name: For tables and error messages.

    Returns:
        The data, normalised by the training pictures' mean and standard deviation per channel.

    Raises:
        ValueError: If an array has the wrong shape or dtype, is empty, holds NaN, or the arrays do not fit together.

    Example:
        >>> x, y = np.zeros((6, 8, 8, 3), np.uint8), np.array([0, 1, 2, 0, 1, 2])
        >>> from_arrays(x, y, x[:3], y[:3])
        Data('arrays', train=6, test=3, num_classes=3, channels=3, image_size=8)
    """
    if (x_val is None) != (y_val is None):
        raise ValueError("x_val and y_val must be given together")
    sets = {"train": _picture_set(x_train, y_train, "train"), "test": _picture_set(x_test, y_test, "test")}
    if x_val is not None and y_val is not None:
        sets["val"] = _picture_set(x_val, y_val, "val")
    train = sets["train"]
    for split, pictures in sets.items():
        if pictures.images.shape[1:] != train.images.shape[1:] or pictures.images.dtype != train.images.dtype:
            raise ValueError(
                f"x_{split} must hold pictures like x_train's, {train.images.dtype} {tuple(train.images.shape[1:])} "
                f"(channels, height, width); got {pictures.images.dtype} {tuple(pictures.images.shape[1:])}"
            )
    classes = int(train.labels.max()) + 1
    names = tuple(class_names) if class_names is not None else tuple(str(label) for label in range(classes))
    for split, pictures in sets.items():
        if int(pictures.labels.max()) >= len(names):
            raise ValueError(
                f"y_{split} has the label {int(pictures.labels.max())}, but there are {len(names)} classes "
                f"({'class_names' if class_names is not None else 'y_train'} says so)"
            )
    mean, std = channel_moments(train.images)
    return Data(
        train=train,
        test=sets["test"],
        val=sets.get("val"),
        class_names=names,
        channels=train.images.shape[1],
        mean=mean,
        std=std,
        size=train.size,
        recipe=recipe or DEFAULT,
        name=name,
    )


def channel_moments(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, on the scale 0..1 for uint8; a constant channel gets std 1.

    Args:
        images: (n, channels, height, width), uint8 or float.

    Returns:
        Two tuples of ``channels`` numbers.
    """
    means, stds = [], []
    for channel in images.unbind(1):  # one channel at a time bounds the copies
        values, weights = _values_and_counts(channel)
        mean = float((values * weights).sum() / weights.sum())
        means.append(mean)
        stds.append(float((weights * (values - mean) ** 2).sum() / weights.sum()) ** 0.5 or 1.0)
    return tuple(means), tuple(stds)


def _read_archive(archive: Any) -> dict[str, npt.NDArray[Any]]:
    if isinstance(archive, np.ndarray):
        raise ValueError("it holds a single array")
    missing = [name for name in _REQUIRED if name not in archive.files]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}; it has {', '.join(archive.files) or 'nothing'}")
    return {name: archive[name] for name in (*_REQUIRED, "x_val", "y_val") if name in archive.files}


def _values_and_counts(channel: Tensor) -> tuple[Tensor, Tensor]:
    """The values of a channel and how often each occurs, float64: of uint8, the 256 there can be."""
    if channel.dtype == torch.uint8:
        return torch.arange(256).double() / 255, channel.flatten().bincount(minlength=256).double()
    return channel.double(), torch.ones(channel.shape, dtype=torch.float64)


def _picture_set(x: npt.ArrayLike, y: npt.ArrayLike, split: str) -> PictureSet:
    images, labels = _images(np.asarray(x), f"x_{split}"), _labels(np.asarray(y), f"y_{split}")
    if len(images) != len(labels):
        raise ValueError(f"x_{split} has {len(images)} pictures, y_{split} {len(labels)} labels")
    return PictureSet(images, labels)


def _images(x: npt.NDArray[Any], name: str) -> Tensor:
    if x.dtype != np.uint8 and not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"{name} must be uint8 (0..255) or float, got {x.dtype}")
    if x.ndim not in (3, 4) or x.size == 0:
        raise ValueError(
            f"{name} must be a non-empty (N, H, W), (N, H, W, C) or (N, C, H, W) array, got shape {x.shape}"
        )
    if x.ndim == 3:
        x = x[:, None]
    elif _channels_are_last(x, name):
        x = np.moveaxis(x, 3, 1)
    if x.dtype != np.uint8:
        x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise ValueError(f"{name} holds NaN or infinite values")
    return torch.from_numpy(np.ascontiguousarray(x))


def _channels_are_last(x: npt.NDArray[Any], name: str) -> bool:
    first, last = x.shape[1] in CHANNEL_COUNTS, x.shape[3] in CHANNEL_COUNTS
    if x.dtype == np.uint8:
        if not first and not last:
            raise ValueError(f"{name} must have 1, 3 or 4 channels in its last axis, got shape {x.shape}")
        return last
    return last and not first


def _labels(y: npt.NDArray[Any], name: str) -> Tensor:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.size == 0 or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{name} must be a non-empty (N,) array of integers, got {y.dtype} {y.shape}")
    if y.min() < 0:
        raise ValueError(f"{name} must hold labels from 0 up, got {y.min()}")
    return torch.from_numpy(y.astype(np.int64))
