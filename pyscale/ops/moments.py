"""Streaming co-moments: centred sums of products that grow by batches and merge without loss."""

from __future__ import annotations

from numbers import Real
from typing import Any

from torch import Tensor

from pyscale.ops import library, native
from pyscale.ops.arrays import as_matrix, same_device, same_samples
from pyscale.ops.dtypes import accumulator_dtype
from pyscale.ops.gram import check_threads
from pyscale.ops.memory import MemoryErrors


def add_moments_(
    out: Tensor,
    x: Tensor,
    shift_x: Tensor,
    y: Tensor | None = None,
    shift_y: Tensor | None = None,
    *,
    threads: int | None = None,
) -> Tensor:
    r"""Add to ``out`` the co-moments of a batch about given points, in float64 throughout.

    .. math:: S \mathrel{+}= (X - 1 a^\top)^\top (Y - 1 b^\top)

    Args:
        out: The sums so far, float64, shape (p, q), or (p, p) for the moments of ``x`` with itself.
        x: A batch of shape (n, p), any floating-point type.
        shift_x: The point a, float64, shape (p,): the batch's mean for centred moments.
        y: The other batch, shape (n, q); None for ``x`` itself, which takes half of the arithmetic.
        shift_y: The point b, float64, shape (q,).
        threads: CPU threads; by default torch's own number.

    Returns:
        ``out``.

    Raises:
        TypeError: An argument is no tensor, or of another type.
        ValueError: Shapes or devices do not fit, or only one of ``y`` and ``shift_y`` is given.
    """
    if (y is None) != (shift_y is None):
        missing, given = ("y", "shift_y") if y is None else ("shift_y", "y")
        raise ValueError(f"{missing} is None and {given} is given; expected both or neither")
    x = as_matrix(x, "x")
    q = x.shape[1]
    _check_row(shift_x, "shift_x", x.shape[1], x, "x")
    if y is not None:
        y = as_matrix(y, "y")
        same_samples(x, y)
        same_device(x, y)
        q = y.shape[1]
        _check_row(shift_y, "shift_y", q, y, "y")
    _check_sums(out, "out", (x.shape[1], q), x, "x")
    library.add_moments(out, x, shift_x, y, shift_y, check_threads(threads))
    return out


def merge_moments_(S: Tensor, T: Tensor, dx: Tensor, dy: Tensor, weight: float) -> Tensor:
    r"""Merge the centred moments of another set into ``S``.

    .. math:: S \mathrel{+}= T + w\, d_x d_y^\top, \qquad w = \frac{n m}{n + m}

    Args:
        S: Centred moments of n samples, float64, shape (p, q).
        T: Centred moments of m others, the same shape; read only.
        dx: Difference of the two means of x, shape (p,).
        dy: Difference of the two means of y, shape (q,).
        weight: w, the harmonic weight of the two counts.

    Returns:
        ``S``.

    Raises:
        TypeError: An argument is no tensor, or of another type.
        ValueError: Shapes or devices do not fit.

    References:
        Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """
    _check_sums(S, "S", tuple(getattr(S, "shape", ())), S, "S")
    _check_sums(T, "T", tuple(S.shape), S, "S", written=False)
    _check_row(dx, "dx", S.shape[0], S, "S")
    _check_row(dy, "dy", S.shape[1], S, "S")
    _check_number(weight, "weight")
    with MemoryErrors("merge_moments_"):
        if native.serves(S, T) and S.is_contiguous():
            native.merge_moments(S, T, dx, dy, weight)
        else:
            S += T
            S.addr_(dx, dy, alpha=weight)
    return S


def _check_sums(out: Any, name: str, shape: tuple[int, ...], like: Tensor, whose: str, *, written: bool = True) -> None:
    """Raise TypeError or ValueError unless ``out`` can hold sums of that shape, on the device of ``like``."""
    if not isinstance(out, Tensor) or out.dtype != accumulator_dtype(out.device):
        raise TypeError(f"{name} is {_kind(out)}; expected a tensor of float64")
    if out.ndim != 2 or out.shape != shape:
        raise ValueError(f"{name} has shape {tuple(out.shape)}; expected {shape if len(shape) == 2 else '(p, q)'}")
    same_device(out, like, (name, whose))
    if written and any(size > 1 and stride == 0 for size, stride in zip(out.shape, out.stride(), strict=True)):
        raise ValueError(f"{name} is an expanded view, whose elements share memory; expected a tensor to add to")


def _check_row(a: Any, name: str, size: int, like: Tensor, whose: str) -> None:
    """Raise TypeError or ValueError unless ``a`` has one number for each of so many features of ``like``."""
    if not isinstance(a, Tensor) or a.dtype != accumulator_dtype(a.device):
        raise TypeError(f"{name} is {_kind(a)}; expected a tensor of float64")
    if a.shape != (size,):
        raise ValueError(f"{name} has shape {tuple(a.shape)}; expected ({size},)")
    same_device(a, like, (name, whose))


def _check_number(value: object, name: str) -> None:
    if not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}; expected a number")


def _kind(value: Any) -> str:
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
