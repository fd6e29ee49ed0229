"""What tests of comparisons on a GPU share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def float32_convolutions():
    """By default they are TF32: 10 bits, which round differently for other batches and algorithms than the CPU's."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = allowed
