"""The one table of element types: what torch calls them, what the native core calls them, how they round."""

from __future__ import annotations

import torch

from pyscale import _native

NATIVE = {
    torch.float64: _native.DType.f64,
    torch.float32: _native.DType.f32,
    torch.float16: _native.DType.f16,
    torch.bfloat16: _native.DType.bf16,
}

FLOATING = tuple(NATIVE)


def result_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the type results are given in: float64 for float64 input, float32 for anything narrower."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def accumulator_dtype(device: torch.device) -> torch.dtype:
    """Return the widest type the device can add in: float64, except on Apple's GPUs, which have none."""
    return torch.float32 if device.type == "mps" else torch.float64
