"""What torch can do on CUDA besides the plain lines of benchmarks.plain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.plain import double_centred


def mm_in_float32(x: Tensor) -> Tensor:
    """The product of 16-bit numbers kept in float32, as newer torch can on CUDA."""
    return double_centred(torch.mm(x, x.T, out_dtype=torch.float32))


def tensor_float32(call: Callable[[], Any]) -> Callable[[], Any]:
    """Return the call with float32 products allowed in TF32."""

    def allowed() -> Any:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            return call()
        finally:
            torch.set_float32_matmul_precision(before)

    return allowed


def compiled(function: Callable[[Tensor], Tensor], device: str) -> Callable[[Tensor], Tensor]:
    """Return the function compiled for one shape; where there is no GPU, traced but not generated."""
    torch.compiler.reset()
    return torch.compile(function, dynamic=False, backend="inductor" if device == "cuda" else "eager")
