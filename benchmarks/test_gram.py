"""Centred and packed Grams of activations beside what a user would write in torch and NumPy.

The torch lines come twice: the product and then H K H, which is fast and loses digits where means are large; and
features centred before the product, which keeps them. NumPy's product is bare, uncentred: it is there for OpenBLAS's
symmetric product, which NumPy calls when it sees one array twice.
"""

from __future__ import annotations

import pytest
import torch

from benchmarks.plain import centred_mm, gram_in_float64, mm_centred, packed_unbiased, relative_error, unbiased_centred
from benchmarks.sizes import choose
from pyscale import ops

LAYER = 64 * 112 * 112  # features of a network's first layer: rows lie a whole number of pages apart
SHAPES = [
    (64, 512),
    (64, 50_176),
    (64, 1_000_000),
    (128, 512),
    (128, 4_096),
    (128, 50_176),
    (128, LAYER),
    (256, 512),
    (256, 4_096),
    (256, 50_176),
    (256, 200_704),
    (256, LAYER),
    (512, 512),
    (512, 4_096),
    (512, 50_176),
    (512, 200_704),
    (1024, 512),
    (1024, 4_096),
    (1024, 50_176),
    (2048, 512),
    (2048, 12_544),
    (4096, 512),
    (4096, 4_096),
]
NARROW = [(128, 512), (128, 50_176), (256, 4_096), (256, 200_704), (512, 50_176), (1024, 50_176)]
PACKED = [(256, 512), (256, 50_176), (1024, 4_096)]
FLAT = [(1024, 8), (4096, 8)]  # nearly nothing but centring and writing
TINY = [(16, 40)]


def activations(n, p, dtype):
    return torch.randn(n, p, generator=torch.Generator().manual_seed(0)).relu_().to(dtype)


def triangle(n, p):
    """Return the operations that a symmetric product needs."""
    return n * (n + 1) * p


def checked(contenders, truth, most=1e-5):
    """Return everyone's error, ours held to the tolerance: a fast wrong answer is no result."""
    errors = {name: relative_error(torch.as_tensor(call()), truth) for name, call in contenders.items()}
    assert errors["pyscale"] < most
    return errors


def named(shapes):
    return {"argvalues": shapes, "ids": [f"{n}x{p}" for n, p in shapes]}


@pytest.mark.parametrize(("n", "p"), **named(choose(SHAPES, TINY)))
def test_centered_gram(beside, n, p):
    x = activations(n, p, torch.float32)
    array = x.numpy()
    ours = {"pyscale": lambda: ops.centered_gram(x)}
    centred = {"torch x @ x.T, centred": lambda: mm_centred(x), "torch centred, x @ x.T": lambda: centred_mm(x)}
    beside(
        "gram",
        {"op": "centered_gram", "n": n, "p": p, "dtype": "float32"},
        ours["pyscale"],
        {**centred, "numpy x @ x.T": lambda: array @ array.T},
        operations=triangle(n, p),
        errors=checked(ours | centred, gram_in_float64(x)),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize(("n", "p"), **named(choose(NARROW, TINY)))
def test_centered_gram_of_16_bits(beside, n, p, dtype):
    x = activations(n, p, dtype)
    ours = {"pyscale": lambda: ops.centered_gram(x)}
    rivals = {
        "torch x.float(), x @ x.T, centred": lambda: mm_centred(x.float()),
        "torch x @ x.T in 16 bits, centred": lambda: mm_centred(x),
    }
    beside(
        "gram",
        {"op": "centered_gram", "n": n, "p": p, "dtype": str(dtype).removeprefix("torch.")},
        ours["pyscale"],
        rivals,
        operations=triangle(n, p),
        peak="bfloat16" if dtype == torch.bfloat16 else "float32",
        errors=checked(ours | rivals, gram_in_float64(x)),
    )


@pytest.mark.parametrize(("n", "p"), **named(choose(PACKED, TINY)))
def test_packed_gram(beside, n, p):
    x = activations(n, p, torch.float32)
    i, j = torch.tril_indices(n, n, offset=-1)
    truth = unbiased_centred(gram_in_float64(x))[i, j]
    ours = {"pyscale": lambda: ops.packed_gram(x).values}
    rivals = {"torch x @ x.T, U-centred, packed": lambda: packed_unbiased(x)}
    beside(
        "gram",
        {"op": "packed_gram", "n": n, "p": p, "dtype": "float32"},
        ours["pyscale"],
        rivals,
        operations=triangle(n, p),
        errors=checked(ours | rivals, truth),
    )


@pytest.mark.parametrize(("n", "p"), **named(choose(FLAT, TINY)))
def test_centring(beside, n, p):
    """Hardly any features: what is left is centring n x n numbers and writing them."""
    x = activations(n, p, torch.float32)
    ours = {"pyscale": lambda: ops.centered_gram(x)}
    rivals = {"torch x @ x.T, centred": lambda: mm_centred(x)}
    beside(
        "gram",
        {"op": "centring", "n": n, "p": p, "dtype": "float32"},
        ours["pyscale"],
        rivals,
        errors=checked(ours | rivals, gram_in_float64(x)),
    )
