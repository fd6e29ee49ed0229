"""Cases that cost digits elsewhere: long sums, tiny variances, samples far away, sizes at the ends of a range."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

import pyscale as ps
from benchmarks.numerics import grid, naive, truth
from benchmarks.numerics.grid import Pair, matrix_error, name, widened
from benchmarks.numerics.rows import Row

LENGTHS = (1_000, 10_000, 100_000, 1_000_000)
FAR = (10, 100, 1000, 3000)  # standard deviations
NARROW = (1e3, 1e4, 1e5, 1e6, 1e7)  # the mean in standard deviations
SIZES = (1e-30, 1e-24, 1e-22, 1e-20, 1e-10, 1e10, 1e18, 1e30)  # the standard deviation


def rows() -> Iterator[Row]:
    """Yield the errors of all cases."""
    yield from _long_sums()
    yield from _far_samples()
    yield from _narrow_features()
    yield from _sizes()
    yield from _derivatives()


def related(n: int, p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return two related sets (n, p) of standard normal numbers."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p))
    return x, 0.6 * x + 0.8 * rng.standard_normal((n, p))


def _long_sums() -> Iterator[Row]:
    """All products are positive, so that what each addition drops adds up."""
    rng = np.random.default_rng(0)
    for p in LENGTHS:
        x = torch.from_numpy(rng.standard_normal((16, p), dtype=np.float32)).relu_()
        for dtype in (torch.float32, torch.bfloat16):
            t = x.to(dtype)
            K = truth.product(widened(t))
            errors = [
                matrix_error(G, K)
                for G in (ps.ops.centered_gram(t, centering="none"), t @ t.T, t.float() @ t.float().T)
            ]
            yield Row("long sums", f"{p:_} features".replace("_", " "), "gram, not centred", name(dtype), *errors)


def _far_samples() -> Iterator[Row]:
    for n, distance in (*((64, distance) for distance in FAR), (8, 1000)):
        far = np.zeros((n, 1))
        far[0] = distance
        for dtype in (torch.float32, torch.bfloat16):
            sets = Pair(*(torch.from_numpy(z + far).to(dtype) for z in related(n, 200)))
            for quantity, errors in grid.cell(sets, "wide").items():
                if "unbiased" in quantity and "hsic" not in quantity:
                    yield Row("far sample", f"{distance} σ, {n} samples", quantity, name(dtype), *errors)


def _narrow_features() -> Iterator[Row]:
    x, y = related(64, 500)
    for mean in NARROW:
        for dtype in (torch.float64, torch.float32):
            sets = Pair(*(torch.from_numpy(mean + z).to(dtype) for z in (x, y)))
            errors = grid.cell(sets, "wide")["cka linear unbiased"]
            yield Row("narrow features", f"mean {_power(mean)} σ", "cka linear unbiased", name(dtype), *errors)


def _sizes() -> Iterator[Row]:
    x, y = related(32, 200)
    for size in SIZES:
        for dtype in (torch.float32, torch.bfloat16):
            sets = Pair(*(torch.from_numpy(size * z).to(dtype) for z in (x, y)))
            cells = grid.cell(sets, "wide")
            for quantity in ("cka linear unbiased", "cka rbf unbiased"):
                yield Row("sizes", f"σ = {_power(size)}", quantity, name(dtype), *cells[quantity])


def _derivatives() -> Iterator[Row]:
    """The error allowed is that of rounding the right answer to the type, which float16's range makes large."""
    x, y = related(64, 2048)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for size in (1e-2, 1.0, 1e2):
            sets = [torch.from_numpy(size * z).to(dtype) for z in (x, y)]
            true = _derivative(*(t.double() for t in sets))
            rounding = matrix_error(true.to(dtype), true.numpy())
            allowed = max(1e-5, 2 * rounding)
            errors = (matrix_error(_derivative(*sets), true.numpy()), _naive_error(sets, true))
            yield Row("derivatives", f"σ = {size:g}", "d cka / dx", name(dtype), *errors, rounding, tolerance=allowed)


def _derivative(x: Tensor, y: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    ps.cka(x, y).backward()
    assert x.grad is not None
    return x.grad


def _naive_error(sets: list[Tensor], true: Tensor) -> float:
    x = sets[0].clone().requires_grad_()
    naive.cka(x @ x.T, sets[1] @ sets[1].T, "unbiased").backward()
    return math.inf if x.grad is None else matrix_error(x.grad, true.numpy())


def _power(value: float) -> str:
    exponent = round(math.log10(value))
    return f"10^{exponent}"
