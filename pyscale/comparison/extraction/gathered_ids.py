"""Ids of an extraction's samples: how many there must be is held against the data as early as it is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset, default_collate

from pyscale.comparison.batches import batch_ids, count_samples
from pyscale.stores.sample_ids import as_ids
from pyscale.stores.store import SampleId

_AS_IT_GOES_ON = "What was written stays, and the same call with as many ids as samples goes on from there"


class GatheredIds:
    """Ids of all samples: those that were given, or those that come with the batches.

    Args:
        given: One for each sample; None takes those of the batches.
    """

    def __init__(self, given: Sequence[SampleId] | None) -> None:
        self._given = given
        self._found: list[SampleId] = []
        self._batch_of: dict[SampleId, int] = {}
        self._identified: bool | None = None  # whether batches have ids; None before the first

    def see(self, number: int, batch: Any, before: int, samples: int) -> None:
        """Take the ids of a batch.

        Args:
            number: Of the batch.
            batch: As the loader gave it.
            before: Samples in all batches before it.
            samples: In this one.

        Raises:
            TypeError: An id is neither a whole number nor a string.
            ValueError: There are fewer ids than samples, or one is there twice.
        """
        if self._given is not None:
            if before + samples > len(self._given):
                raise ValueError(
                    f"sample_ids has {len(self._given)} ids, and the loader has given {before + samples} samples in "
                    f"{number + 1} batches. {_AS_IT_GOES_ON}"
                )
            return
        ids = batch_ids(batch)
        if self._identified not in (None, ids is not None):
            has, had = ("no ids", "ids") if ids is None else ("ids", "no ids")
            raise ValueError(f"batch {number} has {has}, and those before it have {had}; expected ids in all or none")
        self._identified = ids is not None
        if ids is not None:
            self._add(number, as_ids(ids, f"ids of batch {number}"), samples)

    def all(self, samples: int) -> tuple[SampleId, ...] | None:
        """Return the ids of all samples, of which there are so many, or None where they have none.

        Raises:
            ValueError: More ids were given than there are samples.
        """
        if self._given is None:
            return tuple(self._found) if self._identified else None
        if len(self._given) != samples:
            raise ValueError(
                f"sample_ids has {len(self._given)} ids, and the loader gave {samples} samples. {_AS_IT_GOES_ON}"
            )
        return tuple(self._given)

    def _add(self, number: int, ids: Sequence[SampleId], samples: int) -> None:
        if len(ids) != samples:
            raise ValueError(f"batch {number} has {samples} samples and {len(ids)} ids; expected one for each")
        for item in ids:
            if type(item) is not type(self._found[0] if self._found else item):
                raise TypeError(
                    f"batch {number} has the id {item!r}, and the first is {self._found[0]!r}; expected one kind of id"
                )
            if item in self._batch_of:
                raise ValueError(
                    f"batches {self._batch_of[item]} and {number} both have the id {item!r}; every sample needs its own"
                )
        self._batch_of.update(dict.fromkeys(ids, number))
        self._found += ids


def check_count(given: Sequence[SampleId], loader: Iterable[Any], max_batches: int | None) -> None:
    """Raise ValueError where a loader is known to give another number of samples than there are ids."""
    samples = known_samples(loader, max_batches)
    if samples is not None and samples != len(given):
        raise ValueError(
            f"sample_ids has {len(given)} ids, and the loader gives {samples} samples; expected one for each"
        )


def known_samples(loader: Iterable[Any], max_batches: int | None) -> int | None:
    """Return how many samples a loader will give, or None where only running it would tell.

    That is known of lists of batches, and of loaders whose batches are a sampler's, put together as torch does it: a
    function of the user's may leave samples out.

    Example:
        >>> known_samples(DataLoader(range(10), batch_size=4, drop_last=True), None)
        8
    """
    if isinstance(loader, list | tuple):
        counts = [count_samples(batch) for batch in loader[:max_batches]]
        return None if None in counts else sum(filter(None, counts))
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None
    size, sampler = loader.batch_size, loader.batch_sampler
    if size is None or type(sampler) is not BatchSampler or loader.collate_fn is not default_collate:
        return None
    try:
        samples = len(sampler.sampler)  # type: ignore[arg-type]
    except TypeError:  # samplers may draw on without end
        return None
    samples -= samples % size if loader.drop_last else 0
    return samples if max_batches is None else min(samples, max_batches * size)
