"""Similarities of all layers of several networks, by every measure, each layer read once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyscale.metrics import cka_matrix, hsic
from pyscale.metrics.canonical import centred, certain_ones, weighted_by_projections
from pyscale.metrics.spectra import decomposed
from pyscale.metrics.whitening import WhitenedSet, whiten_set
from pyscale.ops import reference

Tables = NDArray[np.float64]
"""(networks, networks, layers, layers): of layer i of network a with layer j of network b at [a, b, i, j]."""

BANDWIDTHS = (0.2, 0.4, 0.8)
CANONICAL = ("cca", "cca_r2", "svcca", "svcca_r2", "pwcca", "procrustes")
METRICS = ("cka", "cka_biased", *(f"cka_rbf_{b:g}" for b in BANDWIDTHS), "hsic", *CANONICAL)
"""What :func:`similarity_tables` computes, in its order."""


def similarity_tables(
    activations: Sequence[Sequence[Tensor]],
) -> tuple[dict[str, Tables], tuple[str, ...]]:
    r"""Return the similarities of all layers of every network with all of every other, by every measure.

    - ``"cka"``, ``"cka_biased"``: linear, unbiased and biased; ``"cka_rbf_0.2"`` and so on: biased, of that bandwidth.
    - ``"hsic"``: linear and unbiased, which a layer's scale decides as much as what it represents.
    - ``"cca"``, ``"cca_r2"``: mean canonical correlation and mean square; ``"svcca"``, ``"svcca_r2"``: of the
      directions that hold 99 % of the variance.
    - ``"pwcca"``: weighted by the projections of the first set, and so not symmetric.
    - ``"procrustes"``: nuclear over Frobenius norms.

    With X = U Σ Vᵀ, correlations are the singular values of :math:`U_x^\top U_y` and the nuclear norm is that of
    :math:`\Sigma_x U_x^\top U_y \Sigma_y`, so a layer is decomposed once however many it is compared with.

    Args:
        activations: (n, p) of every layer of every network, all of the same samples, networks of equally many layers.

    Returns:
        The tables by measure, NaN where a layer is constant and, in those of :data:`CANONICAL`, of a network with
        itself; and what there was to warn of, once each.
    """
    count, depth = len(activations), len(activations[0])
    names = [f"layer {i} of network {a}" for a in range(count) for i in range(depth)]
    xs = dict(zip(names, (x for network in activations for x in network), strict=True))
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        flat = dict(_by_grams(xs))
        canonical, notes = _by_directions(activations)
    tables = {
        name: table.reshape(count, depth, count, depth).transpose(0, 2, 1, 3).copy() for name, table in flat.items()
    }
    messages = [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
    return {**tables, **canonical}, tuple(dict.fromkeys([*messages, *notes]))


def _by_grams(xs: Mapping[str, Tensor]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    unbiased = _numbers(cka_matrix(xs))
    yield "cka", unbiased
    yield "cka_biased", _numbers(cka_matrix(xs, estimator="biased"))
    for bandwidth in BANDWIDTHS:
        yield f"cka_rbf_{bandwidth:g}", _numbers(cka_matrix(xs, kernel="rbf", estimator="biased", bandwidth=bandwidth))
    norms = np.sqrt([float(hsic(x, x)) for x in xs.values()])  # HSIC = CKA times both norms
    yield "hsic", unbiased * norms[:, None] * norms[None, :]


def _by_directions(activations: Sequence[Sequence[Tensor]]) -> tuple[dict[str, Tables], list[str]]:
    count, depth, n = len(activations), len(activations[0]), len(activations[0][0])
    tables = {name: np.full((count, count, depth, depth), math.nan) for name in CANONICAL}
    whole = [[_whitened(x) for x in network] for network in activations]
    leading = [[_leading(x) for x in network] for network in whole]
    certain = 0
    for a, b in combinations(range(count), 2):
        for i, j in np.ndindex(depth, depth):
            x, y = whole[a][i], whole[b][j]
            if min(x.rank, y.rank) == 0:
                continue
            certain += certain_ones(x, y, n) > 0
            for name, (there, back) in _scores(x, y, leading[a][i], leading[b][j]).items():
                tables[name][a, b, i, j], tables[name][b, a, j, i] = there, back
    pairs = count * (count - 1) // 2 * depth**2
    notes = [
        f"{n} samples are too few for CCA of {certain} of {pairs} pairs of layers, whose ranks exceed n - 1 together: "
        "some of their correlations are 1 whatever the data"
    ]
    return tables, notes if certain else []


def _scores(x: WhitenedSet, y: WhitenedSet, most_x: WhitenedSet, most_y: WhitenedSet) -> dict[str, tuple[float, float]]:
    """Return what every measure gives of x with y, and of y with x.

    Args:
        x: All directions of a layer.
        y: Of another.
        most_x: Those of x that hold most of the variance.
        most_y: Those of y.
    """
    C = x.cross(y)
    U, rho, V = next(decomposed(C[None]))
    rho = rho.clamp(max=1)
    truncated = torch.linalg.svdvals(most_x.cross(most_y)).clamp(max=1)
    nuclear = torch.linalg.svdvals(x.sigma[:, None] * C * y.sigma).sum()
    rotated = float(nuclear / (torch.linalg.vector_norm(x.sigma) * torch.linalg.vector_norm(y.sigma)))
    symmetric = {
        "cca": float(rho.mean()),
        "cca_r2": float(rho.square().mean()),
        "svcca": float(truncated.mean()),
        "svcca_r2": float(truncated.square().mean()),
        "procrustes": min(rotated, 1.0),
    }
    projected = (
        float(weighted_by_projections(U, rho, V, x, y, "x")),
        float(weighted_by_projections(V, rho, U, y, x, "x")),
    )
    return {**{name: (value, value) for name, value in symmetric.items()}, "pwcca": projected}


def _whitened(x: Tensor) -> WhitenedSet:
    return whiten_set(centred(x), constant=bool(reference.is_constant(x)), rtol=1e-6)


def _leading(x: WhitenedSet) -> WhitenedSet:
    """Return the directions that hold 99 % of the variance, from the coordinates U Σ, which are X turned."""
    return whiten_set(x.coordinates * x.sigma, constant=False, rtol=1e-6, variance=0.99)


def _numbers(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.double().numpy(), dtype=np.float64)
