"""What makes one store another, and whether an existing one is what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from torch import nn

from pyscale.comparison.batches import Forward
from pyscale.comparison.extraction.digests import model_digest
from pyscale.comparison.extraction.forwards import describe_forward, forward_difference
from pyscale.comparison.layers import Selection
from pyscale.comparison.wrappers import unwrap
from pyscale.metrics.validity import warn
from pyscale.stores.places import PARTIAL, Place
from pyscale.stores.zarr_metadata import METADATA
from pyscale.stores.zarr_reader import FORMAT, HIDDEN, VERSION, read_node

_SAID = {
    "model": "model",
    "parameters": "model's parameters",
    "selected": "layers",
    "features": "features",
    "forward": "forward",
    "max_batches": "max_batches",
    "given_ids": "sample_ids",
    "device": "device",
    "versions": "versions",
}
_FREE_ONCE_COMPLETE = ("versions", "device")
_FREE_UNTIL_COMPLETE = ("given_ids",)  # which are written last


class Existing(NamedTuple):
    """A store that is there already."""

    attributes: dict[str, Any]
    complete: bool


def describe_settings(
    model: nn.Module,
    selection: Selection,
    *,
    features: str,
    forward: Forward | None,
    max_batches: int | None,
    given_ids: str | None,
    device: torch.device,
) -> dict[str, Any]:
    """Return all that decides what a store will hold, but for the data, as JSON types; nothing that depends on time."""
    inner = unwrap(model)
    return {
        "model": type(inner).__name__,
        "parameters": model_digest(inner),
        "selected": {
            name: sorted(selection.calls[name]) if name in selection.calls else [] for name in selection.modules
        },
        "features": features,
        "forward": describe_forward(forward),
        "max_batches": max_batches,
        "given_ids": given_ids,
        "device": device.type,
        "versions": {"pyscale": version("pyscale"), "torch": torch.__version__},
    }


def find_existing(place: Place) -> Existing | None:
    """Return the store that is there, or None where there is nothing.

    Raises:
        FileExistsError: There is something else, which won't be overwritten.
    """
    try:
        node = read_node(place, METADATA)
    except FileNotFoundError:
        begun = METADATA + PARTIAL  # all that a writer left that was killed in its first write
        foreign = next((key for key in place.stamps() if not key.startswith(HIDDEN) and key != begun), None)
        if foreign is not None:
            raise FileExistsError(
                f"{place.address} is a folder with other files in it, such as {foreign}; choose a new name"
            ) from None
        return None
    ours = node.get("attributes", {}).get("pyscale")
    if not isinstance(ours, dict) or (ours.get("format"), ours.get("version")) != (FORMAT, VERSION):
        raise FileExistsError(f"{place.address} is a Zarr that something else wrote; choose a new name")
    return Existing(ours, ours.get("complete") is True)


def check_same(address: str, existing: Existing, settings: Mapping[str, Any]) -> None:
    """Raise ValueError naming the first setting in which an existing store differs from what was asked for."""
    free = _FREE_ONCE_COMPLETE if existing.complete else _FREE_UNTIL_COMPLETE
    for name, value in settings.items():
        difference = None if name in free else _difference(name, existing.attributes.get(name), value)
        if difference is None:
            continue
        kind = "complete" if existing.complete else "unfinished"
        remedy = "choose a new name, or remove it first" if existing.complete else "or begin anew with resume=False"
        raise ValueError(f"{address} is a {kind} store with other {_SAID[name]}: {difference}; {remedy}")


def warn_of_unknown(address: str, settings: Mapping[str, Any]) -> None:
    """Warn where a store is taken for the one asked for, and ``forward`` holds things known by their type alone."""
    opaque = (settings["forward"] or {}).get("opaque")
    if opaque:
        warn(
            f"{address} is there already, and forward holds {', '.join(opaque)}, known by type alone: if that has "
            f"changed since, choose a new name, or remove the store first"
        )


def agreed_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in which processes must agree: ``forward`` may hold a device of each one's own."""
    forward = settings["forward"]
    return {**settings, "forward": None if forward is None else forward["name"]}


def _difference(name: str, found: Any, value: Any) -> str | None:
    if name == "forward":
        return forward_difference(found, value)
    return None if found == value else f"{_shown(found)} there, {_shown(value)} asked for"


def _shown(value: Any) -> str:
    text = (
        ", ".join(map(str, value))
        if isinstance(value, dict) and not any(isinstance(v, str) for v in value.values())
        else str(value)
    )
    return text if len(text) <= 80 else f"{text[:77]}..."
