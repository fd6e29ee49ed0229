"""Names of layers: given, or fixed by the first update, and the same ever after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor

from pyscale.ops.arrays import as_matrix

Layers: TypeAlias = Mapping[str, Any] | Sequence[Any]


def as_layers(activations: Layers, argument: str, names: Sequence[str] | None) -> dict[str, Tensor]:
    """Return activations by layer name, in the order of ``names`` where they are known.

    Args:
        activations: A dict by name, or a list, of arrays (n, p).
        argument: What the caller's user calls them.
        names: The names, if they are known: a list goes by them; otherwise its names are "0", "1", ...

    Raises:
        TypeError: It is neither dict nor list, or a value is no floating-point array.
        ValueError: It is empty, or its names or their number are not those known.
    """
    if isinstance(activations, Mapping):
        given = dict(activations)
        if names is not None and set(given) != set(names):
            raise ValueError(f"{argument} has layers {list(given)}; expected {list(names)}")
        given = {name: given[name] for name in names or given}
    elif isinstance(activations, Sequence) and not isinstance(activations, str):
        if names is not None and len(activations) != len(names):
            raise ValueError(f"{argument} has {len(activations)} layers; expected {len(names)}: {list(names)}")
        given = dict(zip(names or map(str, range(len(activations))), activations, strict=True))
    else:
        raise TypeError(f"{argument} is a {type(activations).__name__}; expected a dict or a list of activations")
    if not given:
        raise ValueError(f"{argument} is empty; expected at least one layer")
    return {name: as_matrix(x, f"{argument}[{name!r}]") for name, x in given.items()}


def same_everywhere(rows: dict[str, Tensor], columns: dict[str, Tensor]) -> int:
    """Return the number of samples that all layers share; ValueError where it, or the device, is not the same."""
    (first, x), *others = [*rows.items(), *columns.items()]
    for name, y in others:
        if len(y) != len(x):
            raise ValueError(
                f"layer {first!r} has {len(x)} samples and layer {name!r} has {len(y)}; "
                f"row i of all must be the same sample"
            )
        if y.device != x.device:
            raise ValueError(f"layer {first!r} is on {x.device} and layer {name!r} on {y.device}; move one of them")
    return len(x)


@dataclass(frozen=True)
class LayerNames:
    """The names of both sets of layers, None while unknown, and whether the two are one set."""

    given_rows: Sequence[str] | None = None
    given_columns: Sequence[str] | None = None
    seen_rows: list[str] | None = None
    seen_columns: list[str] | None = None
    same: bool | None = None

    @classmethod
    def given(cls, rows: Sequence[str] | None, columns: Sequence[str] | None) -> LayerNames:
        """Return the names that a constructor was given, or None for those of the first update.

        Raises:
            TypeError: They are no list.
            ValueError: There are none, or one stands twice.
        """
        for argument, names in (("rows", rows), ("columns", columns)):
            if names is None:
                continue
            if isinstance(names, str) or not isinstance(names, Sequence):
                raise TypeError(f"{argument} is {names!r}; expected a list of layers' names, or None")
            if not names:
                raise ValueError(f"{argument} is empty; expected at least one layer")
            name, times = Counter(names).most_common(1)[0]
            if times > 1:
                raise ValueError(f"{argument} holds {name!r} {times} times; every layer needs a name of its own")
        return cls(rows, columns)

    @property
    def rows(self) -> list[str] | None:
        """Names of the first set's layers."""
        return list(self.given_rows) if self.given_rows is not None else self.seen_rows

    @property
    def columns(self) -> list[str] | None:
        """Names of the second set's layers."""
        return list(self.given_columns) if self.given_columns is not None else self.seen_columns

    def agreed(self, rows: list[str], columns: list[str], same: bool) -> LayerNames:
        """Return the names after an update that used these; ValueError where it changes one set into two or back."""
        if self.same is not None and self.same != same:
            kinds = {True: "one set with itself", False: "two sets"}
            raise ValueError(f"this update compares {kinds[same]}; earlier ones compared {kinds[self.same]}")
        return LayerNames(self.given_rows, self.given_columns, rows, columns, same)

    def forgotten(self) -> LayerNames:
        """Return the names as they were before any update."""
        return LayerNames(self.given_rows, self.given_columns)

    def described(self, sets: tuple[str, str] | None) -> list[str]:
        """Return what messages call all layers: the first set's, and the second's where it is another.

        Args:
            sets: What they call the sets; None names no set.
        """
        of_x, of_y = ("", "") if sets is None else (f" of {name}" for name in sets)
        columns = [] if self.same else self.columns or []
        return [*(f"layer {name!r}{of_x}" for name in self.rows or []), *(f"layer {name!r}{of_y}" for name in columns)]

    def flagged(self, rows: Iterable[bool], columns: Iterable[bool], sets: tuple[str, str] | None) -> list[str]:
        """Return what messages call the layers whose flags are set, each once."""
        flags = [*rows, *(() if self.same else columns)]
        return list(dict.fromkeys(layer for layer, flag in zip(self.described(sets), flags, strict=True) if flag))

    def state(self) -> dict[str, Any]:
        """Return the names as plain lists."""
        return {"rows": self.rows, "columns": self.columns, "same": self.same}

    def loaded(self, state: dict[str, Any]) -> LayerNames:
        """Return the names a state holds; ValueError where others were given to the constructor."""
        for kind, given in (("rows", self.given_rows), ("columns", self.given_columns)):
            if given is not None and state[kind] is not None and list(given) != list(state[kind]):
                raise ValueError(f"state has {kind}={state[kind]}; this metric has {kind}={list(given)}")
        return LayerNames(self.given_rows, self.given_columns, state["rows"], state["columns"], state["same"])
