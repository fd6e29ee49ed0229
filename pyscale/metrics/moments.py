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

New samples are added about the means that hold with them; two sets merge by moving both to their common mean and
adding. Raw second moments, which lose their digits to large means, are never formed.

This module has the moments of one layer; those of pairs are in :mod:`pyscale.metrics.cross_moments`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from pyscale.metrics.base import check_shapes
from pyscale.ops import add_moments_, merge_moments_
from pyscale.ops.dtypes import accumulator_dtype

_SLICE = 1 << 21  # elements of a centred slice: 16 MiB in float64
_SLICE_ELSEWHERE = 1 << 24  # where a launch costs as much as the product of a small slice: 128 MiB
_DEPTH = 1024  # rows of a slice at least: co-moments are read and written once for each
_CANCELLED = 1e-13  # a sum of float64 terms below this share of the largest is rounding alone
_CONSTANT = 4  # as in ops: a feature is constant where it strays at most this many eps of its type from its mean


@dataclass(frozen=True)
class Move:
    """How the means of L layers, P features side by side, move when samples join the n they are the means of."""

    n: int
    sizes: tuple[int, ...]  # features of each layer
    mean: Tensor  # (P,): the new means
    step: Tensor  # (P,): the old ones minus the new
    spread: Tensor  # (L, P): the step of each layer in a row of its own, 0 elsewhere
    trace: Tensor  # (L,): Σ|x|² of each layer about its old mean

    @classmethod
    def joined(cls, moves: Sequence[Move]) -> Move:
        """Return the moves of layers on the same samples, side by side."""
        if len(moves) == 1:
            return moves[0]
        mean, step, trace = (torch.cat([getattr(move, name) for move in moves]) for name in ("mean", "step", "trace"))
        spread = torch.block_diag(*(move.spread for move in moves))
        return cls(moves[0].n, tuple(size for move in moves for size in move.sizes), mean, step, spread, trace)

    def apart(self, other: Move) -> Tensor:
        """Return the old means (P,) of the other's samples, which join these, minus those of these."""
        return self.step - other.step

    def weight(self, other: Move) -> float:
        """Return the weight n m / (n + m) of the rank-one term between two sets of samples that are joined."""
        return self.n * other.n / (self.n + other.n)

    def first(self, layers: int) -> Move:
        """Return the moves of the first layers alone, sharing memory."""
        p, sizes = sum(self.sizes[:layers]), self.sizes[:layers]
        return Move(self.n, sizes, self.mean[:p], self.step[:p], self.spread[:layers, :p], self.trace[:layers])


@dataclass
class Copied:
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
class Moments(Copied):
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
    def empty(cls, p: int, device: torch.device) -> Self:
        """Return the moments of no samples of p features."""
        zero = torch.zeros(p, dtype=accumulator_dtype(device), device=device)
        infinite = torch.full_like(zero, torch.inf)
        return cls(0, zero, zero.new_zeros((p, p)), zero.clone(), zero.new_zeros(()), infinite, -infinite, 0.0)

    @property
    def trace(self) -> Tensor:
        """Σ |x|², 0-d."""
        return self.S.diagonal().sum()

    @property
    def constant(self) -> Tensor:
        """Whether every feature j has max_i |x_ij - m_j| <= 4 eps max_i |x_ij|, eps of the input's type; 0-d bool."""
        spread = torch.maximum(self.high - self.mean, self.mean - self.low)
        largest = torch.maximum(self.high.abs(), self.low.abs())
        return (spread <= _CONSTANT * self.eps * largest).all()

    def gram_square(self, estimator: str) -> Tensor:
        """Return the inner product of the centred linear Gram with itself, 0-d; 0 where it is rounding alone."""
        biased = self.S.square().sum()
        square = gram_product(biased, self.w, self.trace, self.trace, self.n, estimator)
        return torch.where(is_noise(square, biased), 0.0, square)

    def add_(self, x: Tensor, eps: float | None = None) -> Move:
        """Add samples (n, p), n >= 1, of any floating-point type; return how the mean moved.

        Args:
            x: The samples.
            eps: The rounding unit of the type they came in; that of the one they are in by default.
        """
        addition = self.adding(x, eps)
        self.join_(addition)
        return addition.move

    def adding(self, x: Tensor, eps: float | None = None) -> Addition:
        """Return what :meth:`add_` would write, for :meth:`join_`; nothing is changed."""
        move = self._move_to(len(x), x.mean(dim=0, dtype=self.mean.dtype))
        u, w = self._moved(move)
        for a, _ in centred_slices(x, move.mean):
            r = a.square().sum(dim=1)
            u, w = u + r @ a, w + r.dot(r)
        low, high = x.amin(0).to(u.dtype), x.amax(0).to(u.dtype)
        return Addition(x, move, self._after(move, u, w, len(x), low, high, eps or torch.finfo(x.dtype).eps))

    def join_(self, addition: Addition) -> None:
        """Add samples to these moments, of which ``addition`` was made and which have not changed since."""
        move = addition.move
        add_moments_(self.S, addition.x, move.mean)  # what may fail comes first, and writes all or nothing
        if move.n:
            self.S.addr_(move.step, move.step, alpha=move.n)
        vars(self).update(vars(addition.after))

    def moves(self, other: Moments) -> tuple[Move, Move]:
        """Return how the means of both move when the two sets of samples are joined."""
        return self._move_to(other.n, other.mean), other._move_to(self.n, self.mean)

    def merge_(self, other: Moments) -> Self:
        """Add the samples of ``other``, which is only read."""
        mine, theirs = self.moves(other)
        (u, w), (other_u, other_w) = self._moved(mine), other._moved(theirs)
        apart = mine.apart(theirs)
        after = self._after(mine, u + other_u, w + other_w, other.n, other.low, other.high, other.eps)
        merge_moments_(self.S, other.S, apart, apart, mine.weight(theirs))
        vars(self).update(vars(after))
        return self

    def _move_to(self, n: int, mean: Tensor) -> Move:
        """Return how the mean moves when n samples of the given mean (p,) join."""
        step = (self.mean - mean) * (n / (self.n + n))
        return Move(self.n, (len(step),), self.mean - step, step, step[None], self.trace[None])

    def _moved(self, move: Move) -> tuple[Tensor, Tensor]:
        u, _, w = moved(self.S, self.u, self.u[None], self.w[None], move, move)
        return u, w[0]

    def _after(self, move: Move, u: Tensor, w: Tensor, n: int, low: Tensor, high: Tensor, eps: float) -> Moments:
        """Return the moments once n samples have joined; S is this very tensor, in which they are still to come."""
        low, high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        return replace(self, n=self.n + n, mean=move.mean, u=u, w=w, low=low, high=high, eps=max(self.eps, eps))


@dataclass(frozen=True)
class Addition:
    """Samples that are to join the moments of a layer: all that takes memory is done, and nothing is written."""

    x: Tensor  # (n, p)
    move: Move
    after: Moments  # once they have joined; its S is that of the moments now, still without them


def moved(S: Tensor, u: Tensor, v: Tensor, w: Tensor, x: Move, y: Move) -> tuple[Tensor, Tensor, Tensor]:
    """Return u (P,), v (L, q) and w (L,) about the new means; S (P, q), still about the old ones, is read.

    Args:
        S: Co-moments of L layers side by side with one other.
        u: Σ |y|² x.
        v: Σ |x|² y, a row for each of the L.
        w: Σ |x|² |y|², likewise.
        x: The moves of the L layers.
        y: The move of the other.
    """
    if x.n == 0:
        return u, v, w
    n, a, b, A, t_x, t_y = x.n, x.step, y.step, x.spread, x.trace, y.trace
    Sb, aa, bb = S @ b, A @ a, b.dot(b)
    return (
        u + 2 * Sb + a * t_y + n * bb * a,
        v + 2 * (A @ S) + torch.outer(t_x + n * aa, b),
        w + 2 * (v @ b) + 2 * (A @ u) + 4 * (A @ Sb) + bb * t_x + aa * t_y + n * aa * bb,
    )


def gram_product(square: Tensor, w: Tensor, t_x: Tensor, t_y: Tensor, n: int | Tensor, estimator: str) -> Tensor:
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


def slice_rows(columns: int, device: torch.device) -> int:
    """Return how many samples of so many features go through at once, so that not all are copied in float64."""
    most = _SLICE if device.type == "cpu" else _SLICE_ELSEWHERE
    return max(_DEPTH, most // max(columns, 1))


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
