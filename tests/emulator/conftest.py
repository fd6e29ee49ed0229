"""Only development builds have the emulated kernels; without them one file of this room is left, which says so."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

EMULATED = find_spec("pyscale._emulated") is not None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what could not even be imported; None leaves the decision to others."""
    return True if not EMULATED and collection_path.name != "test_emulator.py" and collection_path.is_file() else None
