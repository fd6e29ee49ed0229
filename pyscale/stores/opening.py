"""Opening what lies at a path, whichever of the known formats it has."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

from pyscale.stores.places import Folder, place_of
from pyscale.stores.store import Store
from pyscale.stores.zarr_metadata import METADATA
from pyscale.stores.zarr_reader import open_zarr

_HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
FILES = (".npy", ".npz", ".safetensors", *_HDF5)  # suffixes of formats that are one file


def open_store(path: str | PathLike[str]) -> Store:
    """Open activations on disk, whoever wrote them. Nothing is unpickled, and nothing read but what is asked for.

    =================  ================================================================================================
    a folder           Zarr of format 3, where it has a ``zarr.json``: what :func:`pyscale.extract` writes, or arrays in
                       groups; otherwise ``.npy`` files: ``layer.npy``, or thingsvision's ``layer/features.npy`` and
                       ``layer/features_0-512.npy``, ``layer/features_512-1024.npy``, ...
    ``.npy``           one layer, named as the file is
    ``.npz``           a layer an array
    ``.safetensors``   a layer a tensor
    ``.h5, .hdf5``     a layer a dataset, named by its path
    an fsspec address  Zarr
    =================  ================================================================================================

    Rows are samples. Arrays that hold no floating-point numbers are no layers; those called ``sample_ids``,
    ``sample_id``, ``ids`` or ``id`` are the samples' ids, whatever they hold, and so are the lines of thingsvision's
    ``file_names.txt``.

    Args:
        path: A file or folder, or an address such as ``s3://bucket/acts.zarr``.

    Returns:
        The store: ``layers`` by name, each with ``shape``, ``dtype`` and ``rows(start, stop)``.

    Raises:
        FileNotFoundError: There is nothing.
        DamagedStoreError: It holds less than its header says, or something that can't be true (a ValueError).
        ValueError: It is unfinished, of no known format, or holds no layer.
        ImportError: A library of the ``store`` extra is missing.

    Example:
        >>> import numpy as np, tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> np.save(folder / "conv1.npy", np.arange(12.0).reshape(4, 3))
        >>> store = open_store(folder)
        >>> store.layers["conv1"].rows(1, 3)
        tensor([[3., 4., 5.],
                [6., 7., 8.]], dtype=torch.float64)
    """
    place = place_of(path)
    if not isinstance(place, Folder):
        try:
            return open_zarr(place)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"there is no Zarr at {place.address}, and nothing else is read there") from error
    if place.path.is_dir():
        if (place.path / METADATA).exists():
            return open_zarr(place)
        older = next((name for name in (".zgroup", ".zarray") if (place.path / name).exists()), None)
        if older is not None:
            raise ValueError(
                f"{place.address} is a Zarr of format 2 (it has a {older}); format 3 is read: copy it to that"
            )
        from pyscale.stores.npy_folder import open_folder

        return open_folder(place)
    return _open_file(place.path, os.fspath(path))


def _open_file(path: Path, address: str) -> Store:
    match path.suffix.lower():
        case ".npy":
            from pyscale.stores.npy import open_npy

            return open_npy(path, address)
        case ".npz":
            from pyscale.stores.npz import open_npz

            return open_npz(path, address)
        case ".safetensors":
            from pyscale.stores.safetensors_file import open_safetensors

            return open_safetensors(path, address)
        case suffix if suffix in _HDF5:
            from pyscale.stores.hdf5 import open_hdf5

            return open_hdf5(path, address)
    if not path.exists():
        raise FileNotFoundError(f"there is no store at {address}")
    raise ValueError(
        f"{address} is of no known format; expected a Zarr or .npy folder, or a file ending in {', '.join(FILES)}"
    )
