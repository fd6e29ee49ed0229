"""The optional libraries of the ``train`` and ``hub`` extras, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_train_dependency(name: str, extra: str = "train") -> Any:
    """Import an optional library of training, or say how to install it.

    Args:
        name: The module's dotted name, such as ``"scipy.stats"``.
        extra: Of the package, that installs it.

    Returns:
        The module.

    Raises:
        ImportError: If it is not installed; the message names the extra.

    Example:
        >>> import_train_dependency("scipy.stats").__name__
        'scipy.stats'
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # something inside the library is broken: not ours to explain
        raise ImportError(f"{name} is needed here: pip install 'pyscale[{extra}]'", name=error.name) from error
