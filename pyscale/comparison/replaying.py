"""A store of activations beside models that run: what it holds of every batch's samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyscale.comparison.batches import Batch, batch_ids, shuffles
from pyscale.metrics.validity import warn
from pyscale.stores.sample_ids import check_unique
from pyscale.stores.store import SampleId, Store, StoredLayer


class ReplayedSide:
    """Stored activations of the samples that models see, batch by batch.

    Samples are matched by id where the batches and the store have ids; otherwise the store holds the loader's samples
    in the loader's order, and a warning says so where one of them has ids.

    Args:
        label: What errors call it.
        store: Open for reading.
        layers: Those that are compared.

    Attributes:
        skipped: Nothing: what was not stored is not known.
        dtypes: Element types of the activations.
    """

    def __init__(self, label: str, store: Store, layers: Sequence[StoredLayer]) -> None:
        self.label = label
        self.store = store
        self.layers = list(layers)
        self.skipped: dict[str, str] = {}
        self.dtypes = {str(layer.dtype).removeprefix("torch.") for layer in layers}
        self._by_id: bool | None = None  # how samples are found; None before the first batch
        self._places: dict[SampleId, int] | None = None
        self._given: dict[SampleId, int] = {}  # in which batch

    @property
    def kind(self) -> str:
        """The name of the model's class where it was stored, else the store's address."""
        return str(self.store.attributes.get("model") or self.store.address)

    @property
    def rows(self) -> list[str]:
        """Names of its compared layers."""
        return [layer.name for layer in self.layers]

    def replay(self, batch: Batch, samples: range, take: Callable[[str, Tensor], None], device: torch.device) -> None:
        """Hand over what every layer gave for a batch, one after the other.

        Args:
            batch: As the loaders give it.
            samples: Its samples' numbers among all that the loaders give.
            take: Takes a layer's name and activation.
            device: Where the activations go.

        Raises:
            ValueError: The store lacks a sample.
        """
        places = self._found(batch, len(samples))
        if places is None and samples.stop > self.store.samples:
            raise ValueError(
                f"the loader gives more than the {self.store.samples} samples of {self.label} ({self.store.address}); "
                f"models and stores must have the same samples in the same order, or both sample ids"
            )
        for layer in self.layers:
            rows = layer.rows(samples.start, samples.stop) if places is None else layer.take(places)
            take(layer.name, rows.to(device))

    def check_order(self, loaders: Iterable[Iterable[Any]]) -> None:
        """Warn where loaders draw an order of their own, in which a store without ids doesn't have its samples."""
        if self.store.ids is None and any(shuffles(loader) for loader in loaders):
            warn(
                f"loader shuffles, and {self.label} ({self.store.address}) has no sample ids: row i is another sample "
                f"in each; use shuffle=False, or extract it with ids"
            )

    def check_all_seen(self, samples: int, *, whole: bool) -> None:
        """Raise ValueError unless the loaders gave all samples of the store, where they were read to their ends."""
        self.store.check_unchanged()
        if whole and samples != self.store.samples:
            raise ValueError(
                f"the loader gave {samples} samples and {self.label} ({self.store.address}) has {self.store.samples}; "
                f"models and stores must have the same samples"
            )

    def _found(self, batch: Batch, samples: int) -> list[int] | None:
        """Return where the store has a batch's samples; None where it has to be in the same order."""
        ids = next((ids for seen in batch.seen if (ids := batch_ids(seen)) is not None), None)
        theirs = self.store.ids
        self._choose(batch.number, ids is not None)
        if ids is None or theirs is None:
            return None
        if self._places is None:
            self._places = {item: place for place, item in enumerate(theirs)}
        for item in ids:
            if item not in self._places:
                raise ValueError(
                    f"sample {item!r} of batch {batch.number} is not in {self.label} ({self.store.address})"
                )
        if len(ids) != samples:
            raise ValueError(f"batch {batch.number} has {samples} samples and {len(ids)} ids")
        check_unique(ids, f"batch {batch.number}")
        for item in ids:  # a batch may be asked for again
            if (before := self._given.setdefault(item, batch.number)) != batch.number:
                raise ValueError(f"batches {before} and {batch.number} both have sample {item!r}; each must come once")
        return [self._places[item] for item in ids]

    def _choose(self, number: int, identified: bool) -> None:
        """Hold to one way of finding samples, whether a batch has ids or not, and warn where it is by their places."""
        by_id = identified and self.store.ids is not None
        if self._by_id not in (None, by_id):
            had, has = ("no ids", "ids") if by_id else ("ids", "no ids")
            raise ValueError(
                f"batch {number} has {has}, and those before it have {had}: samples of {self.label} "
                f"({self.store.address}) are found by ids in all batches or in none"
            )
        if self._by_id is None and identified != (self.store.ids is not None):
            having = "no sample ids, and the batches have" if identified else "sample ids, and the batches have none"
            warn(
                f"{self.label} ({self.store.address}) has {having}: sample i of the store is taken to be the loader's "
                f"sample i"
            )
        self._by_id = by_id
