"""What a user would write in torch, without the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def mm_centred(x: Tensor) -> Tensor:
    """The usual lines: the product, then H K H. Loses digits to large means, and multiplies both halves."""
    return double_centred((x @ x.T).float())


def centred_mm(x: Tensor) -> Tensor:
    """The careful lines: features centred first, which writes and reads a copy of the activations."""
    x = x - x.mean(dim=0)
    return double_centred((x @ x.T).float())


def mm_in_float32(x: Tensor) -> Tensor:
    """The product of 16-bit numbers kept in float32, as newer torch can on CUDA."""
    return double_centred(torch.mm(x, x.T, out_dtype=torch.float32))


def rbf_centred(x: Tensor) -> Tensor:
    """The RBF Gram of median bandwidth, then H K H."""
    x = x.float()
    D = torch.cdist(x, x)
    i, j = torch.tril_indices(len(D), len(D), offset=-1, device=D.device)
    return double_centred(torch.exp(-D.square() / (2 * D[i, j].median() ** 2)))


def packed_unbiased(x: Tensor) -> Tensor:
    """The strict lower triangle of the U-centred Gram."""
    U = unbiased_centred((x @ x.T).float())
    i, j = torch.tril_indices(len(U), len(U), offset=-1, device=U.device)
    return U[i, j]


def double_centred(K: Tensor) -> Tensor:
    rows = K.mean(dim=1)
    return K - rows[:, None] - rows[None, :] + rows.mean()


def unbiased_centred(K: Tensor) -> Tensor:
    n = len(K)
    K = K.clone().fill_diagonal_(0)
    rows = K.sum(dim=1) / (n - 2)
    return (K - rows[:, None] - rows[None, :] + rows.sum() / (n - 1)).fill_diagonal_(0)


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
