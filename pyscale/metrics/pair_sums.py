"""Sums over minibatches for all pairs of layers: totals, their jackknife error, and their permutation variance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from pyscale.metrics.base import check_shapes

MAX_BLOCKS = 64

_SHAPES = {"numerator": "BLM", "xx": "BL", "yy": "BM", "variance": "LM", "varies_x": "L", "varies_y": "M"}


@dataclass
class PairSums:
    """Sums of <U(K), U(L)> and of both self-terms, by blocks of consecutive minibatches; float64.

    A block takes ``capacity`` minibatches. When a 65th block would be needed, neighbours merge and the capacity
    doubles.
    """

    numerator: Tensor  # (B, L, M): <U(K), U(L)>
    xx: Tensor  # (B, L): |U(K)|²
    yy: Tensor  # (B, M): |U(L)|²
    variance: Tensor  # (L, M): of the total numerator under permutations of the samples
    varies_x: Tensor  # (L,), bool: not constant to rounding in some minibatch
    varies_y: Tensor  # (M,)
    counts: list[int]  # minibatches in each block
    capacity: int

    @classmethod
    def of_minibatch(cls, numerator: Tensor, xx: Tensor, yy: Tensor, n: int, varies: tuple[Tensor, Tensor]) -> PairSums:
        """Return the sums of one minibatch of n samples: (L, M), (L,), (M,), and which layers vary in it."""
        variance = 2 * xx[:, None] * yy[None, :] / (n * (n - 3))
        return cls(numerator[None], xx[None], yy[None], variance, *varies, counts=[1], capacity=1)

    def join_(self, other: PairSums) -> None:
        """Append the blocks of ``other``, which is only read; a single minibatch goes into a last block with room."""
        self.variance = self.variance + other.variance
        self.varies_x, self.varies_y = self.varies_x | other.varies_x, self.varies_y | other.varies_y
        if other.counts == [1] and self.counts[-1] < self.capacity:
            self.numerator[-1] += other.numerator[0]
            self.xx[-1] += other.xx[0]
            self.yy[-1] += other.yy[0]
            self.counts[-1] += 1
            return
        self.numerator = torch.cat([self.numerator, other.numerator])
        self.xx, self.yy = torch.cat([self.xx, other.xx]), torch.cat([self.yy, other.yy])
        self.counts = self.counts + other.counts
        self.capacity = max(self.capacity, other.capacity)
        while len(self.counts) > MAX_BLOCKS:
            self._halve()

    def totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the sums over everything: (L, M), (L,) and (M,)."""
        return self.numerator.sum(dim=0), self.xx.sum(dim=0), self.yy.sum(dim=0)

    def values(self) -> Tensor:
        """Return the ratio of the totals (L, M): the CKA."""
        return _ratio(*self.totals())

    def stderr(self) -> Tensor:
        """Return the delete-one jackknife error (L, M) of the ratio of totals; NaN below two blocks."""
        B = len(self.counts)
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
        return replace(self, **tensors, counts=list(self.counts))

    def state(self) -> dict[str, Any]:
        """Return a copy of the sums as plain tensors and numbers."""
        copied = self.to(None)
        return {field.name: getattr(copied, field.name) for field in fields(self)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PairSums:
        """Return a copy of the sums that ``state`` gave; ValueError where the shapes of two of them do not fit."""
        check_shapes(state, _SHAPES)
        if len(state["counts"]) != len(state["xx"]):
            raise ValueError(f"the state counts {len(state['counts'])} blocks and has sums of {len(state['xx'])}")
        return cls(**{field.name: state[field.name] for field in fields(cls)}).to(None)

    def _halve(self) -> None:
        self.numerator, self.xx, self.yy = (_add_neighbours(t) for t in (self.numerator, self.xx, self.yy))
        self.counts = [sum(self.counts[i : i + 2]) for i in range(0, len(self.counts), 2)]
        self.capacity *= 2


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


def _add_neighbours(t: Tensor) -> Tensor:
    """Return the sums of entries 0 + 1, 2 + 3, ... along the first axis; an odd last one stays alone."""
    pairs = t[::2].clone()
    pairs[: len(t) // 2] += t[1::2]
    return pairs


def _copied(t: Tensor, device: torch.device | str | None) -> Tensor:
    return t.to(t.device if device is None else device, copy=True)
