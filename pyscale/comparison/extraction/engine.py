"""From a model and a loader to a store, taken up where an earlier run stopped."""

from __future__ import annotations

import os
from collections.abc import Iterable
from os import PathLike
from typing import Any, Literal

import torch
from torch import nn

from pyscale.comparison.batches import Forward, check_loader, count_batches, shuffles
from pyscale.comparison.extraction.digests import batch_digest
from pyscale.comparison.extraction.extracting import Extraction
from pyscale.comparison.extraction.gathered_ids import GatheredIds, check_count
from pyscale.comparison.extraction.settings import (
    Existing,
    agreed_settings,
    check_same,
    describe_settings,
    find_existing,
    warn_of_unknown,
)
from pyscale.comparison.extraction.sharing import Known, compute_share
from pyscale.comparison.features import Features
from pyscale.comparison.layers import Layers, select_layers
from pyscale.comparison.options import whole
from pyscale.comparison.sides import Side
from pyscale.comparison.state import check_initialised, home, left_as_found
from pyscale.distributed import gathered, local_device
from pyscale.metrics.validity import warn
from pyscale.ops.devices import check_device
from pyscale.ops.gram import check_choice
from pyscale.stores.lock import writing_alone
from pyscale.stores.opening import FILES, open_store
from pyscale.stores.places import Place, place_of
from pyscale.stores.sample_ids import as_ids, hash_ids
from pyscale.stores.store import SampleId, Store
from pyscale.stores.zarr_writer import StoreWriter, tidy


def extract(
    model: nn.Module,
    loader: Iterable[Any],
    path: str | PathLike[str],
    *,
    layers: Layers = None,
    features: Features = "flatten",
    sample_ids: Iterable[SampleId] | None = None,
    forward: Forward | None = None,
    device: torch.device | str | None = None,
    max_batches: int | None = None,
    resume: bool = True,
    sharding: Literal["auto", "none"] = "auto",
    progress: bool = True,
) -> Store:
    """Write the activations of a model's layers to a Zarr store, to be compared later, as often as one likes.

    The model runs as in :func:`pyscale.compare`; every activation is copied inside its hook and written by a thread
    beside the forward pass. At most 256 MiB of them wait, or one activation. A layer is one array (samples, ...) that
    keeps the activation's shape and its numbers exactly, compressed where that is worth it, with a checksum a chunk.

    A run that is stopped, however that comes about, leaves a store that says that it is unfinished. The same call goes
    on from its last whole chunks, and ends with the same bytes as a run that was not stopped, if model, data and
    machine give the same bits. Batches that are done are drawn from the loader again, but not computed. Where a
    finished store of the same settings is there, it is returned as it is. Its first batch and the number of batches are
    looked at, not all of its inputs. ``forward`` is held against what the store was made with: its code, what it holds,
    and the global names it looks up.

    Under torchrun, or in any ``torch.distributed`` process group, the processes share the batches: each computes its
    own and rank 0 writes all, in their order, so that the store is that of one process. ``path`` must be a place that
    all of them can read (docs/distributed.md).

    Args:
        model: Any module; wrappers are seen through.
        loader: Batches, as in :func:`pyscale.compare`, in an order that is the same each time.
        path: A folder that is not there yet, such as "acts.zarr", or an address of fsspec: ``s3://bucket/acts.zarr``.
        layers: Names, glob patterns or module types, one or several; None is every leaf that computes.
        features: "flatten" keeps all numbers, "pool" the means over all but samples and channels. ("positions" is read
            from what "flatten" keeps.)
        sample_ids: An id for every sample, whole numbers or strings. None takes those of dict batches under the key
            "id", "ids", "sample_id", "sample_ids" or "index"; where there are none, samples go by their places. A
            wrong number of them is refused as early as it can be known; an unfinished store takes others.
        forward: ``forward(model, batch)``, to be called instead of the rules of :func:`pyscale.compare`.
        device: Where the model runs; None is where it is.
        max_batches: Stop after that many.
        resume: Go on with an unfinished store of the same settings; False begins it anew. A finished one stays.
        sharding: "none" extracts on this process alone, whatever others there are.
        progress: Show a progress bar, on rank 0.

    Returns:
        The finished store, open for reading.

    Raises:
        TypeError: ``model`` is no module, or ``loader`` no iterable of batches.
        ValueError: A store with other settings is there; a layer doesn't exist, never ran, changes its shape, or gives
            NaN or infinity; ids are missing or not unique.
        FileExistsError: Something else is there.
        LockedStoreError: Another process is writing to the store (an OSError).
        OSError: It can't be written, as on a full disk; what was written stays, and the same call goes on.
        ImportError: A library of the ``store`` extra is missing.
        pyscale.distributed.PeerError: Another process failed or died.

    Example:
        >>> import tempfile, torch
        >>> import pyscale as ps
        >>> net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU())
        >>> batches = [torch.randn(32, 8) for _ in range(4)]
        >>> store = ps.extract(net, batches, tempfile.mkdtemp() + "/acts.zarr", progress=False)
        >>> {name: layer.shape for name, layer in store.layers.items()}
        {'0': (128, 16), '1': (128, 16)}
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
    check_initialised(model, "model")
    check_loader(loader, "loader")
    _check_path(path)
    _check_features(features)
    if max_batches is not None:
        max_batches = whole("max_batches", max_batches, least=1)
    ids = None if sample_ids is None else as_ids(sample_ids, "sample_ids")
    if ids is not None:
        check_count(ids, loader, max_batches)
    side = Side("the model", model, select_layers(model, layers), forward)
    check_choice("sharding", sharding, ("auto", "none"))
    where = None if device is None else check_device(local_device(device))
    runs_on = where or home(model) or torch.device("cpu")
    settings = describe_settings(
        model,
        side.tap.selection,
        features=features,
        forward=forward,
        max_batches=max_batches,
        given_ids=None if ids is None else hash_ids(ids),
        device=runs_on,
    )
    place = place_of(path)
    with gathered(alone=sharding == "none") as crew:
        crew.agree("extract", agreed_settings(settings))
        if not crew.first:
            known = crew.broadcast()
            if known is not None:
                with left_as_found(model, device=where):
                    compute_share(
                        crew, side, loader, max_batches, Known(*known), device=runs_on, pooled=features == "pool"
                    )
        else:
            with writing_alone(place):
                writer = _writer(place, settings, loader, resume=resume)
                if writer is None:
                    tidy(place)
                    crew.broadcast(None)
                else:
                    gathered_ids = GatheredIds(ids)
                    extraction = Extraction(
                        writer, side, features=features, device=runs_on, ids=gathered_ids, crew=crew
                    )
                    crew.broadcast(list(extraction.known))
                    with left_as_found(model, device=where):
                        extraction.over(loader, max_batches, progress=progress)
                        writer.finish(_all_ids(gathered_ids, loader, writer))
        crew.arrive("written")
    return open_store(path)


def _writer(place: Place, settings: dict[str, Any], loader: Iterable[Any], *, resume: bool) -> StoreWriter | None:
    """Return what writes the store, taken up or begun anew; None where it is complete.

    Raises:
        ValueError: A store with other settings, or of other samples, is there.
    """
    existing = find_existing(place)
    if existing is not None and (existing.complete or resume):
        check_same(place.address, existing, settings)
        warn_of_unknown(place.address, settings)
    if existing is not None and existing.complete:
        _check_inputs(place, existing, loader, settings["max_batches"])
        return None
    return StoreWriter(place, settings, existing.attributes if existing is not None and resume else None)


def _check_path(path: str | PathLike[str]) -> None:
    """Raise TypeError for what is no path, ValueError where it is of another format than is written and opened as."""
    if not isinstance(path, str | PathLike) or not os.fspath(path):
        raise TypeError(f"path is {path!r}; expected where to write, such as 'acts.zarr' or 's3://bucket/acts.zarr'")
    suffix = next((suffix for suffix in FILES if os.fspath(path).lower().endswith(suffix)), None)
    if suffix is not None:
        raise ValueError(f"path is {os.fspath(path)!r}, and what is written is a Zarr, no {suffix} file; call it .zarr")


def _check_features(features: Features) -> None:
    if features == "positions":
        raise ValueError(
            "features is 'positions', which a store need not be made for: extract with features='flatten', which keeps "
            "the activation's shape, and give features='positions' to compare_stores"
        )
    check_choice("features", features, ("flatten", "pool"))


def _check_inputs(place: Place, existing: Existing, loader: Iterable[Any], max_batches: int | None) -> None:
    """Raise ValueError where a finished store has other batches: another number of them, or another first one."""
    recorded = existing.attributes.get("inputs")
    batches = iter(loader)
    if batches is loader or not isinstance(recorded, dict):
        return  # a generator, which would lose its first batch
    count, stored = count_batches(loader, max_batches), recorded.get("batches")
    if None not in (count, stored) and count != stored:
        raise ValueError(
            f"{place.address} is a complete store of {stored} batches, and loader has {count}; choose a new name, or "
            f"remove it first"
        )
    first = next(batches, None)
    if first is None or batch_digest("", first) != recorded.get("first_batch"):
        raise ValueError(
            f"{place.address} is a complete store of other samples: the loader's first batch is another one; choose a "
            f"new name, or remove it first"
        )


def _all_ids(ids: GatheredIds, loader: Iterable[Any], writer: StoreWriter) -> tuple[SampleId, ...] | None:
    """Return the ids of all samples, or None where there are none."""
    found = ids.all(0 if writer.progress is None else writer.progress.samples)
    if found is None and shuffles(loader):
        warn(
            "loader shuffles and its batches have no ids: nobody will know which sample a row is; use shuffle=False, "
            "batches that are dicts with an 'id', or sample_ids="
        )
    return found
