"""A store of activations beside models that run: what it holds of every batch's samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pyscale.comparison.batches import Batch, batch_ids
from pyscale.stores.sample_ids import check_unique
from pyscale.stores.store import SampleId, Store, StoredLayer


class ReplayedSide:
    """Stored activations of the samples that models see, batch by batch.

    Samples are matched by id where the batches and the store have ids; otherwise the store holds the loader's samples
    in the loader's order.

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
        ids = batch_ids(batch.seen[0])
        theirs = self.store.ids
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
