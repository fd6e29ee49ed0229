"""HSIC of every layer of one model with every layer of another, and its share of the time that their Grams take."""

from __future__ import annotations

import pytest
import torch

from benchmarks.plain import relative_error
from benchmarks.rivals import module
from benchmarks.sizes import choose
from pyscale import ops

CASES = choose([(50, 50, 256), (200, 200, 256), (200, 200, 64)], [(3, 4, 16)])  # layers, layers, samples
FEATURES = choose(50_176, 60)  # of a layer of middling size
ONE = "pyscale, the Gram of one layer"


def unpacked(v, n):
    """Return the symmetric matrices (L, n, n) of zero diagonal whose strict lower triangles are the rows of v."""
    i, j = torch.tril_indices(n, n, offset=-1)
    K = torch.zeros(len(v), n, n)
    K[:, i, j] = K[:, j, i] = v
    return K


@pytest.mark.parametrize(("rows", "columns", "n"), CASES)
def test_hsic_pairs(beside, rows, columns, n):
    draw = torch.Generator().manual_seed(0)
    layers = [torch.randn(n, 2 * n, generator=draw) for _ in range(rows + columns)]
    v, w = ops.packed_grams(layers).values.split((rows, columns))
    one = torch.randn(n, FEATURES, generator=draw).relu()
    rivals = {
        "torch v @ w.T": lambda: v @ w.T,
        "torch v.double() @ w.double().T": lambda: v.double() @ w.double().T,
        "pytorch-cka hsic": theirs(unpacked(v, n), unpacked(w, n), n),
    }
    contenders = {"pyscale": lambda: ops.hsic_pairs(v, w)} | rivals
    truth = v.double() @ w.double().T
    errors = {name: relative_error(call(), truth) for name, call in contenders.items() if call is not None}
    assert errors["pyscale"] < 1e-12

    def share(timings):
        grams = (rows + columns) * timings[ONE].median
        return {name: {"of_grams": f"{timing.median / grams:.4f}"} for name, timing in timings.items() if name != ONE}

    beside(
        "hsic",
        {"op": "hsic_pairs", "layers": f"{rows} × {columns}", "n": n, "p": FEATURES},
        contenders["pyscale"],
        {**rivals, ONE: lambda: ops.packed_gram(one)},
        operations=rows * columns * n * (n - 1),
        peak="float64",
        errors=errors,
        figures=share,
    )


def theirs(K, L, n):
    """Its HSICs of Grams that are U-centred already, which are the same numbers, scaled to sums."""
    package = module("pytorch-cka")
    return None if package is None else lambda: package.hsic(K, L)[0] * (n * (n - 3) / 2)
