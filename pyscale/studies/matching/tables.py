"""Similarities of all layers of several networks, by every measure, each network read once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyscale.metrics.kernel_sums import CentredGrams
from pyscale.metrics.validity import warn_constant, warn_degenerate
from pyscale.ops import hsic_pairs
from pyscale.studies.matching.directions import CANONICAL, Directions, Tables, canonical_tables, layer_directions

BANDWIDTHS = (0.2, 0.4, 0.8)
_KERNELS = {  # kernel, estimator, bandwidth
    "cka": ("linear", "unbiased", 1.0),
    "cka_biased": ("linear", "biased", 1.0),
    **{f"cka_rbf_{b:g}": ("rbf", "biased", b) for b in BANDWIDTHS},
    "hsic": ("linear", "unbiased", 1.0),
}
METRICS = (*_KERNELS, *CANONICAL)
"""What :func:`similarity_tables` can compute, in its order."""


def similarity_tables(
    activations: Iterable[Sequence[Tensor]], measures: Sequence[str] = METRICS
) -> tuple[dict[str, Tables], tuple[str, ...]]:
    r"""Return the similarities of all layers of every network with all of every other, by the measures asked for.

    - ``"cka"``, ``"cka_biased"``: linear, unbiased and biased; ``"cka_rbf_0.2"`` and so on: biased, of that bandwidth.
    - ``"hsic"``: linear and unbiased, which a layer's scale decides as much as what it represents.
    - ``"cca"``, ``"cca_r2"``: mean canonical correlation and mean square; ``"svcca"``, ``"svcca_r2"``: of the
      directions that hold 99 % of the variance.
    - ``"pwcca"``: weighted by the projections of the first set, and so not symmetric.
    - ``"procrustes"``: nuclear over Frobenius norms.

    Of a network, its centred Grams and the directions of its layers are kept, on the device they were formed on, and
    its activations let go before those of the next are asked for.

    Args:
        activations: (n, p) of every layer of every network, all of the same samples, networks of equally many layers.
        measures: Which of :data:`METRICS`.

    Returns:
        The tables by measure, in the order of :data:`METRICS`, NaN where a layer is constant and, in those of
        :data:`pyscale.studies.matching.directions.CANONICAL`, of a network with itself; and what there was to warn of,
        once each.

    Raises:
        ValueError: If a measure is unknown.
    """
    unknown = [name for name in measures if name not in METRICS]
    if unknown or not measures:
        raise ValueError(f"measures: expected some of {METRICS}, got {unknown or measures!r}")
    kinds = dict.fromkeys(kind for name, kind in _KERNELS.items() if name in measures)
    grams: dict[tuple[str, str, float], list[CentredGrams]] = {kind: [] for kind in kinds}
    directions: list[list[Directions]] = []
    samples = 0
    with warnings.catch_warnings(record=True) as caught, torch.no_grad():
        warnings.simplefilter("always")
        for a, layers in enumerate(activations):
            samples = len(layers[0])
            names = [f"layer {i} of network {a}" for i in range(len(layers))]
            for kind, found in grams.items():
                found.append(CentredGrams.of(layers, names, *kind))
            if any(name in CANONICAL for name in measures):
                directions.append(layer_directions(layers))
        tables = _by_grams(grams, measures, samples)
        canonical, notes = canonical_tables(directions, samples) if directions else ({}, [])
        tables |= {name: table for name, table in canonical.items() if name in measures}
    messages = [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
    return tables, tuple(dict.fromkeys([*messages, *notes]))


def _by_grams(
    grams: dict[tuple[str, str, float], list[CentredGrams]], measures: Sequence[str], samples: int
) -> dict[str, Tables]:
    products = {kind: _products(found) for kind, found in grams.items()}
    tables = {}
    for name, kind in _KERNELS.items():
        if name in measures:
            inner, undefined = products[kind]
            if name == "hsic":
                tables[name] = inner / (samples * (samples - 3))
            else:
                norms = np.sqrt(np.einsum("aaii->ai", inner))
                tables[name] = np.where(
                    undefined[:, None, :, None] | undefined[None, :, None, :],
                    math.nan,
                    inner / np.where(undefined, 1, norms)[:, None, :, None] / np.where(undefined, 1, norms)[:, None, :],
                )
    return tables


def _products(found: list[CentredGrams]) -> tuple[Tables, NDArray[np.bool_]]:
    """Return the inner products of all Grams, as tables, and which Grams have no CKA (networks, layers)."""
    depth = len(found[0].vectors)
    for kind, warn in (("constant", warn_constant), ("degenerate", warn_degenerate)):
        flags = [getattr(network, kind).tolist() for network in found]
        warn([f"layer {i} of network {a}" for a, flag in enumerate(flags) for i in range(depth) if flag[i]], "CKA")
    inner = np.full((len(found), len(found), depth, depth), math.nan)
    for a, x in enumerate(found):
        for b, y in enumerate(found[: a + 1]):
            block = (x.scale * hsic_pairs(x.vectors, y.vectors)).double().cpu().numpy()
            inner[a, b], inner[b, a] = block, block.T
    undefined = torch.stack([x.constant | x.degenerate for x in found])
    return inner, undefined.cpu().numpy()
