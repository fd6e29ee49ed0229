"""Pairs of foreign arrays in, results of the same kind out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyscale.ops.arrays import as_matrix, restore_like, same_device, same_samples
from pyscale.ops.dtypes import result_dtype


def as_pair(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Return two sets of activations of the same samples as tensors (n, p) and (n, q) on one device.

    Raises:
        TypeError: One of them is no floating-point array.
        ValueError: They have not two dimensions, or other numbers of samples, or are on different devices.
    """
    tx = as_matrix(x, "x")
    ty = tx if y is x else as_matrix(y, "y")
    same_device(tx, ty)
    same_samples(tx, ty)
    return tx, ty


def in_kind(x: Any, result: Tensor, *inputs: Tensor) -> Any:
    """Return a float64 result as the kind of array ``x`` is: for tensors, in the type results of ``inputs`` have."""
    if isinstance(x, Tensor):
        dtype = torch.float64 if any(result_dtype(t.dtype) == torch.float64 for t in inputs) else torch.float32
        return result.to(dtype)
    return restore_like(x)(result)
