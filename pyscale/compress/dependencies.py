"""The optional libraries of the ``compress`` extra, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_compress_dependency(name: str) -> Any:
    """Import a library of the ``compress`` extra, or say how to install it.

    Args:
        name: The module's dotted name, such as ``"torch_pruning"``.

    Returns:
        The module.

    Raises:
        ImportError: If it is not installed; the message names the extra.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # something inside the library is broken: not ours to explain
        raise ImportError(f"{name} is needed here: pip install 'pyscale[compress]'", name=error.name) from error
