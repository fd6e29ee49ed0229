"""CCA of every layer of one list with every layer of another, in memory: each layer is whitened once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor

from pyscale.metrics.canonical import certain_ones, check_rtol
from pyscale.metrics.factors import orthonormal_basis
from pyscale.metrics.inputs import in_kind
from pyscale.metrics.layers import Layers, as_layers, same_everywhere
from pyscale.metrics.pair_products import Block, Pair, pair_batches
from pyscale.metrics.side_by_side import each
from pyscale.metrics.spectra import correlation_sums
from pyscale.metrics.validity import check_finite, warn, warn_constant
from pyscale.metrics.whitening import Basis, cross_products
from pyscale.ops import hsic_pairs, reference
from pyscale.ops.dtypes import result_dtype
from pyscale.ops.gram import check_choice
from pyscale.ops.memory import MemoryErrors

_MANY = 1000  # samples over which the roundings of float32 numbers average out
_LONG = 1 << 30  # multiply-adds that take float64 a tenth of a second or so
_SLICE = 1 << 25  # numbers of the projections' rows that are held at once: 256 MiB, or more for
_LEAST_ROWS = 256  # so many of each, fewer of which torch multiplies at half the rate


def cca_matrix(
    xs: Layers, ys: Layers | None = None, *, summary: Literal["mean", "r2"] = "mean", rtol: float = 1e-6
) -> Any:
    r"""Return the mean canonical correlation, or mean square, of every set in ``xs`` with every set in ``ys``.

    As :func:`pyscale.cca` of each pair, with each set whitened once. With :math:`W` orthonormal bases of the sets,
    :math:`\sum \rho^2 = |W_x^\top W_y|_F^2` is also :math:`\langle W_x W_x^\top, W_y W_y^\top \rangle`, which takes
    :math:`n^2 p` operations for every set and :math:`n^2` for every pair, not :math:`n p q`; the less is done.

    Args:
        xs: Activations of the same n >= 2 samples, a dict or a list of L arrays of shape (n, p_i).
        ys: The same of M others; ``xs`` itself by default.
        summary: "mean" of the correlations, or "r2", of their squares.
        rtol: Directions with σ <= rtol · σ_max are taken for rounding and dropped.

    Returns:
        The similarities of shape (L, M), in the order of the arguments, in kind: NaN, with a warning that names them,
        for layers constant to rounding. No gradients.

    Raises:
        TypeError: An argument is no collection of floating-point arrays.
        ValueError: The shapes, devices or options do not fit, or a layer holds NaN or infinity.

    Warns:
        UserWarning: Ranks exceed n - 1 together, which leaves some correlations at 1 whatever the data.

    Example:
        >>> import numpy as np
        >>> from pyscale.metrics import cca_matrix
        >>> x = np.random.default_rng(0).standard_normal((50, 3))
        >>> cca_matrix([x, x @ np.triu(np.ones((3, 3)))]).round(6)
        array([[1., 1.],
               [1., 1.]])
    """
    check_choice("summary", summary, ("mean", "r2"))
    check_rtol(rtol)
    rows = as_layers(xs, "xs", None)
    columns = rows if ys is None or ys is xs else as_layers(ys, "ys", None)
    n, same = same_everywhere(rows, columns), columns is rows
    if n < 2:
        raise ValueError(f"xs has {n} samples; CCA needs at least 2")
    with torch.no_grad(), MemoryErrors("cca_matrix"):
        names, left = _whitened(rows, rtol)
        more, right = (names, left) if same else _whitened(columns, rtol)
        warn_constant(list(dict.fromkeys([*names, *more])), "CCA")
        _warn_few_samples(rows, columns, left, right, n)
        if summary == "r2" and _by_projections_is_less(left, right, n):
            sums = _projection_products(left, right, same)
        else:
            single = summary == "mean" and _in_float32([*rows.values(), *columns.values()], left, right)
            sums = _correlation_sums(left, right, squares=summary == "r2", same=same, single=single)
        ranks = [torch.tensor([w.rank for w in side], dtype=sums.dtype, device=sums.device) for side in (left, right)]
        values = (sums / torch.minimum(ranks[0][:, None], ranks[1][None, :])).clamp(max=1)  # 0 / 0: NaN
    first = next(iter(xs.values())) if isinstance(xs, Mapping) else xs[0]
    return in_kind(first, values, *rows.values(), *columns.values())


def _whitened(layers: dict[str, Tensor], rtol: float) -> tuple[list[str], list[Basis]]:
    """Return what messages call the constant layers, and the whitened directions of all."""
    for name, x in layers.items():
        check_finite(x, f"activations of layer {name!r}")

    @torch.no_grad()  # here, too: a thread has a mode of its own
    def whiten(x: Tensor) -> tuple[bool, Basis]:
        constant = bool(reference.is_constant(x))
        return constant, orthonormal_basis(x, constant=constant, rtol=rtol)

    whitened = each(whiten, list(layers.values()), list(layers.values()))
    constant = [f"layer {name!r}" for name, (flag, _) in zip(layers, whitened, strict=True) if flag]
    return constant, [found for _, found in whitened]


def _by_projections_is_less(left: Sequence[Basis], right: Sequence[Basis], n: int) -> bool:
    ranks = sum(w.rank for w in left), sum(w.rank for w in right)
    sets = sum(ranks) if right is not left else ranks[0]
    return n * sets + 2 * n * len(left) * len(right) < 2 * ranks[0] * ranks[1]


def _projection_products(left: Sequence[Basis], right: Sequence[Basis], same: bool) -> Tensor:
    """Return <W_x W_xᵀ, W_y W_yᵀ> of all pairs (L, M), from the projections' lower triangles, some rows at a time."""
    sets = [w.coordinates for w in (left if same else [*left, *right])]
    n, L = len(sets[0]), len(left)
    sums = sets[0].new_zeros((L, len(right)))
    step = min(n, max(_LEAST_ROWS, _SLICE // (len(sets) * n)))
    memory = sets[0].new_empty(len(sets) * step * n)
    for k in range(0, n, step):
        rows = min(step, n - k)
        v = memory[: len(sets) * rows * (k + rows)].view(len(sets), -1)
        for part, W in zip(v, sets, strict=True):
            left_of, diagonal = part[: rows * k].view(rows, k), part[rows * k :].view(rows, rows)
            # an element left of the diagonal block stands for two
            torch.addmm(left_of, W[k : k + rows], W[:k].T, beta=0, alpha=2**0.5, out=left_of)
            torch.mm(W[k : k + rows], W[k : k + rows].T, out=diagonal)
        sums += hsic_pairs(v[:L], v[:L] if same else v[L:])
    return sums


def _in_float32(sets: Sequence[Tensor], left: Sequence[Basis], right: Sequence[Basis]) -> bool:
    """Return whether products of float32 numbers are worth it, and enough: results are rounded to them."""
    n, products = len(sets[0]), sum(w.rank for w in left) * sum(w.rank for w in right)
    if n < _MANY or n * products < _LONG:
        return False
    return all(x.is_cpu and result_dtype(x.dtype) == torch.float32 for x in sets)


def _correlation_sums(
    left: Sequence[Basis], right: Sequence[Basis], *, squares: bool, same: bool, single: bool
) -> Tensor:
    """Return Σρ, or Σρ², of all pairs (L, M); a column's cross products are formed at once, and soon let go."""
    wide = left[0].coordinates.dtype
    narrow = torch.float32 if single else wide  # of the products, which half the width makes twice as fast
    rows = [w.coordinates.to(narrow).contiguous() for w in left]
    sums = rows[0].new_zeros((len(left), len(right)), dtype=wide)

    def blocks() -> Iterator[Block]:
        for j, w in enumerate(right):
            column = rows[j] if same else w.coordinates.to(narrow).contiguous()
            last = j if same else len(left)
            if last == 0:
                continue
            yield Block(range(last), j, cross_products(rows[:last], column).to(wide))

    if same:  # a set with itself: the bases are orthonormal
        sums.diagonal().copy_(torch.tensor([w.rank for w in left]))
    for pairs, C in pair_batches(blocks(), {i: w.rank for i, w in enumerate(left)}):
        for (i, j), value in zip(pairs, correlation_sums(C, squares=squares), strict=True):
            sums[i, j] = value
            if same:
                sums[j, i] = value
    return sums


def _warn_few_samples(
    rows: dict[str, Tensor],
    columns: dict[str, Tensor],
    left: Sequence[Basis],
    right: Sequence[Basis],
    n: int,
) -> None:
    pairs: list[Pair] = [p for p in product(range(len(left)), range(len(right))) if right is not left or p[0] < p[1]]
    certain = {(i, j): certain_ones(left[i], right[j], n) for i, j in pairs}
    few = [pair for pair, count in certain.items() if count > 0]
    if few:
        i, j = max(few, key=lambda pair: certain[pair])
        warn(
            f"{n} samples are too few for CCA of {len(few)} of {len(pairs)} pairs of layers, which have correlations "
            f"of 1 whatever the data; the worst is {list(rows)[i]!r} with {list(columns)[j]!r}: rank_x + rank_y = "
            f"{left[i].rank} + {right[j].rank} > n - 1 = {n - 1}, at least {certain[i, j]} of "
            f"{min(left[i].rank, right[j].rank)}"
        )
