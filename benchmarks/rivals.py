"""Packages that results are compared with: their names, whether they are installed, their versions.

A contender is called by the name of the distribution it runs, then what of it: "torch x @ x.T", "ckatorch cka_base".
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import warnings
from types import ModuleType

# Distribution -> what is imported of it. Those that `make bench` installs, then those that are there anyway.
RIVALS = {
    "pytorch-cka": "cka",
    "torch_cka": "torch_cka",
    "ckatorch": "ckatorch",
    "cca-zoo": "cca_zoo.linear",
    "scikit-learn": "sklearn.cross_decomposition",
}
_THERE = ("pyscale", "torch", "numpy")


def distribution(provider: str) -> str:
    """Return the first word of what a contender is called."""
    return provider.partition(" ")[0].rstrip(",")


def version(provider: str) -> str:
    """Return the version of the distribution that a contender is called by; nothing if it is called by none."""
    name = distribution(provider)
    try:
        return importlib.metadata.version(name) if name in RIVALS or name in _THERE else ""
    except importlib.metadata.PackageNotFoundError:  # built in place
        return ""


def module(name: str) -> ModuleType | None:
    """Return what is imported of a rival; None where it is not installed."""
    if importlib.util.find_spec(RIVALS[name].partition(".")[0]) is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, of their own dependencies
        return importlib.import_module(RIVALS[name])
