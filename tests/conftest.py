"""What all tests share: where those marked ``cuda`` can run, and that what must be there is there."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec

import pytest
import torch

from tests.studies import browser


def pytest_configure(config):
    """Refuse to skip in silence what was asked for: all kernels without the emulator, the report without a browser."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as shells start what runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # what tests of Ctrl-C send must arrive
    if os.environ.get("PYSCALE_EMULATOR") == "ON" and find_spec("pyscale._emulated") is None:
        raise pytest.UsageError("PYSCALE_EMULATOR is ON, but pyscale._emulated was not built: `make build`")
    if os.environ.get("PYSCALE_BROWSER") == "ON" and browser.lacking():
        raise pytest.UsageError(f"PYSCALE_BROWSER is ON, but these are not installed: {', '.join(browser.lacking())}")


def pytest_collection_modifyitems(items):
    """Skip the tests that need a GPU where torch sees none; ``make gpu`` makes sure of one before it runs them."""
    if torch.cuda.is_available():
        return
    for item in items:
        if "cuda" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
