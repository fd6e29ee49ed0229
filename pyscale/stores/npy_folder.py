"""Folders of ``.npy`` files: a file a layer, or thingsvision's folder a layer with its features in pieces."""

from __future__ import annotations

import re
from pathlib import Path

from pyscale.stores.errors import DamagedStoreError
from pyscale.stores.npy import npy_layer, read_small
from pyscale.stores.places import Folder
from pyscale.stores.raw_arrays import JoinedLayer, pieces_follow, stamps_of
from pyscale.stores.sample_ids import NAMES, as_ids, choose_ids, ids_of_array
from pyscale.stores.store import SampleId, Store, StoredLayer

FILE_NAMES = "file_names.txt"  # in which thingsvision lists the pictures, in the order of the rows
_PIECE = re.compile(r"features(.*)_(\d+)-(\d+)\.npy")
_MOST_FILE_NAMES = 2**30  # bytes


def open_folder(place: Folder) -> Store:
    """Open a folder of ``.npy`` files.

    Raises:
        ValueError: There is no ``.npy`` file in it, or one leads elsewhere.
        DamagedStoreError: A file is cut short, or pieces of a layer are missing.
    """
    files = sorted(place.path.glob("*.npy"))
    folders = sorted(path for path in place.path.iterdir() if path.is_dir() and any(path.glob("*.npy")))
    for path in (*files, *folders):
        if path.is_symlink():
            raise ValueError(f"{place.address}: {path.name} is a symbolic link, which stores don't follow")
    layers: dict[str, StoredLayer] = {}
    for path in files:
        layer = npy_layer(path.stem, path) if path.stem not in NAMES else None
        if layer is not None:
            layers[layer.name] = layer
    for folder in folders:
        layers |= _layers_of(folder)
    parts = [*files, *(path for folder in folders for path in folder.glob("*.npy")), place.path / FILE_NAMES]

    def ids() -> tuple[SampleId, ...] | None:
        samples = next(iter(layers.values())).samples
        found = choose_ids({path.stem: path for path in files}, place.address)
        return _file_names(place, samples) if found is None else ids_of_array(read_small(found), samples, place.address)

    return Store(place.address, layers, ids=ids, stamps=lambda: stamps_of(*parts))


def _layers_of(folder: Path) -> dict[str, StoredLayer]:
    """Return what a folder named after a layer holds: one file, or pieces of it, by suffix."""
    layers: dict[str, StoredLayer] = {}
    pieces: dict[str, list[tuple[int, int, Path]]] = {}
    for path in sorted(folder.glob("*.npy")):
        match = _PIECE.fullmatch(path.name)
        if match is not None:
            pieces.setdefault(match[1], []).append((int(match[2]), int(match[3]), path))
            continue
        name = folder.name if path.stem == "features" else f"{folder.name}/{path.stem}"
        layer = npy_layer(name, path)
        if layer is not None:
            layers[name] = layer
    for suffix, found in pieces.items():
        name = folder.name + suffix
        layers[name] = _joined(name, sorted(found, key=lambda piece: piece[:2]))
    return layers


def _joined(name: str, pieces: list[tuple[int, int, Path]]) -> StoredLayer:
    if not pieces_follow([(start, stop) for start, stop, _ in pieces]):
        raise DamagedStoreError(
            f"layer {name!r} lacks pieces: there are " + ", ".join(path.name for _, _, path in pieces[:8])
        )
    layers = []
    for start, stop, path in pieces:
        layer = npy_layer(name, path)
        if layer is None or layer.samples != stop - start:
            raise DamagedStoreError(f"{path} doesn't hold samples {start} to {stop - 1}, as its name says")
        layers.append(layer)
    return JoinedLayer(name, layers)


def _file_names(place: Folder, samples: int) -> tuple[SampleId, ...] | None:
    try:
        text = place.read(FILE_NAMES, _MOST_FILE_NAMES).decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    names = [line for line in text.splitlines() if line]
    if len(names) != samples:
        raise ValueError(
            f"{FILE_NAMES} of {place.address} has {len(names)} lines; expected one for each of {samples} samples"
        )
    return as_ids(names, f"{FILE_NAMES} of {place.address}")
