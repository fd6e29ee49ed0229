"""The optional libraries of the ``report`` extra, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def import_report_dependency(name: str) -> Any:
    """Return a module of the ``report`` extra's libraries.

    Args:
        name: Its dotted name, such as "matplotlib.pyplot".

    Raises:
        ImportError: It is not installed; the message names the extra.

    Example:
        >>> import_report_dependency("pandas").__name__
        'pandas'
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        library = name.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != library:
            raise  # a library is there but broken: its own message says more
        raise ImportError(f"this needs {library}: pip install 'pyscale[report]'", name=error.name) from error
