"""One of the stores of a comparison: its chosen layers, and where its samples are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from pyscale.metrics.validity import warn
from pyscale.stores.sample_ids import check_unique, places_of
from pyscale.stores.store import Store, StoredLayer

StoredNames = str | Iterable[str] | None


class StoredSide:
    """A store of a comparison.

    Attributes:
        label: What errors call it.
        store: Open for reading.
        layers: Those that are compared, in the store's order.
        places: Where in the store each sample is, in the order that all sides share; None for the store's own order.
    """

    def __init__(
        self, label: str, store: Store, layers: Sequence[StoredLayer], places: Sequence[int] | None = None
    ) -> None:
        self.label = label
        self.store = store
        self.layers = list(layers)
        self.places = None if places is None else list(places)

    @property
    def rows(self) -> list[str]:
        """Names of its compared layers."""
        return [layer.name for layer in self.layers]

    @property
    def model(self) -> str:
        """What the model is called, where that is known; the label otherwise."""
        return str(self.store.attributes.get("model") or self.label)

    def of(self, layers: Sequence[StoredLayer]) -> StoredSide:
        """Return this side with some of its layers."""
        return StoredSide(self.label, self.store, layers, self.places)


def choose_layers(store: Store, names: StoredNames, argument: str) -> list[StoredLayer]:
    """Return layers of a store, in its order.

    Args:
        store: Which.
        names: Names or glob patterns, one or several; None is all.
        argument: What errors call ``names``.

    Raises:
        TypeError: ``names`` or one of them is no string.
        ValueError: One of them fits no layer.
    """
    if names is None:
        return list(store.layers.values())
    if not isinstance(names, str | type | Iterable):
        raise TypeError(f"{argument} is a {type(names).__name__}; expected names or glob patterns of layers, or None")
    wanted: set[str] = set()
    items: list[Any] = [names] if isinstance(names, str | type) else list(names)
    for item in items:
        if not isinstance(item, str):
            raise TypeError(f"{argument} holds {item!r}; a store knows its layers by name: expected names or patterns")
        found = [item] if item in store.layers else [name for name in store.layers if fnmatchcase(name, item)]
        if not found:
            near = get_close_matches(item, list(store.layers), n=5, cutoff=0.5) or list(store.layers)[:8]
            raise ValueError(
                f"{argument} asks for {item!r}, but {store.address} has no such layer; it has "
                f"{', '.join(map(repr, near))}{'' if len(near) == len(store.layers) else ', ...'}"
            )
        wanted.update(found)
    if not wanted:
        raise ValueError(f"{argument} is empty; name at least one layer, or pass None for all")
    return [layer for name, layer in store.layers.items() if name in wanted]


def align(sides: Sequence[StoredSide]) -> None:
    """Set ``places`` of all sides so that sample i is the same in each: by ids where there are any.

    Stores without ids are taken to have the samples in the same order; beside others that have ids, with a warning.

    Raises:
        ValueError: A sample is missing in a store, or there twice; a store without ids has another number of them, or
            stands beside stores of different orders.
    """
    identified = [side for side in sides if side.store.ids is not None]
    bare = [side for side in sides if side.store.ids is None]
    first = (identified or bare)[0]
    if first.store.ids is not None:
        check_unique(first.store.ids, first.store.address)
        for side in identified:
            side.places = places_of(first.store.ids, side.store)
    for side in bare:
        if side.store.samples != first.store.samples:
            raise ValueError(
                f"{first.store.address} has {first.store.samples} samples and {side.store.address}, which has no "
                f"sample ids, {side.store.samples}; stores must hold the same samples"
            )
    if bare and identified:
        _check_order(first, bare, next((side for side in identified if side.places is not None), None))


def _check_order(first: StoredSide, bare: Sequence[StoredSide], moved: StoredSide | None) -> None:
    """Warn of stores without ids beside one that has them; ValueError where two that have them differ in order."""
    names, several = ", ".join(side.store.address for side in bare), len(bare) > 1
    if moved is not None:
        raise ValueError(
            f"{names} {'have' if several else 'has'} no sample ids, and {first.store.address} and "
            f"{moved.store.address} hold the same samples in different orders: which of them a row is can't be known; "
            f"leave {'them' if several else 'it'} out, or store ids"
        )
    warn(
        f"{names} {'have' if several else 'has'} no sample ids, and {first.store.address} has: row i is taken to be "
        f"the same sample in each"
    )
