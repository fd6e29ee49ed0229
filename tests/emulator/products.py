"""The kernels that multiply, called by themselves: their partial sums, added up, beside the definition in float64."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pyscale import _emulated

BLOCK = 64
DTYPES = {
    torch.float64: _emulated.DType.f64,
    torch.float32: _emulated.DType.f32,
    torch.float16: _emulated.DType.f16,
    torch.bfloat16: _emulated.DType.bf16,
}
MARGIN = 128  # numbers before and after every output that no kernel may touch
UNTOUCHED = -12345.0


def matrix(x: torch.Tensor) -> _emulated.Matrix:
    return _emulated.Matrix(x.data_ptr(), x.shape[0], x.shape[1], x.stride(0), DTYPES[x.dtype])


def features(
    n: int, p: int, dtype: torch.dtype, *, pitch: int | None = None, offset: int = 0, mean: float = 0.0, seed: int = 0
) -> torch.Tensor:
    """(n, p) normal numbers in memory that is NaN wherever it is not theirs: between the rows and around them."""
    pitch = p if pitch is None else pitch
    numbers = torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + mean
    memory = torch.full((offset + n * pitch + MARGIN,), torch.nan, dtype=dtype)
    x = memory[offset : offset + n * pitch].view(n, pitch)[:, :p]
    x.copy_(numbers)
    return x


def integers(n: int, p: int, dtype: torch.dtype, **memory: int) -> torch.Tensor:
    """`features` of small integers: all products of theirs and sums of thousands of these are exact in every type."""
    x = features(n, p, dtype, **memory)
    return x.copy_((2 * x.float()).round())


def blocks_of(n: int) -> int:
    rows = -(-n // BLOCK)
    return rows * (rows + 1) // 2


def multiply(
    path: str,
    xs: Sequence[torch.Tensor],
    splits: Sequence[int],
    *,
    parts: int = 1,
    shifts: Sequence[torch.Tensor | None] | None = None,
    guard: str = "none",
    plain: Sequence[bool] | None = None,
) -> list[torch.Tensor]:
    """The partial sums (splits, blocks, 64, 64) of every problem of one grouped launch; nothing around them changed."""
    n, wide = xs[0].shape[0], torch.float64 if path == "exact" else torch.float32
    sizes = [split * blocks_of(n) * BLOCK * BLOCK for split in splits]
    memory = [torch.full((MARGIN + size + MARGIN,), UNTOUCHED, dtype=wide) for size in sizes]
    partial = [m[MARGIN:-MARGIN] for m in memory]
    _emulated.multiply(
        path,
        [matrix(sums[None]) for sums in partial],
        [matrix(x) for x in xs],
        [None if shift is None else matrix(shift[None]) for shift in shifts or [None] * len(xs)],
        list(splits),
        parts,
        getattr(_emulated.Guard, guard),
        list(plain or [True] * len(xs)),
    )
    for m in memory:
        assert (m[:MARGIN] == UNTOUCHED).all()
        assert (m[-MARGIN:] == UNTOUCHED).all()
    return [sums.view(split, -1, BLOCK, BLOCK) for sums, split in zip(partial, splits, strict=True)]


def lower(partial: torch.Tensor, n: int) -> np.ndarray:
    """The lower triangle of the Gram matrix whose partial sums these are, and that nothing lies beyond its rows."""
    rows = -(-n // BLOCK)
    blocks = iter(partial.double().sum(0).numpy())
    G = np.zeros((rows * BLOCK, rows * BLOCK))
    for r in range(rows):
        for c in range(r + 1):
            G[r * BLOCK : (r + 1) * BLOCK, c * BLOCK : (c + 1) * BLOCK] = next(blocks)
    assert not G[n:].any()
    assert not G[:, n:].any()
    return np.tril(G[:n, :n])


def truth(x: torch.Tensor, shift: torch.Tensor | None = None) -> np.ndarray:
    X = x.double().numpy() - (0 if shift is None else shift.double().numpy())
    return np.tril(X @ X.T)


def error(partial: torch.Tensor, x: torch.Tensor, shift: torch.Tensor | None = None) -> float:
    """Relative, in the Frobenius norm of the lower triangle."""
    expected = truth(x, shift)
    return float(np.linalg.norm(lower(partial, x.shape[0]) - expected) / np.linalg.norm(expected))
