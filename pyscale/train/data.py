"""One labelled data set with its splits, normalisation and recipe, at any resolution a model asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from pyscale.train.batches import Batches
from pyscale.train.pictures import PictureSet
from pyscale.train.recipes import DEFAULT, Recipe
from pyscale.train.splitting import Indices, stratified_split, stratified_subset

Split = Literal["train", "test", "val"]
Size = int | tuple[int, int]


@runtime_checkable
class Resizable(Protocol):
    """A dataset that serves its pictures at any (height, width)."""

    def resized(self, size: tuple[int, int]) -> Dataset[Any]:
        """The same pictures at another size, made from the best there is."""
        ...


@dataclass(frozen=True, eq=False)
class Data:
    """Training and test pictures and what is known about them.

    Built by :func:`digits`, :func:`image_folder`, :func:`from_npz`, :func:`from_arrays`, :func:`from_hugging_face` and
    :func:`from_datasets`.

    Args:
        train: Pictures to fit on.
        test: Pictures held out, never fitted on.
        class_names: One name a class, in label order.
        channels: Of every picture.
        mean: Per channel, of the training pictures on the scale 0..1 (uint8) or their own (float).
        std: Per channel, likewise.
        size: (height, width) of the pictures as they are served; None where a dataset decides picture by picture.
        val: Pictures measured after every epoch, if any.
        recipe: What :func:`fit` does unless told otherwise.
        name: For tables and error messages.

    Example:
        >>> from pyscale.train import digits
        >>> data = digits().resized(16)
        >>> data.image_size, data.num_classes, len(data.train), len(data.test)
        (16, 10, 1438, 359)
        >>> images, labels = next(iter(data.loader("test", batch_size=32)))
        >>> tuple(images.shape), images.dtype
        ((32, 1, 16, 16), torch.float32)
    """

    train: Dataset[Any]
    test: Dataset[Any]
    class_names: tuple[str, ...]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None
    val: Dataset[Any] | None = None
    recipe: Recipe = DEFAULT
    name: str = "data"

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def image_size(self) -> Size | None:
        """The side of square pictures, (height, width) of others, None where it is not known."""
        if self.size is None:
            return None
        return self.size[0] if self.size[0] == self.size[1] else self.size

    def split(self, split: Split) -> Dataset[Any]:
        """One of the splits by name.

        Raises:
            ValueError: If there is no such split.
        """
        present = {"train": self.train, "test": self.test, "val": self.val}
        dataset = present.get(split)
        if dataset is None:
            names = [name for name, value in present.items() if value is not None]
            raise ValueError(f"split must be one of {names}, got {split!r}")
        return dataset

    def labels(self, split: Split) -> Indices:
        """(n,) int64 labels of a split."""
        return labels_of(self.split(split))

    def loader(
        self,
        split: Split = "test",
        batch_size: int = 256,
        *,
        shuffle: bool = False,
        seed: int = 0,
        recipe: Recipe | None = None,
        workers: int = 0,
        share: tuple[int, int] = (0, 1),
        device: torch.device | None = None,
    ) -> Batches:
        """Batches of normalised pictures of one split.

        Args:
            split: ``"train"``, ``"test"`` or ``"val"``.
            batch_size: The largest batch.
            shuffle: Whether every epoch (``set_epoch``) has an order of its own.
            seed: Decides orders and augmentation.
            recipe: Where its augmentation (``crop``, ``flip``) and memory format come from; None augments nothing.
            workers: Processes that read pictures that are not in memory.
            share: (rank, size) of several processes, which get a part of every batch each.
            device: Where batches of pictures in memory are made; None is the CPU.

        Returns:
            An iterable of (images, labels): float32 (b, channels, height, width) and int64 (b,).
        """
        augmentation: dict[str, Any] = {}
        if recipe is not None:
            augmentation = {"crop": recipe.crop, "flip": recipe.flip, "channels_last": recipe.channels_last}
        return Batches(
            self.split(split),
            batch_size,
            mean=torch.tensor(self.mean),
            std=torch.tensor(self.std),
            size=self.size,
            shuffle=shuffle,
            seed=seed,
            workers=workers,
            share=share,
            device=device,
            **augmentation,
        )

    def resized(self, image_size: Size) -> Data:
        """The same data at another resolution, always resized from the original pictures.

        Args:
            image_size: Side in pixels, or (height, width).

        Returns:
            This object if it has that size already, else a new one.

        Raises:
            ValueError: If the size is not positive.
        """
        size = as_size(image_size)
        if size == self.size:
            return self
        val = None if self.val is None else _resized(self.val, size)
        return replace(self, size=size, train=_resized(self.train, size), test=_resized(self.test, size), val=val)

    def normalised_by(self, mean: Sequence[float], std: Sequence[float]) -> Data:
        """The same pictures with another normalisation, such as the one a checkpoint was trained with.

        Args:
            mean: One a channel, on the scale 0..1 (uint8) or the pictures' own (float).
            std: Likewise, positive.

        Returns:
            The data; nothing else changes.

        Raises:
            ValueError: If there is not one number a channel, or a standard deviation is not positive.

        Example:
            >>> from pyscale.train import digits
            >>> digits().normalised_by([0.5], [0.25]).mean
            (0.5,)
        """
        for name, numbers in (("mean", mean), ("std", std)):
            if len(numbers) != self.channels:
                raise ValueError(f"{name} must have one number a channel, {self.channels}, got {len(numbers)}")
        if not all(value > 0 for value in std):
            raise ValueError(f"std must be positive, got {tuple(std)}")
        return replace(self, mean=tuple(map(float, mean)), std=tuple(map(float, std)))

    def subset(self, n: int, seed: int = 0, *, test: int | None = None) -> Data:
        """A stratified, seeded part of the training pictures, and on demand of the test pictures.

        Args:
            n: Training pictures to keep.
            seed: Which ones.
            test: Test pictures to keep; None keeps all.

        Returns:
            The smaller data; normalisation, recipe and class names stay.

        Raises:
            ValueError: If there are fewer pictures than asked for.
        """
        train = _take(self.train, stratified_subset(labels_of(self.train), n, seed))
        held_out = self.test if test is None else _take(self.test, stratified_subset(labels_of(self.test), test, seed))
        return replace(self, train=train, test=held_out)

    def holding_out(self, fraction: float, seed: int = 0) -> Data:
        """Make a stratified, seeded share of the training pictures the validation split.

        Args:
            fraction: Share of the training pictures, in (0, 1); rounded to whole pictures.
            seed: Which ones.

        Returns:
            The data with fewer training pictures and those others as ``val``; normalisation, recipe and test pictures
            stay.

        Raises:
            ValueError: If there is a validation split already, or one side would be empty.

        Example:
            >>> from pyscale.train import digits
            >>> digits().holding_out(0.2)
            Data('digits', train=1150, test=359, val=288, num_classes=10, channels=1, image_size=8)
        """
        if self.val is not None:
            raise ValueError(f"{self!r} has a validation split already")
        kept, held_out = stratified_split(labels_of(self.train), fraction, seed)
        return replace(self, train=_take(self.train, kept), val=_take(self.train, held_out))

    def __repr__(self) -> str:
        sizes = [f"train={_length(self.train)}", f"test={_length(self.test)}"]
        if self.val is not None:
            sizes.append(f"val={_length(self.val)}")
        return (
            f"Data({self.name!r}, {', '.join(sizes)}, num_classes={self.num_classes}, "
            f"channels={self.channels}, image_size={self.image_size})"
        )


def as_size(image_size: Size) -> tuple[int, int]:
    """(height, width) of a side or a pair, checked to be positive ints."""
    size = (image_size, image_size) if isinstance(image_size, (int, np.integer)) else tuple(image_size)
    if len(size) != 2 or not all(isinstance(side, (int, np.integer)) and side > 0 for side in size):
        raise ValueError(f"image_size must be a positive int or a pair of them, got {image_size!r}")
    return int(size[0]), int(size[1])


def labels_of(dataset: Dataset[Any]) -> Indices:
    """(n,) int64 labels of any map-style dataset; read from its ``targets`` where it has them, else item by item."""
    labels = listed_labels(dataset)
    if labels is None:
        labels = np.asarray([int(dataset[index][1]) for index in range(_length(dataset))], dtype=np.int64)
    return labels


def listed_labels(dataset: Dataset[Any]) -> Indices | None:
    """(n,) int64 labels where a dataset lists them apart from its pictures, else None: nothing is decoded."""
    if isinstance(dataset, PictureSet):
        return dataset.labels.numpy()
    if isinstance(dataset, Subset):
        whole = listed_labels(dataset.dataset)
        return None if whole is None else whole[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[-1].numpy().astype(np.int64)
    targets = getattr(dataset, "targets", None)
    if targets is None or len(targets) != _length(dataset):  # e.g. targets of another kind than labels
        return None
    return np.asarray(targets, dtype=np.int64)


def _take(dataset: Dataset[Any], indices: Indices) -> Dataset[Any]:
    if isinstance(dataset, PictureSet):
        return dataset.take(torch.from_numpy(indices))
    return Subset(dataset, indices.tolist())


def _resized(dataset: Dataset[Any], size: tuple[int, int]) -> Dataset[Any]:
    """A dataset that can make other sizes makes them; pictures of any other are resized as their batches are read."""
    if isinstance(dataset, Subset):
        return Subset(_resized(dataset.dataset, size), dataset.indices)
    return dataset.resized(size) if isinstance(dataset, Resizable) else dataset


def _length(dataset: Dataset[Any]) -> int:
    return len(dataset)  # type: ignore[arg-type]  # map-style: checked where Data is built
