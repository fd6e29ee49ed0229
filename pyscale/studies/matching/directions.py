"""Canonical correlations of all layers of several networks, each layer decomposed once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyscale.metrics.canonical import certain_ones, weighted_by_projections
from pyscale.metrics.side_by_side import each
from pyscale.metrics.whitening import WhitenedSet, centred, whiten_set
from pyscale.ops import reference

Tables = NDArray[np.float64]
"""(networks, networks, layers, layers): of layer i of network a with layer j of network b at [a, b, i, j]."""

CANONICAL = ("cca", "cca_r2", "svcca", "svcca_r2", "pwcca", "procrustes")
"""What :func:`canonical_tables` computes, in its order."""

RTOL = 1e-6
VARIANCE = 0.99


@dataclass(frozen=True)
class Directions:
    """The whitened directions of a layer; coordinates on the CPU, loadings (p, rank) where the activations were.

    Attributes:
        whole: All of them.
        leading: Those that hold 99 % of the variance.
    """

    whole: WhitenedSet
    leading: WhitenedSet


def layer_directions(layers: Sequence[Tensor]) -> list[Directions]:
    r"""Return the directions of all layers (n, p) of a network.

    A layer of more features than samples is taken to n of them first: :math:`X^\top = Q R` on its own device, and X
    differs from :math:`R^\top` by a rotation of the features, which no correlation sees. What is decomposed is small,
    and is so on the CPU, by a thread for each layer.
    """
    wide = [centred(x) for x in layers]
    constant = [bool(reference.is_constant(x)) for x in layers]
    small = [(torch.linalg.qr(x.T, mode="r").R.T if x.shape[1] > len(x) else x).cpu() for x in wide]
    parts = list(zip(small, constant, strict=True))
    return [
        Directions(replace(found.whole, loadings=x.T @ found.whole.coordinates.to(x.device)), found.leading)
        for x, found in zip(wide, each(lambda part: _directions(*part), parts, small), strict=True)
    ]


def canonical_tables(networks: Sequence[Sequence[Directions]], samples: int) -> tuple[dict[str, Tables], list[str]]:
    r"""Return (networks, networks, layers, layers) by measure, NaN of a network with itself, and notes.

    With X = U Σ Vᵀ, correlations are the singular values of :math:`U_x^\top U_y` and the nuclear norm is that of
    :math:`\Sigma_x U_x^\top U_y \Sigma_y`.

    Args:
        networks: The directions of every layer of every network.
        samples: Their number n.
    """
    count, depth = len(networks), len(networks[0])
    tables = {name: np.full((count, count, depth, depth), math.nan) for name in CANONICAL}
    certain = 0
    for a, b in combinations(range(count), 2):
        pairs = [
            (i, j) for i, j in np.ndindex(depth, depth) if min(networks[a][i].whole.rank, networks[b][j].whole.rank) > 0
        ]
        parts = [(networks[a][i], networks[b][j]) for i, j in pairs]
        sizes = [x.whole.coordinates for x, _ in parts]
        for (i, j), (x, y), scores in zip(
            pairs, parts, each(lambda part: _scores(*part, samples), parts, sizes), strict=True
        ):
            certain += certain_ones(x.whole, y.whole, samples) > 0
            for name, (there, back) in scores.items():
                tables[name][a, b, i, j], tables[name][b, a, j, i] = there, back
    total = count * (count - 1) // 2 * depth**2
    notes = [
        f"{samples} samples are too few for CCA of {certain} of {total} pairs of layers, whose ranks exceed n - 1 "
        "together: some of their correlations are 1 whatever the data"
    ]
    return tables, notes if certain else []


def _directions(x: Tensor, constant: bool) -> Directions:
    whole = whiten_set(x, constant=constant, rtol=RTOL)
    # from the coordinates U Σ, which are X turned
    leading = whiten_set(whole.coordinates * whole.sigma, constant=False, rtol=RTOL, variance=VARIANCE)
    return Directions(whole, leading)


def _scores(one: Directions, other: Directions, samples: int) -> dict[str, tuple[float, float]]:
    """Return what every measure gives of a layer with another, and of the other with the first."""
    x, y = one.whole, other.whole
    C = x.cross(y)
    truncated = torch.linalg.svdvals(one.leading.cross(other.leading)).clamp(max=1)
    nuclear = torch.linalg.svdvals(x.sigma[:, None] * C * y.sigma).sum()
    rotated = float(nuclear / (torch.linalg.vector_norm(x.sigma) * torch.linalg.vector_norm(y.sigma)))
    rho, projected = _correlations(x, y, C, samples)
    symmetric = {
        "cca": float(rho.mean()),
        "cca_r2": float(rho.square().mean()),
        "svcca": float(truncated.mean()),
        "svcca_r2": float(truncated.square().mean()),
        "procrustes": min(rotated, 1.0),
    }
    return {**{name: (value, value) for name, value in symmetric.items()}, "pwcca": projected}


def _correlations(x: WhitenedSet, y: WhitenedSet, C: Tensor, samples: int) -> tuple[Tensor, tuple[float, float]]:
    """Return the canonical correlations, and their means weighted by the projections of x and of y."""
    if min(x.rank, y.rank) == samples - 1:  # both span all there is, and every correlation is 1
        return torch.ones(samples - 1, dtype=C.dtype), (1.0, 1.0)
    U, rho, Vh = torch.linalg.svd(C, full_matrices=False)
    rho = rho.clamp(max=1)
    left, right = _weighted(U, rho, x), _weighted(Vh.mT, rho, y)
    return rho, (left, right)


def _weighted(vectors: Tensor, rho: Tensor, of: WhitenedSet) -> float:
    """Return PWCCA with the weights of one side, of singular vectors in columns; computed where its loadings are."""
    device = of.loadings.device
    vectors, rho = vectors.to(device), rho.to(device)
    return float(weighted_by_projections(vectors, rho, vectors, of, of, "x"))
