"""Data from torch datasets: one, which is split, or a training and a test set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from pyscale.train.arrays import channel_moments
from pyscale.train.data import Data, labels_of
from pyscale.train.pictures import PictureSet
from pyscale.train.recipes import DEFAULT, Recipe
from pyscale.train.splitting import stratified_split

DataLike: TypeAlias = Data | Dataset[Any] | tuple[Dataset[Any], Dataset[Any]]


def from_datasets(
    train: Dataset[Any],
    test: Dataset[Any] | None = None,
    *,
    val: Dataset[Any] | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    class_names: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    name: str = "dataset",
) -> Data:
    """Make data of map-style torch datasets of (image, label) pairs.

    A ``TensorDataset`` of pictures is kept in memory as it is: batches are gathered at once, and normalised by its
    mean and standard deviation. Any other dataset may transform its pictures as it likes, so they are served as they
    come (uint8 divided by 255), resized where a model asks for another resolution.

    Args:
        train: Gives uint8 or float tensors (channels, height, width) and integer labels. Labels are taken from its
            ``targets`` where it has them, else read item by item.
        test: Like ``train``; None holds out a stratified share of ``train``.
        val: Like ``train``; measured after every epoch.
        test_fraction: The share held out where ``test`` is None.
        seed: Which samples are held out.
        class_names: One name a class; the default is the dataset's ``classes``, else ``"0"``, ``"1"``, ...
        recipe: What :func:`fit` does unless told otherwise.
        name: For tables and error messages.

    Returns:
        The data.

    Raises:
        TypeError: If something is not a map-style dataset.
        ValueError: If a dataset is empty or its items are not pictures with labels.

    Example:
        >>> pictures = TensorDataset(torch.rand(20, 3, 8, 8), torch.arange(20) % 4)
        >>> from_datasets(pictures)
        Data('dataset', train=16, test=4, num_classes=4, channels=3, image_size=8)
    """
    for split, dataset in (("train", train), ("test", test), ("val", val)):
        if dataset is not None:
            _check_map_style(dataset, split)
    channels, size = _probe(train), None
    mean, std = (0.0,) * channels, (1.0,) * channels
    names = tuple(class_names) if class_names is not None else _class_names(train)
    if test is None:
        kept, held_out = stratified_split(labels_of(train), test_fraction, seed)
        train, test = Subset(train, kept.tolist()), Subset(train, held_out.tolist())
    splits = {
        split: _in_memory(dataset)
        for split, dataset in (("train", train), ("test", test), ("val", val))
        if dataset is not None
    }
    first = splits["train"]
    if isinstance(first, PictureSet):
        size = first.size
        mean, std = channel_moments(first.images)
    return Data(
        train=first,
        test=splits["test"],
        val=splits.get("val"),
        class_names=names,
        channels=channels,
        mean=mean,
        std=std,
        size=size,
        recipe=recipe or DEFAULT,
        name=name,
    )


def as_data(data: DataLike) -> Data:
    """Accept a :class:`Data`, one dataset, or a (train, test) pair of datasets."""
    if isinstance(data, Data):
        return data
    if isinstance(data, Dataset):
        return from_datasets(data)
    if isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(part, Dataset) for part in data):
        return from_datasets(*data)
    raise TypeError(
        "data must be what digits, image_folder, from_npz, from_arrays, from_hugging_face or from_datasets return, "
        f"a torch Dataset, or a pair of them (train, test); got {type(data).__name__}"
    )


def _check_map_style(dataset: Any, split: str) -> None:
    if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise TypeError(
            f"{split} must be a map-style dataset (with a length and items by index), got {type(dataset).__name__}"
        )
    if len(dataset) == 0:
        raise ValueError(f"{split} is an empty dataset")


def _class_names(dataset: Dataset[Any]) -> tuple[str, ...]:
    named = getattr(dataset, "classes", None)
    if named is not None:
        return tuple(str(name) for name in named)
    labels = labels_of(dataset)
    if labels.min() < 0:
        raise ValueError(f"train must have labels from 0 up, got {labels.min()}")
    return tuple(str(label) for label in range(int(labels.max()) + 1))


def _in_memory(dataset: Dataset[Any]) -> Dataset[Any]:
    """A picture set in place of a tensor dataset (or a subset of one) that holds pictures; else the dataset itself."""
    if isinstance(dataset, Subset):
        whole = _in_memory(dataset.dataset)
        return whole.take(torch.as_tensor(np.asarray(dataset.indices))) if isinstance(whole, PictureSet) else dataset
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        images, labels = dataset.tensors
        pictures = images.dtype == torch.uint8 or images.is_floating_point()
        if images.ndim == 4 and pictures and labels.ndim == 1 and not labels.is_floating_point():
            return PictureSet(images.cpu(), labels.long().cpu())
    return dataset


def _probe(dataset: Dataset[Any]) -> int:
    item = dataset[0]
    if not (isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], torch.Tensor)):
        raise ValueError(
            f"train must give (image tensor, label) pairs, got {type(item).__name__}: add a ToTensor transform"
        )
    image = item[0]
    if image.ndim != 3 or not (image.is_floating_point() or image.dtype == torch.uint8):
        raise ValueError(
            f"train must give uint8 or float images (channels, height, width), got {image.dtype} {tuple(image.shape)}"
        )
    return int(image.shape[0])
