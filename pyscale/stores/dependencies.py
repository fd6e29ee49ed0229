"""The optional libraries of the ``store`` extra, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_store_dependency(name: str) -> Any:
    """Return a module of the ``store`` extra's libraries.

    Args:
        name: Its dotted name, such as "numcodecs.blosc".

    Raises:
        ImportError: It is not installed; the message names the extra.

    Example:
        >>> import_store_dependency("numcodecs.zstd").__name__
        'numcodecs.zstd'
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        library = name.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != library:
            raise  # a library is there but broken: its own message says more
        raise ImportError(f"stores need {library}: pip install 'pyscale[store]'", name=error.name) from error
