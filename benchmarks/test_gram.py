"""The centred Gram of an activation beside what a user would write in torch and NumPy, and the machine's limit.

    make bench

``torch mm + centring`` is ``x @ x.T`` followed by H K H; ``torch mm`` is the product alone; ``square mm`` is a square
product of as many multiplications as the triangle needs: what torch reaches on its best shape.
"""

from __future__ import annotations

import pytest
import torch

from pyscale import ops

SHAPES = [(128, 50_176), (256, 200_704), (512, 50_176), (1024, 50_176)]


def torch_mm_centred(x):
    K = x @ x.T
    rows = K.mean(dim=1)
    return K - rows[:, None] - rows[None, :] + rows.mean()


def numpy_ssyrk(x):
    return x @ x.T  # NumPy sees one array twice and calls OpenBLAS's syrk


def square_product(n, p):
    """A product of 2048-square matrices repeated to the n (n + 1) / 2 p multiplications of a triangular Gram."""
    side = 2048
    a, b = torch.randn(side, side), torch.randn(side, side)
    share = n * (n + 1) / 2 * p / side**3
    columns = max(1, round(side * share))
    b = b.repeat(1, -(-columns // side))[:, :columns].contiguous()
    return lambda: a @ b


@pytest.mark.parametrize(("n", "p"), SHAPES, ids=[f"{n}x{p}" for n, p in SHAPES])
def test_centered_gram(beside, n, p):
    x = torch.randn(n, p, generator=torch.Generator().manual_seed(0)).relu()
    truth = ops.centered_gram(x.double())
    error = (ops.centered_gram(x) - truth).norm() / truth.norm()
    assert error < 1e-5, "a fast wrong answer is no result"
    array = x.numpy()
    beside(
        "gram",
        {"op": "centered_gram", "n": n, "p": p, "dtype": "float32"},
        lambda: ops.centered_gram(x),
        {
            "torch mm": lambda: x @ x.T,
            "torch mm + centring": lambda: torch_mm_centred(x),
            "numpy syrk": lambda: numpy_ssyrk(array),
            "square mm": square_product(n, p),
        },
    )
