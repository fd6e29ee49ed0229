"""Only development builds have the emulated kernels; without them one file of this room is left, which says so."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

EMULATED = find_spec("pyscale._emulated") is not None


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what could not even be imported; None leaves the decision to others."""
    return True if not EMULATED and collection_path.name != "test_emulator.py" and collection_path.is_file() else None


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The tensors are small and the emulator runs on one thread: more of torch's would only wait beside it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
