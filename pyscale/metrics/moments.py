r"""Centred moments of samples seen in pieces: what exact streaming CKA, CCA and Procrustes remember.

With x and y centred about the means of all samples seen so far,

.. math::
    S_{xy} = \sum x y^\top, \quad u = \sum |y|^2 x, \quad v = \sum |x|^2 y, \quad w = \sum |x|^2 |y|^2 .

When the means move by :math:`a = m_\mathrm{old} - m_\mathrm{new}` (b for y), with t the traces and the old values on
the right,

.. math::
    S_{xy} &\mathrel{+}= n a b^\top \\
    u &\mathrel{+}= 2 S_{xy} b + a t_y + n |b|^2 a \\
    v &\mathrel{+}= 2 S_{xy}^\top a + b t_x + n |a|^2 b \\
    w &\mathrel{+}= 2 b \cdot v + 2 a \cdot u + 4 a^\top S_{xy} b + |b|^2 t_x + |a|^2 t_y + n |a|^2 |b|^2 .

Two sets merge by moving both to their common mean and adding. Raw second moments, which lose their digits to large
means, are never formed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from pyscale.metrics.base import check_shapes
from pyscale.ops import add_moments_, merge_moments_
from pyscale.ops.dtypes import accumulator_dtype

_SLICE = 1 << 21  # elements of a centred slice: 16 MiB in float64
_CANCELLED = 1e-13  # a sum of float64 terms below this share of the largest is rounding alone
_CONSTANT = 4  # as in ops: a feature is constant where it strays at most this many eps of its type from its mean


@dataclass(frozen=True)
class Move:
    """How the means of two sets of samples of one layer move when the sets are joined."""

    n: int
    other_n: int
    step: Tensor  # (p,): the first set's mean minus the common one
    other_step: Tensor  # (p,): the second set's
    trace: Tensor  # 0-d: Σ|x|² of the first set about its own mean
    other_trace: Tensor

    @property
    def weight(self) -> float:
        """The weight n m / (n + m) of the rank-one term between the sets."""
        return self.n * self.other_n / (self.n + self.other_n)

    @property
    def apart(self) -> Tensor:
        """The second set's mean minus the first's (p,)."""
        return self.step - self.other_step


@dataclass
class _Copied:
    """A record of tensors and numbers that is copied whole."""

    shapes: ClassVar[Mapping[str, str]] = {}  # a letter for each dimension of each tensor, the same for equal sizes

    def to(self, device: torch.device | str | None = None) -> Self:
        """Return a copy on ``device``, by default on its own; no memory is shared."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        copies = {name: t.to(t.device if device is None else device, copy=True) for name, t in tensors.items()}
        return type(self)(**{**values, **copies})

    def state(self) -> dict[str, Any]:
        """Return a copy as plain tensors and numbers by name."""
        copied = self.to()
        return {field.name: getattr(copied, field.name) for field in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device | str | None = None) -> Self:
        """Return a copy of what :meth:`state` gave, as :meth:`to` does.

        Raises:
            KeyError: An entry is missing.
            ValueError: The shapes of two entries do not fit.
        """
        check_shapes(state, cls.shapes)
        return cls(**{field.name: state[field.name] for field in fields(cls)}).to(device)


@dataclass
class Moments(_Copied):
    """The centred moments of one layer: all that exact CKA and CCA need of it alone, in float64."""

    shapes = {"mean": "p", "S": "pp", "u": "p", "w": "", "low": "p", "high": "p"}  # noqa: RUF012

    n: int
    mean: Tensor  # (p,)
    S: Tensor  # (p, p): Σ x xᵀ
    u: Tensor  # (p,): Σ |x|² x
    w: Tensor  # 0-d: Σ |x|⁴
    low: Tensor  # (p,): least value of each feature
    high: Tensor  # (p,): greatest value
    eps: float  # the coarsest rounding unit of the types seen

    @classmethod
    def from_batch(cls, x: Tensor) -> Self:
        """Return the moments of a batch (n, p), n >= 1, of any floating-point type."""
        wide = accumulator_dtype(x.device)
        p = x.shape[1]
        mean = x.mean(dim=0, dtype=wide)
        S = add_moments_(x.new_zeros((p, p), dtype=wide), x, mean)
        u, w = x.new_zeros((p,), dtype=wide), x.new_zeros((), dtype=wide)
        for a, _ in centred_slices(x, mean):
            r = a.square().sum(dim=1)
            u += r @ a
            w += r.dot(r)
        return cls(len(x), mean, S, u, w, x.amin(0).to(wide), x.amax(0).to(wide), torch.finfo(x.dtype).eps)

    @property
    def trace(self) -> Tensor:
        """Σ |x|², 0-d."""
        return self.S.diagonal().sum()

    @property
    def constant(self) -> bool:
        """Whether every feature j has max_i |x_ij - m_j| <= 4 eps max_i |x_ij|, eps of the input's type."""
        spread = torch.maximum(self.high - self.mean, self.mean - self.low)
        largest = torch.maximum(self.high.abs(), self.low.abs())
        return bool((spread <= _CONSTANT * self.eps * largest).all())

    def gram_square(self, estimator: str) -> Tensor:
        """Return the inner product of the centred linear Gram with itself, 0-d; 0 where it is rounding alone."""
        biased = self.S.square().sum()
        square = gram_product(biased, self.w, self.trace, self.trace, self.n, estimator)
        return torch.where(is_noise(square, biased), 0.0, square)

    def move(self, other: Moments) -> Move:
        """Return how the means move when ``other`` is merged into these moments."""
        apart = other.mean - self.mean
        total = self.n + other.n
        step, other_step = apart * (-other.n / total), apart * (self.n / total)
        return Move(self.n, other.n, step, other_step, self.trace, other.trace)

    def merge_(self, other: Moments) -> Self:
        """Add the samples of ``other``, which is only read."""
        move = self.move(other)
        u, _, w = _moved(self.S, self.u, self.u, self.w, move.n, move.step, move.step, move.trace, move.trace)
        t, far = move.other_trace, move.other_step
        other_u, _, other_w = _moved(other.S, other.u, other.u, other.w, move.other_n, far, far, t, t)
        self.u, self.w = u + other_u, w + other_w
        merge_moments_(self.S, other.S, move.apart, move.apart, move.weight)
        self.mean = self.mean - move.step
        self.low, self.high = torch.minimum(self.low, other.low), torch.maximum(self.high, other.high)
        self.n, self.eps = self.n + other.n, max(self.eps, other.eps)
        return self


@dataclass
class CrossMoments(_Copied):
    """What the pair of two layers adds to the moments of each, in float64."""

    shapes = {"S": "pq", "u": "p", "v": "q", "w": ""}  # noqa: RUF012

    S: Tensor  # (p, q): Σ x yᵀ
    u: Tensor  # (p,): Σ |y|² x
    v: Tensor  # (q,): Σ |x|² y
    w: Tensor  # 0-d: Σ |x|² |y|²

    @classmethod
    def from_batch(cls, x: Tensor, y: Tensor, mean_x: Tensor, mean_y: Tensor) -> Self:
        """Return the cross moments of a batch, (n, p) and (n, q), about its own means (p,) and (q,)."""
        p, q = x.shape[1], y.shape[1]
        S = add_moments_(mean_x.new_zeros((p, q)), x, mean_x, y, mean_y)
        u, v, w = mean_x.new_zeros((p,)), mean_x.new_zeros((q,)), mean_x.new_zeros(())
        for a, b in centred_slices(x, mean_x, y, mean_y):
            r, s = a.square().sum(dim=1), b.square().sum(dim=1)
            u += s @ a
            v += r @ b
            w += r.dot(s)
        return cls(S, u, v, w)

    def merge_(self, other: CrossMoments, x: Move, y: Move) -> Self:
        """Add the samples of ``other``, which is only read, given how the means of the two layers move."""
        u, v, w = _moved(self.S, self.u, self.v, self.w, x.n, x.step, y.step, x.trace, y.trace)
        far = (other.S, other.u, other.v, other.w, x.other_n, x.other_step, y.other_step, x.other_trace, y.other_trace)
        other_u, other_v, other_w = _moved(*far)
        self.u, self.v, self.w = u + other_u, v + other_v, w + other_w
        merge_moments_(self.S, other.S, x.apart, y.apart, x.weight)
        return self


def gram_product(square: Tensor, w: Tensor, t_x: Tensor, t_y: Tensor, n: int, estimator: str) -> Tensor:
    r"""Return the inner product of the centred linear Grams of n samples from sums over features.

    .. math::
        \langle U(K), U(L) \rangle = |S_{xy}|_F^2 - \frac{n}{n-2} w + \frac{t_x t_y}{(n-1)(n-2)}
        \quad\text{or, biased,}\quad \langle H K H, H L H \rangle = |S_{xy}|_F^2

    Args:
        square: :math:`|S_{xy}|_F^2`, 0-d or one for each pair.
        w: :math:`\sum |x|^2 |y|^2`.
        t_x: :math:`\sum |x|^2`.
        t_y: :math:`\sum |y|^2`.
        n: Samples.
        estimator: "unbiased" or "biased".
    """
    if estimator == "biased":
        return square
    return square - n / (n - 2) * w + t_x * t_y / ((n - 1) * (n - 2))


def is_noise(product: Tensor, square: Tensor) -> Tensor:
    """Return whether <U(K), U(K)> is rounding alone, 0-d bool, given it and |S_xx|²_F, the largest of its terms."""
    return product.detach() <= _CANCELLED * square.detach()


def centred_slices(
    x: Tensor, mean_x: Tensor, y: Tensor | None = None, mean_y: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield slices of samples of both sets, centred, in the type of the means; y is x where it is None.

    The slices keep the whole from being copied in float64 at once.
    """
    columns = x.shape[1] + (0 if y is None else y.shape[1])
    step = max(1, _SLICE // max(columns, 1))
    for i in range(0, x.shape[0], step):
        a = x[i : i + step].to(mean_x.dtype) - mean_x
        yield a, (a if y is None or mean_y is None else y[i : i + step].to(mean_y.dtype) - mean_y)


def _moved(
    S: Tensor, u: Tensor, v: Tensor, w: Tensor, n: int, a: Tensor, b: Tensor, t_x: Tensor, t_y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return u, v and w of n samples about means that are lower by a and b; S, still about the old ones, is read."""
    Sb, aS = S @ b, a @ S
    aa, bb = a.dot(a), b.dot(b)
    return (
        u + 2 * Sb + a * t_y + n * bb * a,
        v + 2 * aS + b * t_x + n * aa * b,
        w + 2 * b.dot(v) + 2 * a.dot(u) + 4 * a.dot(Sb) + bb * t_x + aa * t_y + n * aa * bb,
    )
