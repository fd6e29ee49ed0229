"""The surface α β² γ² = growth that a search looks on, and what its networks really cost after rounding."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import torch

from pyscale.models import Architecture, Profile, Scaling, profile
from pyscale.models.registry import fitted
from pyscale.models.scaling import positive

_DIGITS = 4  # of a base; more would tell apart what no network does
_MOST_POINTS = 20_000  # of a grid: each is counted as a network
_COUNTED_SIDES = 500


@dataclass(frozen=True)
class Candidate:
    r"""Bases of compound scaling, and the network they make of a family at :math:`\phi = 1`.

    Attributes:
        bases: α (``depth``), β (``width``) and γ (``resolution``).
        scaling: The baseline's factors times the bases: what :func:`pyscale.models.build` is given.
        nominal: α β² γ², how many times the baseline it would cost if nothing were rounded.
        growth: How many times the baseline it costs: MACs counted, divided by the baseline's.
        macs: Multiply-accumulates of one picture.
        parameters: Number of parameters.
        image_size: Side of its pictures in pixels.
        skipped: Why it is not trained; empty where it is.
        same_as: Name of the candidate that is the very same network after rounding, and is trained in its place.
    """

    bases: Scaling
    scaling: Scaling
    nominal: float
    growth: float
    macs: int
    parameters: int
    image_size: int
    skipped: str = ""
    same_as: str | None = None

    @property
    def name(self) -> str:
        """The bases as they name a folder: ``d1.2-w1.1-r1.15``."""
        return f"d{self.bases.depth:g}-w{self.bases.width:g}-r{self.bases.resolution:g}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True)
class SearchSpace:
    r"""The bases of compound scaling that a search may take, for one family and its baseline.

    Args:
        family: A name that :func:`pyscale.models.build` knows.
        num_classes: Outputs of the networks.
        in_channels: Channels of the pictures.
        image_size: Side of the family's pictures in pixels before scaling; None is the family's own.
        baseline: Factors that make the baseline of the family.
        growth: How many times the baseline's MACs a network at :math:`\phi = 1` is to cost; above 1.
        tolerance: How far, relatively, α β² γ² of a grid point may be from ``growth``.
        step: Of the grid, in each base.
        cost_tolerance: How far, relatively, the *counted* cost may be from ``growth`` times the baseline's. Networks
            beyond are not compared: more compute would be mistaken for better bases.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: A number is out of its range.
    """

    family: str
    num_classes: int
    in_channels: int
    image_size: int | None = None
    baseline: Scaling = field(default_factory=Scaling)
    growth: float = 2.0
    tolerance: float = 0.05
    step: float = 0.1
    cost_tolerance: float = 0.1

    def __post_init__(self) -> None:
        if not isinstance(self.baseline, Scaling):
            raise TypeError(f"baseline must be a Scaling, got {type(self.baseline).__name__}")
        for name in ("growth", "tolerance", "step", "cost_tolerance"):
            object.__setattr__(self, name, positive(name, getattr(self, name)))
        if self.growth <= 1:
            raise ValueError(f"growth must be above 1, or no base can be above 1, got {self.growth:g}")
        if self.tolerance >= 1:
            raise ValueError(f"tolerance must be a share below 1, got {self.tolerance:g}")

    def grid(self) -> list[Scaling]:
        r"""All points of the grid from 1 in steps with α β² γ² within ``tolerance`` of ``growth``.

        Raises:
            ValueError: There are more than 20 000 of them, which is found out without listing them.

        Example:
            >>> len(SearchSpace("cifar_resnet8", 10, 1, step=0.2).grid())
            6
        """
        if (expected := self._expected_points()) > _MOST_POINTS:
            raise ValueError(
                f"step: {self.step:g} makes a grid of about {expected:.3g} candidates with α β² γ² within "
                f"{self.tolerance:.0%} of {self.growth:g}; expected at most {_MOST_POINTS}: raise step or "
                "lower tolerance"
            )
        least, most = (self.growth * (1 + sign * self.tolerance) for sign in (-1, 1))
        sides = [1 + self.step * k for k in range(_steps(math.sqrt(most), self.step))]
        points = []
        for beta, gamma in product(sides, repeat=2):
            area = beta**2 * gamma**2
            first = max(0, _steps(least / area, self.step) - 2)  # two fewer: which of them are near is asked below
            alphas = (1 + self.step * k for k in range(first, _steps(most / area, self.step) + 1))
            points += [Scaling(*(round(base, _DIGITS) for base in (alpha, beta, gamma))) for alpha in alphas]
        near = [p for p in points if abs(nominal(p) / self.growth - 1) <= self.tolerance * (1 + 1e-9)]
        return sorted(near, key=_order)

    def _expected_points(self) -> float:
        """About how many points the grid has: the volume between the two surfaces in steps cubed, or exactly if few.

        Over (β, γ), of at most a quarter of a million pairs, the α that lie between are counted without being listed.
        """
        least, most = (self.growth * (1 + sign * self.tolerance) for sign in (-1, 1))
        steps = _steps(math.sqrt(most), self.step)
        each = max(1, -(-steps // _COUNTED_SIDES))  # steps that one pair in each direction stands for
        sides = 1 + self.step * np.arange(0, steps, each)
        area = np.outer(sides**2, sides**2)
        last = np.floor((most / area - 1) / self.step + 1e-9)
        before = np.maximum(np.ceil((least / area - 1) / self.step - 1e-9), 0)
        return float(np.maximum(last - before + 1, 0).sum()) * each**2

    def scaling(self, bases: Scaling) -> Scaling:
        """The baseline's factors times others."""
        base = self.baseline
        return Scaling(base.depth * bases.depth, base.width * bases.width, base.resolution * bases.resolution)

    def baseline_macs(self) -> int:
        """Multiply-accumulates of the baseline, counted."""
        return Counting(self).baseline_macs

    def candidates(self, points: Iterable[Scaling]) -> tuple[Candidate, ...]:
        """Count what points cost; mark those that miss the budget, and those that are the same network.

        Of bases that round to the same network, the one whose nominal growth is nearest to ``growth`` stands for all.
        """
        counting = Counting(self)
        nearest_first = sorted(points, key=lambda p: (round(abs(nominal(p) / self.growth - 1), 9), _order(p)))
        return tuple(sorted((counting.candidate(point) for point in nearest_first), key=lambda c: _order(c.bases)))


class Counting:
    """Candidates of a space one after another, each judged beside those before it.

    Args:
        space: Where they come from.
    """

    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self._base = fitted(
            space.family, num_classes=space.num_classes, in_channels=space.in_channels, image_size=space.image_size
        )
        self._costs: dict[Architecture, Profile] = {}
        self._first: dict[Architecture, str] = {}
        self.baseline_macs = self._cost(self._base.scaled(space.baseline)).macs

    def candidate(self, bases: Scaling) -> Candidate:
        """Count what a point costs, and say why it is not to be trained, if it isn't."""
        scaling = self.space.scaling(bases)
        architecture = self._base.scaled(scaling)
        cost = self._cost(architecture)
        counted = Candidate(
            bases=bases,
            scaling=scaling,
            nominal=nominal(bases),
            growth=cost.macs / self.baseline_macs,
            macs=cost.macs,
            parameters=cost.parameters,
            image_size=cost.image_size,
        )
        first = self._first.setdefault(architecture, counted.name)
        if first != counted.name:
            return replace(counted, skipped=f"rounds to the same network as {first}", same_as=first)
        if self.violation(counted) > 0:
            return replace(
                counted,
                skipped=f"costs {counted.growth:.2f} times the baseline, "
                f"not {self.space.growth:g} ± {self.space.cost_tolerance:.0%}",
            )
        return counted

    def _cost(self, architecture: Architecture) -> Profile:
        """What a network costs, counted once for each architecture on the meta device."""
        if architecture not in self._costs:
            with torch.device("meta"):
                network = architecture.network()
            self._costs[architecture] = profile(network, repeats=0, in_channels=architecture.in_channels)
        return self._costs[architecture]

    def violation(self, candidate: Candidate) -> float:
        """How far beyond the tolerance the counted cost is, relatively; at most 0 within it."""
        return abs(candidate.growth / self.space.growth - 1) - self.space.cost_tolerance * (1 + 1e-9)


def nominal(bases: Scaling) -> float:
    """α β² γ²: how many times the compute, before rounding."""
    return bases.depth * bases.width**2 * bases.resolution**2


def on_surface(growth: float, depth: float, split: float) -> Scaling:
    r"""A point of α β² γ² = growth by shares of the growth.

    Args:
        growth: The product.
        depth: Share of depth, in [0, 1]: :math:`\alpha = g^{e_d}`.
        split: Share of width in what depth leaves, in [0, 1].

    Returns:
        The bases, to four decimals.

    Example:
        >>> on_surface(2, 0.5, 1)
        Scaling(depth=1.4142, width=1.1892, resolution=1.0)
    """
    width = (1 - depth) * split
    exponents = depth, width / 2, (1 - depth - width) / 2
    return Scaling(*(round(growth ** max(0.0, exponent), _DIGITS) for exponent in exponents))


def _steps(end: float, step: float) -> int:
    """How many of 1, 1 + step, ... are at most ``end``."""
    return int((end - 1) / step + 1e-9) + 1


def _order(bases: Scaling) -> tuple[float, float, float]:
    return bases.depth, bases.width, bases.resolution
