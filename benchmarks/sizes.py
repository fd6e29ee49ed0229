"""Whether a run measures the real sizes or rehearses every line with tiny ones."""

from __future__ import annotations

from typing import TypeVar

Size = TypeVar("Size")

quick = False  # set by `pytest benchmarks --quick`, before the cases are collected


def choose(full: Size, tiny: Size) -> Size:
    """Return what is measured, or what rehearses it."""
    return tiny if quick else full
