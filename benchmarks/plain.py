"""What a user would write in torch or NumPy, without a package."""

from __future__ import annotations

import torch
from torch import Tensor

_SLICE = 1 << 26  # numbers that a reference widens at a time


def mm_centred(x: Tensor) -> Tensor:
    """The usual lines: the product, then H K H. Loses digits to large means, and multiplies both halves."""
    return double_centred((x @ x.T).float())


def centred_mm(x: Tensor) -> Tensor:
    """The careful lines: features centred first, which writes and reads a copy of the activations."""
    x = x - x.mean(dim=0)
    return double_centred((x @ x.T).float())


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


def gram_in_float64(x: Tensor) -> Tensor:
    """The centred Gram in float64, from slices of the features: the reference."""
    n = len(x)
    K = torch.zeros((n, n), dtype=torch.float64, device=x.device)
    for part in x.split(max(1, _SLICE // n), dim=1):
        wide = part.double()
        wide -= wide.mean(dim=0)
        K.addmm_(wide, wide.T)
    return double_centred(K)


def relative_error(found: Tensor, truth: Tensor) -> float:
    """Return |found - truth| / |truth| in float64."""
    return float((found.double() - truth).norm() / truth.norm())
