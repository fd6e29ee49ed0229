"""Co-moments by torch's own matrix product, of copies centred in float64, a slice of samples at a time."""

from __future__ import annotations

import torch
from torch import Tensor

_SLICE = 1 << 21  # elements of a slice's copies: 16 MiB
_DEPTH = 1024  # samples of a slice at least: all sums are read and written once for each
_FEW = 96  # samples, with which
_LARGE = 1024  # features' sums are bound by reading and writing them


def preferred(x: Tensor, y: Tensor | None) -> bool:
    """Return whether torch's product is faster on the CPU than the native kernel.

    It is for two sets, of which all products are needed: by a tenth to a third. Of one set the native kernel forms
    half of them, and wins but where samples are so few that the sums' own traffic is what takes the time.
    """
    return y is not None or (len(x) < _FEW and x.shape[1] >= _LARGE)


def add_moments(out: Tensor, x: Tensor, shift_x: Tensor, y: Tensor | None, shift_y: Tensor | None) -> None:
    """Add to ``out`` (p, q) the co-moments of ``x`` (n, p) with ``y`` (n, q), or with itself."""
    columns = x.shape[1] + (0 if y is None else y.shape[1])
    step = min(max(_DEPTH, _SLICE // max(columns, 1)), len(x))
    # Made before anything is added: where there is no memory for them, the sums are as they were.
    a = out.new_empty((step, x.shape[1]))
    b = a if y is None else out.new_empty((step, y.shape[1]))
    for k in range(0, len(x), step or 1):
        count = min(step, len(x) - k)
        torch.sub(x[k : k + count].detach(), shift_x.detach(), out=a[:count])
        if y is not None and shift_y is not None:
            torch.sub(y[k : k + count].detach(), shift_y.detach(), out=b[:count])
        out.addmm_(a[:count].T, b[:count])
