"""Data from the data sets of Hugging Face's library ``datasets``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyscale.train.data import Data, Size, as_size
from pyscale.train.decoding import MODES, data_of_decoded
from pyscale.train.dependencies import import_train_dependency
from pyscale.train.hub_pictures import HubPictures
from pyscale.train.recipes import PICTURES, Recipe
from pyscale.train.saved_datasets import opened_dataset
from pyscale.train.splitting import Indices, stratified_split


def from_hugging_face(
    dataset: Mapping[str, Any] | str | PathLike[str],
    image_size: Size | None = None,
    *,
    image: str = "image",
    label: str = "label",
    channels: int = 3,
    test_fraction: float = 0.2,
    seed: int = 0,
    memory: int = 0,
    class_names: Sequence[str] | None = None,
    recipe: Recipe | None = None,
    name: str | None = None,
    config: str | None = None,
) -> Data:
    """Make data of what ``datasets.load_dataset`` or ``load_from_disk`` returned, or of where one of them finds it.

    ``"test"`` is held out and ``"validation"`` measured after every epoch; where there is no test split, the validation
    split is held out instead, and where ``"train"`` is alone, a stratified share of it. Other splits are passed over.
    To hold out another one, give a plain mapping: ``{"train": hub["train"], "test": hub["validation"]}``.

    Args:
        dataset: A ``datasets.DatasetDict``, or a mapping of split names to ``datasets.Dataset``; or an address
            (:func:`pyscale.train.saved_datasets.opened_dataset`): a folder that ``save_to_disk`` wrote, a folder of
            files, or a name on the hub, which is downloaded if it was not before.
        image_size: Side to resize to (antialiased bilinear), or (height, width). None is the pictures' own size, which
            must then be the same for all.
        image: The column of pictures: a ``datasets.Image`` feature, or arrays (H, W) or (H, W, C) of integers 0..255.
        label: The column of classes: a ``datasets.ClassLabel``, or integers from 0.
        channels: 3 for colour, 1 for grey; pictures are converted.
        test_fraction: The share held out where ``"train"`` is alone.
        seed: Which pictures are held out then.
        memory: Bytes the decoded pictures may take to be held in memory. By default none are: they are decoded batch by
            batch, and any resolution is made from the stored picture.
        class_names: One name a class; the default is those of the ``ClassLabel``, else ``"0"``, ``"1"``, ...
        recipe: What :func:`fit` does unless told otherwise; None is :data:`PICTURES`.
        name: For tables and error messages; None is the data set's own, where it knows it.
        config: Which configuration of an address, where it has several.

    Returns:
        The data, normalised by mean and standard deviation per channel of a seeded sample of the training pictures (of
        all of them where they are held in memory).

    Raises:
        TypeError: If ``dataset`` is no mapping of map-style data sets.
        ValueError: If a split or column is missing or of another kind, a label is out of range or missing, the splits
            name their classes differently, or a picture is damaged or of another size than the others.
        ImportError: If ``datasets`` or Pillow is missing.
    """
    library = import_train_dependency("datasets", extra="hub")
    import_train_dependency("PIL.Image")
    if channels not in MODES:
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    if isinstance(dataset, str | PathLike):
        name = name or Path(dataset).name
        dataset = opened_dataset(dataset, config)
    elif config is not None:
        raise ValueError(f"config is {config!r}, but dataset is no address: choose it where the data set is loaded")
    splits = _chosen_splits(dataset, library)
    labels = {split: _labels(rows, split, image, label) for split, rows in splits.items()}
    names = _class_names(splits, labels, label, class_names)
    if "test" not in splits:
        kept, held_out = stratified_split(labels["train"], test_fraction, seed)
        whole, targets = splits["train"], labels["train"]
        splits = {"train": whole.select(kept), "test": whole.select(held_out)}
        labels = {"train": targets[kept], "test": targets[held_out]}
    size = as_size(image_size) if image_size is not None else None
    pictures = {
        split: HubPictures(rows, image, split, torch.from_numpy(labels[split]), channels, size)
        for split, rows in splits.items()
    }
    name = name or splits["train"].info.dataset_name or "dataset"
    return data_of_decoded(pictures, names, memory=memory, recipe=recipe or PICTURES, name=name)


def _chosen_splits(dataset: Any, library: Any) -> dict[str, Any]:
    """Train, and test and val where they are given, checked."""
    if not isinstance(dataset, Mapping):
        raise TypeError(
            "dataset must be a datasets.DatasetDict or a mapping of splits, such as {'train': ...}; "
            f"got {type(dataset).__name__}"
        )
    roles = {"train": "train", "test": "test", "val": "validation"}
    if "test" not in dataset:
        roles = {"train": "train", "test": "validation"}
    chosen = {role: dataset[split] for role, split in roles.items() if split in dataset}
    if "train" not in chosen or ("test" not in chosen and len(dataset) > 1):
        raise ValueError(f"dataset must have 'train', and 'test' or 'validation', got {list(dataset)}")
    for role, rows in chosen.items():
        if not isinstance(rows, library.Dataset):
            raise TypeError(f"dataset[{roles[role]!r}] must be a datasets.Dataset, got {type(rows).__name__}")
        if len(rows) == 0:
            raise ValueError(f"dataset[{roles[role]!r}] is empty")
        if rows.format["type"] == "custom":
            raise ValueError(f"dataset[{roles[role]!r}] must have no transform, got one: call reset_format() on it")
    return chosen


def _labels(rows: Any, split: str, image: str, label: str) -> Indices:
    """(n,) int64 labels of a split; no picture is decoded."""
    for argument, column in (("image", image), ("label", label)):
        if column not in rows.features:
            raise ValueError(f"{argument}={column!r} is no column of {split}, which has {rows.column_names}")
    kind = str(getattr(rows.features[label], "dtype", type(rows.features[label]).__name__))
    if not kind.startswith(("int", "uint")):
        raise ValueError(f"label={label!r} must hold integers, got {kind} in {split}: call class_encode_column on it")
    values = rows.select_columns([label]).with_format(None)[:][label]
    if None in values:
        raise ValueError(f"label={label!r} must hold a class for every picture, got None at row {values.index(None)}")
    return np.asarray(values, dtype=np.int64)


def _class_names(
    splits: Mapping[str, Any], labels: Mapping[str, Indices], label: str, given: Sequence[str] | None
) -> tuple[str, ...]:
    stated = {split: getattr(rows.features[label], "names", None) for split, rows in splits.items()}
    for split, names in stated.items():
        if names != stated["train"]:
            raise ValueError(f"label={label!r}: {split} names its classes {names}, train {stated['train']}")
    names = given if given is not None else stated["train"]
    if names is None:
        names = [str(number) for number in range(int(labels["train"].max()) + 1)]
    for split, numbers in labels.items():
        if numbers.min() < 0 or numbers.max() >= len(names):
            raise ValueError(
                f"label={label!r} must hold 0..{len(names) - 1} for {len(names)} classes, "
                f"got {numbers.min()}..{numbers.max()} in {split}"
            )
    return tuple(names)
