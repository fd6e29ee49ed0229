"""What all tests share: where those marked ``cuda`` can run, and that the emulator is there where it must be."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest
import torch


def pytest_configure(config):
    """Refuse to skip all kernels in silence where the emulator was asked for and is not there."""
    if os.environ.get("PYSCALE_EMULATOR") == "ON" and find_spec("pyscale._emulated") is None:
        raise pytest.UsageError("PYSCALE_EMULATOR is ON, but pyscale._emulated was not built: `make build`")


def pytest_collection_modifyitems(items):
    """Skip the tests that need a GPU where torch sees none; ``make gpu`` makes sure of one before it runs them."""
    if torch.cuda.is_available():
        return
    for item in items:
        if "cuda" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
