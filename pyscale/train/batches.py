"""The loader: batches of normalised pictures whose order and augmentation depend on (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pyscale.train.augmentation import augment
from pyscale.train.pictures import PictureSet, resize
from pyscale.train.seeding import derive_seed, generator


class Batches:
    """An iterable of (images, labels): float32 (b, channels, height, width) and int64 (b,).

    Pictures in memory are gathered, augmented and normalised a batch at a time; any other dataset is read through a
    torch ``DataLoader``. A shuffled epoch is cut into ``ceil(n / batch_size)`` batches whose sizes differ by at most
    one, so no picture is dropped and no batch is too small for batch normalisation; otherwise the last one is smaller.

    Args:
        dataset: A :class:`PictureSet` or any map-style dataset of (image, label) pairs.
        batch_size: The largest batch.
        mean: (channels,) subtracted from the pictures, on the scale 0..1 for uint8.
        std: (channels,) they are divided by.
        size: (height, width) that pictures of other datasets are resized to; None leaves them.
        shuffle: Whether each epoch has an order of its own.
        seed: Decides the orders and the augmentation.
        crop: See :class:`pyscale.train.Recipe`.
        flip: See :class:`pyscale.train.Recipe`.
        channels_last: Memory format of the images.
        workers: Processes that read a dataset that is not in memory.
        share: (rank, size): of every batch, the rank's part among ``size`` nearly equal ones, empty where there are
            more parts than pictures. Pictures are augmented as they would be in the whole batch.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        *,
        mean: Tensor,
        std: Tensor,
        size: tuple[int, int] | None = None,
        shuffle: bool = False,
        seed: int = 0,
        crop: float = 0.0,
        flip: bool = False,
        channels_last: bool = False,
        workers: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self._n: int = len(dataset)  # type: ignore[arg-type]  # map-style: checked where Data is built
        self._mean = mean.view(1, -1, 1, 1)
        self._std = std.view(1, -1, 1, 1)
        self._size = size
        self._crop = crop
        self._flip = flip
        self._memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self._workers = workers
        self._rank, self._parts = share

    def __len__(self) -> int:
        return -(-self._n // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and augmentation the next pass draws."""
        self.epoch = epoch

    def indices(self) -> list[Tensor]:
        """The sample indices of every batch of the present epoch, in order, other ranks' parts included."""
        if not self.shuffle:
            return list(torch.split(torch.arange(self._n), self.batch_size))
        order = torch.randperm(self._n, generator=generator(self.seed, self.epoch, "order"))
        return list(order.tensor_split(len(self)))

    def sizes(self) -> list[int]:
        """The sizes of the batches that :meth:`indices` has."""
        return [len(indices) for indices in self.indices()]

    def _shares(self) -> list[slice]:
        """Which places of every batch are this rank's."""
        bounds = [[n * k // self._parts for k in (self._rank, self._rank + 1)] for n in self.sizes()]
        return [slice(*pair) for pair in bounds]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        draws = generator(self.seed, self.epoch, "augmentation")
        own = self._shares()
        for among, (images, labels) in zip(zip(self.sizes(), own, strict=True), self._raw(own), strict=True):
            images = augment(images, crop=self._crop, flip=self._flip, generator=draws, among=among)
            images = images.float() / 255 if images.dtype == torch.uint8 else images.float()
            # written into fresh memory, because .contiguous() leaves the strides of one-channel pictures as they are,
            # and convolutions choose their memory format by the strides
            normalised = torch.empty(images.shape, memory_format=self._memory_format)
            yield torch.div(images - self._mean, self._std, out=normalised), labels

    def _raw(self, own: list[slice]) -> Iterator[tuple[Tensor, Tensor]]:
        shares = [indices[places] for indices, places in zip(self.indices(), own, strict=True)]
        if isinstance(self.dataset, PictureSet):
            images, labels = self.dataset.images, self.dataset.labels
            for indices in shares:
                yield images[indices], labels[indices]
            return
        loader = DataLoader(
            self.dataset,
            batch_sampler=[indices.tolist() for indices in shares if len(indices)],
            num_workers=self._workers,
            # the loader draws its workers' seeds: from here, not from the global generator
            generator=torch.Generator().manual_seed(derive_seed(self.seed, self.epoch, "workers")),
        )
        batches = iter(loader)
        for indices in shares:
            yield _checked(next(batches), self._size) if len(indices) else _nothing()


def _nothing() -> tuple[Tensor, Tensor]:
    """A batch of which this rank has no part: what is read says how large pictures are, and nothing has been."""
    return torch.empty((0, 1, 1, 1)), torch.empty(0, dtype=torch.int64)


def _checked(batch: Any, size: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    if not (isinstance(batch, (tuple, list)) and len(batch) == 2):
        raise TypeError(f"data: a dataset must give (image, label) pairs, got {type(batch).__name__}")
    images, labels = (torch.as_tensor(part) for part in batch)
    if images.ndim != 4 or not (images.is_floating_point() or images.dtype == torch.uint8):
        raise ValueError(
            "data: images of a dataset must be uint8 or float tensors (channels, height, width); "
            f"a batch came as {images.dtype} {tuple(images.shape)}"
        )
    if labels.is_floating_point() or labels.ndim != 1:
        raise ValueError(
            f"data: labels must be integers, one an image; a batch came as {labels.dtype} {tuple(labels.shape)}"
        )
    if size is not None and tuple(images.shape[2:]) != size:
        images = resize(images, size)
    return images, labels.long()
