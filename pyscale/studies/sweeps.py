"""Networks that a study counts and does not train: one dimension after another, and all together, in even steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from pyscale.models import Scaling, build, profile
from pyscale.models.scaling import positive

DIMENSIONS = ("depth", "width", "resolution")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Networks at :math:`d = b_d^φ`, :math:`w = b_w^φ`, :math:`r = b_r^φ` for a row of exponents.

    Args:
        name: For rows: ``"depth"``.
        phi: The exponents.
        depth: Base of the depth factor; 1 leaves it.
        width: Base of the width factor.
        resolution: Base of the resolution factor.

    Raises:
        ValueError: If there is no exponent, a base is not positive, or a factor is beyond what a float holds.

    Example:
        >>> [scaling.depth for _, scaling in Sweep(name="depth", depth=2, phi=(0, 1, 2)).scalings()]
        [1.0, 2.0, 4.0]
    """

    name: str
    phi: tuple[float, ...]
    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0

    def __post_init__(self) -> None:
        if not self.phi:
            raise ValueError("phi is empty: there is nothing to count")
        for dimension in DIMENSIONS:
            positive(dimension, getattr(self, dimension))
        for phi in self.phi:
            self._scaling(phi)

    def scalings(self) -> Iterator[tuple[float, Scaling]]:
        """Every exponent with its factors."""
        for phi in self.phi:
            yield phi, self._scaling(phi)

    def _scaling(self, phi: float) -> Scaling:
        try:
            return Scaling(*(getattr(self, dimension) ** phi for dimension in DIMENSIONS))
        except (OverflowError, ValueError) as error:
            raise ValueError(f"phi: {phi:g} makes a factor that is not a positive, finite number") from error


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What to count: parameters, multiply-accumulates and activations of scaled networks, on the meta device.

    Args:
        sweeps: The rows of networks.
        family: A name that :func:`pyscale.models.build` knows; None is the study's.
        num_classes: Outputs of the classifier; None is as published.
        in_channels: Of the pictures.
        image_size: Side of the unscaled network's pictures; None is as published.

    Raises:
        ValueError: If sweeps are missing or two have one name.
    """

    sweeps: tuple[Sweep, ...] = field(default=())
    family: str | None = None
    num_classes: int | None = None
    in_channels: int = 3
    image_size: int | None = None

    def __post_init__(self) -> None:
        names = [sweep.name for sweep in self.sweeps]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"sweeps: expected some, every one with a name of its own, got {names}")

    def rows(self, family: str) -> list[dict[str, Any]]:
        """Count every network; nothing is computed and no weight takes memory.

        Args:
            family: The study's.

        Returns:
            One row a network.
        """
        return [
            self._row(self.family or family, sweep.name, phi, scaling)
            for sweep in self.sweeps
            for phi, scaling in sweep.scalings()
        ]

    def _row(self, family: str, sweep: str, phi: float, scaling: Scaling) -> dict[str, Any]:
        with torch.device("meta"):
            network = build(
                family,
                scaling=scaling,
                num_classes=self.num_classes,
                in_channels=self.in_channels,
                image_size=self.image_size,
            )
        cost = profile(network, repeats=0)
        return {
            "sweep": sweep,
            "phi": phi,
            "family": family,
            **{dimension: getattr(scaling, dimension) for dimension in DIMENSIONS},
            "image_size": cost.image_size,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "activations": cost.activations,
        }
