"""Sums over minibatches for all pairs of layers: totals, their jackknife error, and their permutation variance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from pyscale.metrics.base import check_shapes
from pyscale.ops import hsic_pairs

MAX_BLOCKS = 64

_SHAPES = {"numerator": "BLM", "xx": "BL", "yy": "BM", "variance": "LM", "varies_x": "L", "varies_y": "M"}


@dataclass
class PairSums:
    """Sums of <U(K), U(L)> and of both self-terms, by blocks of consecutive minibatches; float64.

    Block k has the minibatches from number k · ``capacity`` on, ``capacity`` of them. When there would be a 65th,
    neighbours merge and the capacity doubles. Which minibatches share a block depends on their numbers alone, not on
    who saw them in which order.
    """

    numerator: Tensor  # (B, L, M): <U(K), U(L)>
    xx: Tensor  # (B, L): |U(K)|²
    yy: Tensor  # (B, M): |U(L)|²
    variance: Tensor  # (L, M): of the total numerator under permutations of the samples
    varies_x: Tensor  # (L,), bool: not constant to rounding in some minibatch
    varies_y: Tensor  # (M,)
    places: list[int]  # numbers of the blocks that have minibatches, ascending
    capacity: int
    end: int  # one more than the greatest number of a minibatch

    @classmethod
    def of_minibatch(
        cls, numerator: Tensor, xx: Tensor, yy: Tensor, n: int, varies: tuple[Tensor, Tensor], number: int = 0
    ) -> PairSums:
        """Return the sums of one minibatch of n samples: (L, M), (L,), (M,), and which layers vary in it."""
        variance = 2 * xx[:, None] * yy[None, :] / (n * (n - 3))
        blocks = numerator[None], xx[None], yy[None]
        return cls(*blocks, variance, *varies, places=[number], capacity=1, end=number + 1).settled()

    def join_(self, other: PairSums) -> None:
        """Add minibatches that are numbered with these; ``other`` is only read."""
        self.variance = self.variance + other.variance
        self.varies_x, self.varies_y = self.varies_x | other.varies_x, self.varies_y | other.varies_y
        self.end = max(self.end, other.end)
        capacity = max(self.capacity, other.capacity)
        self._widen(capacity)
        theirs = [place * other.capacity // capacity for place in other.places]
        if theirs == [self.places[-1]]:
            self.numerator[-1] += other.numerator[0]
            self.xx[-1] += other.xx[0]
            self.yy[-1] += other.yy[0]
        elif len(theirs) == len(set(theirs)) and theirs[0] > self.places[-1]:
            self.numerator = torch.cat([self.numerator, other.numerator])
            self.xx, self.yy = torch.cat([self.xx, other.xx]), torch.cat([self.yy, other.yy])
            self.places = self.places + theirs
        else:
            places = sorted({*self.places, *theirs})
            mine, others = ([places.index(place) for place in some] for some in (self.places, theirs))
            self.numerator, self.xx, self.yy = (
                _scattered(getattr(self, name), mine, getattr(other, name), others, len(places))
                for name in ("numerator", "xx", "yy")
            )
            self.places = places
        self.settled()

    def append_(self, other: PairSums) -> None:
        """Add minibatches that have numbers of their own, and are to follow these; ``other`` is only read."""
        self._widen(max(self.capacity, other.capacity))
        first = -(-self.end // self.capacity) * self.capacity  # of a block that these have none in
        places = [place + first // other.capacity for place in other.places]
        self.join_(replace(other, places=places, end=first + other.end))

    def settled(self) -> PairSums:
        """Return itself once blocks are as wide as they must be for at most 64 of them."""
        capacity = self.capacity
        while -(-self.end // capacity) > MAX_BLOCKS:
            capacity *= 2
        self._widen(capacity)
        return self

    def totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums over everything: (L, M), (L,) and (M,)."""
        return self.numerator.sum(dim=0), self.xx.sum(dim=0), self.yy.sum(dim=0)

    def values(self) -> Tensor:
        """Return the ratio of the totals (L, M): the CKA."""
        return _ratio(*self.totals())

    def stderr(self) -> Tensor:
        """Return the delete-one jackknife error (L, M) of the ratio of totals; NaN below two blocks."""
        B = len(self.places)
        numerator, xx, yy = self.totals()
        if B < 2:
            return torch.full_like(numerator, torch.nan)
        left_out = _ratio(numerator - self.numerator, xx - self.xx, yy - self.yy)
        return ((B - 1) / B * (left_out - left_out.mean(dim=0)).square().sum(dim=0)).sqrt()

    def zscores(self) -> Tensor:
        """Return the total numerator in standard deviations under permutations of the samples (L, M)."""
        return self.numerator.sum(dim=0) / self.variance.sqrt()

    def to(self, device: torch.device | str | None) -> PairSums:
        """Return a copy of the sums on ``device``, by default on their own."""
        tensors: dict[str, Any] = {name: _copied(getattr(self, name), device) for name in _SHAPES}
        return replace(self, **tensors, places=list(self.places))

    def state(self) -> dict[str, Any]:
        """Return a copy of the sums as plain tensors and numbers."""
        copied = self.to(None)
        return {field.name: getattr(copied, field.name) for field in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PairSums:
        """Return a copy of the sums that ``state`` gave; ValueError where the shapes of two of them do not fit."""
        check_shapes(state, _SHAPES)
        if len(state["places"]) != len(state["xx"]):
            raise ValueError(f"the state places {len(state['places'])} blocks and has sums of {len(state['xx'])}")
        return cls(**{field.name: state[field.name] for field in fields(cls)}).to(None)

    def _widen(self, capacity: int) -> None:
        """Merge blocks that lie in one of the given capacity."""
        if capacity == self.capacity:
            return
        wide = [place * self.capacity // capacity for place in self.places]
        self.places, self.capacity = sorted(set(wide)), capacity
        into = [self.places.index(place) for place in wide]
        self.numerator, self.xx, self.yy = (
            _scattered(t, into, t[:0], [], len(self.places)) for t in (self.numerator, self.xx, self.yy)
        )


def squared_norms(v: Tensor) -> Tensor:
    """Return the squared norm of every row (L, N) -> (L,), in float64.

    On a GPU one product of all rows with all is sooner done than L small ones are queued.
    """
    if v.device.type != "cpu":
        return hsic_pairs(v, v).diagonal().clone()
    return torch.stack([wide.dot(wide) for wide in (row.double() for row in v)])


def without_constant(v: Tensor, constant: Tensor) -> Tensor:
    """Return ``v`` with zeros for constant layers, whose U-centred Gram is zero and whose computed one is noise.

    On a CPU ``v`` itself where none is constant; on a GPU a look would cost more than the copy.
    """
    if v.device.type == "cpu" and not bool(constant.any()):
        return v
    return v.masked_fill(constant.to(v.device)[:, None], 0)


def _ratio(numerator: Tensor, xx: Tensor, yy: Tensor) -> Tensor:
    """Return numerator / sqrt(xx yyᵀ) for (..., L, M), (..., L) and (..., M)."""
    return numerator / (xx.sqrt()[..., :, None] * yy.sqrt()[..., None, :])


def _scattered(a: Tensor, into_a: Sequence[int], b: Tensor, into_b: Sequence[int], size: int) -> Tensor:
    """Return sums (size, ...) of entries of ``a``, and then of ``b``, in their order, each into its place."""
    sums = a.new_zeros((size, *a.shape[1:]))
    for entries, places in ((a, into_a), (b, into_b)):
        for entry, place in zip(entries, places, strict=True):
            sums[place] += entry
    return sums


def _copied(t: Tensor, device: torch.device | str | None) -> Tensor:
    return t.to(t.device if device is None else device, copy=True)
