"""Streaming co-moments: centred sums of products that grow by batches and merge without loss."""

from __future__ import annotations

from torch import Tensor

from pyscale.ops import library, native


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
        threads: CPU threads, for the native kernels; by default torch's own number, and torch's own product where that
            is faster: of two sets, and of few samples of many features.

    Returns:
        ``out``.
    """
    library.add_moments(out, x, shift_x, y, shift_y, threads or 0)
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

    References:
        Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """
    if native.serves(S, T) and S.is_contiguous():
        native.merge_moments(S, T, dx, dy, weight)
    else:
        S += T
        S.addr_(dx, dy, alpha=weight)
    return S
