"""What all tests share: where those marked ``cuda`` can run."""

from __future__ import annotations

import pytest
import torch


def pytest_collection_modifyitems(items):
    """Skip the tests that need a GPU where torch sees none; ``make gpu`` makes sure of one before it runs them."""
    if torch.cuda.is_available():
        return
    for item in items:
        if "cuda" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
