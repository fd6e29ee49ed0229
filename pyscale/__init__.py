"""pyscale: what scaling or compressing a CNN buys, and what it changes inside.

The public names below are loaded on first use, so that ``import pyscale`` costs little more than ``import torch``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

__version__ = version("pyscale")

_SUBMODULES = (
    "cli",
    "comparison",
    "compress",
    "distributed",
    "metrics",
    "models",
    "ops",
    "stores",
    "studies",
    "train",
)
_FUNCTIONS = {
    "cka": "metrics",
    "hsic": "metrics",
    "cca": "metrics",
    "svcca": "metrics",
    "pwcca": "metrics",
    "procrustes": "metrics",
    "cka_matrix": "metrics",
    "chance": "metrics",
    "compare": "comparison",
    "compare_many": "comparison",
    "compare_stores": "comparison",
    "compare_weights": "comparison",
    "Comparison": "comparison",
    "Comparisons": "comparison",
    "extract": "comparison",
    "open_store": "stores",
}

if TYPE_CHECKING:
    from pyscale import cli, comparison, compress, distributed, metrics, models, ops, stores, studies, train
    from pyscale.comparison import (
        Comparison,
        Comparisons,
        compare,
        compare_many,
        compare_stores,
        compare_weights,
        extract,
    )
    from pyscale.metrics import cca, chance, cka, cka_matrix, hsic, procrustes, pwcca, svcca
    from pyscale.stores import open_store

__all__ = [
    "Comparison",
    "Comparisons",
    "cca",
    "chance",
    "cka",
    "cka_matrix",
    "cli",
    "compare",
    "compare_many",
    "compare_stores",
    "compare_weights",
    "comparison",
    "compress",
    "distributed",
    "extract",
    "hsic",
    "metrics",
    "models",
    "open_store",
    "ops",
    "procrustes",
    "pwcca",
    "stores",
    "studies",
    "svcca",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"pyscale.{name}")
    if name in _FUNCTIONS:
        return getattr(import_module(f"pyscale.{_FUNCTIONS[name]}"), name)
    raise AttributeError(f"module 'pyscale' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
