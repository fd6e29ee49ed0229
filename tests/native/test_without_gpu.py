"""Where there is no driver or no GPU, every CUDA entry of the library says so; none crashes, none pretends."""

from __future__ import annotations

import pytest
import torch

from pyscale import _native
from pyscale.ops.native import matrix

pytestmark = [
    pytest.mark.skipif(not _native.HAS_CUDA, reason="built without a CUDA compiler"),
    pytest.mark.skipif(_native.cuda_device_count() > 0, reason="there is a GPU"),
]


def view(rows, columns):
    """A matrix in the CPU's memory, of float64; kept alive by the caller's module for as long as the tests run."""
    kept.append(torch.zeros(rows, columns, dtype=torch.float64))
    return matrix(kept[-1])


kept: list[torch.Tensor] = []


def calls():
    """Every entry with arguments that fit."""
    if not _native.HAS_CUDA:
        return {}
    options = (_native.Kernel.linear, _native.Centering.double, False)
    precision = _native.Precision.exact
    X, square, line, none = view(4, 4), view(4, 4), view(1, 4), view(1, 0)
    return {
        "cuda_grams_workspace": ([X], *options, precision, 0),
        "cuda_grams": ([square], [X], 0, *options, 1.0, precision, 0, 1 << 30, 0, 0, 0),
        "cuda_hsic_workspace": (4, 4, 4, 0),
        "cuda_hsic_pairs": (square, X, X, none, 0, 0),
        "cuda_moments_workspace": (4, 4, 4, 0),
        "cuda_self_moments": (square, X, line, none, 0, 0),
        "cuda_cross_moments": (square, X, line, X, line, none, 0, 0),
    }


def test_all_entries_are_called_here():
    assert {name for name in dir(_native) if name.startswith("cuda_")} == {*calls(), "cuda_device_count"}


@pytest.mark.parametrize("name", calls())
def test_an_entry_says_what_is_missing(name):
    with pytest.raises(
        RuntimeError, match=r"CUDA: .*\[cudaError(InsufficientDriver|NoDevice)\].*(no NVIDIA driver|no GPU)"
    ):
        getattr(_native, name)(*calls()[name])
