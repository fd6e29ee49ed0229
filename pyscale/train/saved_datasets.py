"""Data sets of Hugging Face's library ``datasets`` by their address: a folder on disk, or a name on the hub."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from pyscale.train.dependencies import import_train_dependency

_MARKS = ("dataset_dict.json", "state.json")  # what save_to_disk leaves of several splits, and of one


def is_saved_dataset(folder: str | PathLike[str]) -> bool:
    """Whether ``save_to_disk`` of ``datasets`` wrote a folder."""
    return any((Path(folder) / mark).is_file() for mark in _MARKS)


def opened_dataset(address: str | PathLike[str], config: str | None = None) -> Mapping[str, Any]:
    """Open a data set: its splits by name.

    Args:
        address: A folder that ``save_to_disk`` wrote; otherwise what ``datasets.load_dataset`` takes: a folder of
            Parquet or picture files, or a name on the hub. ``~`` is the home directory.
        config: Which configuration, where there are several.

    Raises:
        FileNotFoundError: If there is no such folder, and no such name.
        ValueError: If a saved folder is damaged, or was given a configuration.
        ImportError: If ``datasets`` is not installed.
    """
    library = import_train_dependency("datasets", extra="hub")
    folder = Path(address).expanduser()
    if not folder.exists() and (isinstance(address, PathLike) or folder.is_absolute() or address.startswith(".")):
        raise FileNotFoundError(f"path: no such folder: {folder}")
    if not is_saved_dataset(folder):
        loaded: Mapping[str, Any] = library.load_dataset(str(folder) if folder.exists() else str(address), config)
        return loaded
    if config is not None:
        raise ValueError(f"config: {folder} was saved to disk as it is, got {config!r}")
    try:
        saved = library.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"path: {folder} is no whole data set: {error}") from error
    return saved if isinstance(saved, Mapping) else {"train": saved}
