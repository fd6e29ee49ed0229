"""How a network's cost grows as it is scaled: exponents of depth, width and resolution, from true counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike

from pyscale.models import Profile, Scaling, build, profile
from pyscale.ops.gram import check_choice
from pyscale.studies.laws.estimates import (
    DIMENSIONS,
    Array,
    Estimate,
    Resampling,
    check_bootstrap,
    check_told_apart,
    checked_points,
    estimate,
    log_factors,
    parameter_table,
)
from pyscale.studies.laws.resampling import bootstrap

if TYPE_CHECKING:
    import pandas as pd

Cost = Literal["macs", "parameters", "activations"]
COSTS: tuple[Cost, ...] = ("macs", "parameters", "activations")
TEXTBOOK = {"depth": 1.0, "width": 2.0, "resolution": 2.0}  # of MACs, were all layers convolutions from c to c channels

_STEPS = (1.0, 2.0, 3.0)  # whole numbers: 1.5 times one block are two


@dataclass(frozen=True, eq=False)
class CostLaw:
    r"""A fitted law of cost, :math:`c \prod_i x_i^{k_i}`.

    Attributes:
        cost: What is paid, such as "macs".
        dimensions: What the factors x are called, in order.
        parameters: "c", the cost at all factors 1, and "k_<dimension>", each with its interval.
        worst: Largest relative deviation of a point from the law, as a share.
        points: How many networks it was fitted to.
        confidence: Of all intervals.
        draws: Bootstrap parameters (draws, parameters), the first one ln c.
    """

    cost: str
    dimensions: tuple[str, ...]
    parameters: dict[str, Estimate]
    worst: float
    points: int
    confidence: float
    draws: Array = field(repr=False)

    @property
    def exponents(self) -> dict[str, Estimate]:
        """The k by dimension."""
        return {name: self.parameters[f"k_{name}"] for name in self.dimensions}

    def predict(self, **factors: float) -> Estimate:
        """Return the cost of a network, with the interval of the law.

        Args:
            factors: One for each dimension; 1 where none is given.

        Raises:
            ValueError: A name is no dimension of the law, or a factor not positive.
        """
        logs = np.concatenate([[1.0], log_factors(self.dimensions, factors)])
        theta = np.array([np.log(self.parameters["c"].value), *(k.value for k in self.exponents.values())])
        return estimate(float(np.exp(logs @ theta)), np.exp(self.draws @ logs), self.confidence)

    def to_pandas(self) -> pd.DataFrame:
        """Return the parameters as a table: ``value``, ``low``, ``high``.

        Raises:
            ImportError: pandas is missing: ``pip install 'pyscale[report]'``.
        """
        return parameter_table(self.parameters)


def fit_cost_law(
    costs: ArrayLike,
    factors: Mapping[str, ArrayLike],
    *,
    cost: str = "macs",
    resampling: Resampling = "residuals",
    draws: int = 400,
    confidence: float = 0.95,
    seed: int = 0,
) -> CostLaw:
    r"""Fit a law of cost to networks scaled in one dimension or several.

    .. math:: \ln \text{cost} = \ln c + \sum_i k_i \ln x_i,

    by least squares, so that every network weighs the same whatever its size. Counts have no noise: what the intervals
    tell is how far a network's stem and head, and the rounding of its channels and blocks, keep it from being a power
    law.

    Args:
        costs: n positive numbers.
        factors: By dimension, n positive factors.
        cost: What the numbers are.
        resampling: "residuals" about the law, or "cases".
        draws: Number of bootstrap fits.
        confidence: Coverage of the intervals, in (0, 1).
        seed: Of the resampling.

    Returns:
        The law. With as many points as parameters its intervals are NaN.

    Raises:
        ValueError: There are fewer points than parameters, a dimension takes one value only, or all grow together; a
            number is not positive; an option is unknown.

    Example:
        >>> law = fit_cost_law([1, 2, 4, 8], {"depth": [1, 2, 1, 2], "width": [1, 1, 2, 2]}, draws=10)
        >>> {name: round(k.value, 6) for name, k in law.exponents.items()}
        {'depth': 1.0, 'width': 2.0}
    """
    check_bootstrap(resampling, draws, confidence)
    y, logs = checked_points("costs", costs, factors)
    if (y <= 0).any():
        raise ValueError(f"costs must be positive, got {y.min():g}")
    dimensions = tuple(factors)
    P = len(dimensions) + 1
    check_told_apart(dimensions, logs, 2, P)
    target = np.log(y)
    theta = _fitted(logs, target)
    curve = _design(logs) @ theta
    resampled = bootstrap(
        _fitted,
        logs,
        target,
        curve,
        P,
        resampling=resampling,
        draws=draws,
        seed=seed,
        determined=lambda points: bool(np.linalg.matrix_rank(points - points.mean(axis=0)) == P - 1),
        linear=True,
    )
    k = {f"k_{name}": estimate(theta[i], resampled[:, i], confidence) for i, name in enumerate(dimensions, start=1)}
    return CostLaw(
        cost=cost,
        dimensions=dimensions,
        parameters={"c": estimate(np.exp(theta[0]), np.exp(resampled[:, 0]), confidence), **k},
        worst=float(np.abs(np.expm1(target - curve)).max()),
        points=len(y),
        confidence=confidence,
        draws=resampled,
    )


def count_costs(
    family: str, scalings: Iterable[Scaling], *, num_classes: int | None = None, image_size: int | None = None
) -> list[Profile]:
    """Count what scaled networks cost, on the meta device: nothing is allocated or computed.

    Args:
        family: A name that :func:`pyscale.models.build` knows.
        scalings: Factors on it.
        num_classes: Outputs of the classifier; None is as published.
        image_size: Side in pixels of the pictures before scaling; None is as published.

    Returns:
        One profile a scaling, each at its own resolution; latency is NaN.

    Raises:
        ValueError: The family is unknown, or a number out of range.
    """
    with torch.device("meta"):
        networks = (build(family, scaling=s, num_classes=num_classes, image_size=image_size) for s in scalings)
        return [profile(network, repeats=0) for network in networks]


def counted_cost_law(
    family: str,
    *,
    cost: Cost = "macs",
    dimensions: Sequence[str] = DIMENSIONS,
    steps: Sequence[float] = _STEPS,
    num_classes: int | None = None,
    image_size: int | None = None,
) -> CostLaw:
    """Fit the law of cost of a family from true counts: each dimension scaled alone by every step, and all together.

    Args:
        family: A name that :func:`pyscale.models.build` knows.
        cost: "macs", "parameters" or "activations".
        dimensions: Those that are scaled.
        steps: The factors, among them 1; at least two.
        num_classes: Outputs of the classifier; None is as published.
        image_size: Side in pixels of the pictures before scaling; None is as published.

    Returns:
        The law, with the default intervals of :func:`fit_cost_law`.

    Raises:
        ValueError: The family, the cost or a dimension is unknown, or there are too few steps.

    Example:
        >>> law = counted_cost_law("cifar_resnet8", dimensions=["width", "resolution"], steps=(1, 2))
        >>> {name: round(k.value, 1) for name, k in law.exponents.items()}
        {'width': 2.0, 'resolution': 2.0}
    """
    check_choice("cost", cost, COSTS)
    for name in dimensions:
        check_choice("dimensions", name, DIMENSIONS)
    alone = [{name: step} for name in dimensions for step in steps if step != 1]
    together = [dict.fromkeys(dimensions, step) for step in steps] if len(dimensions) > 1 else [{}]
    scalings = [Scaling(**factors) for factors in (*alone, *together)]
    counts = count_costs(family, scalings, num_classes=num_classes, image_size=image_size)
    factors = {name: [getattr(scaling, name) for scaling in scalings] for name in dimensions}
    return fit_cost_law([getattr(count, cost) for count in counts], factors, cost=cost)


def textbook_cost_law(dimensions: Sequence[str] = DIMENSIONS) -> CostLaw:
    """Return MACs as depth · width² · resolution², relative to 1, without intervals.

    Raises:
        ValueError: A dimension is not one of the three.
    """
    for name in dimensions:
        check_choice("dimensions", name, DIMENSIONS)
    exact = {"c": 1.0, **{f"k_{name}": TEXTBOOK[name] for name in dimensions}}
    parameters = {name: Estimate(value, value, value) for name, value in exact.items()}
    draws = np.array([[0.0, *islice(exact.values(), 1, None)]])
    return CostLaw("macs", tuple(dimensions), parameters, 0.0, 0, 0.95, draws)


def _design(logs: Array) -> Array:
    """Return the columns (n, P) that ln c and the exponents are multiplied with."""
    return np.column_stack([np.ones(len(logs)), logs])


def _fitted(logs: Array, targets: Array) -> Array:
    """Return the least-squares parameters (P,) or (P, B) for targets (n,) or (n, B)."""
    return np.asarray(np.linalg.lstsq(_design(logs), targets, rcond=None)[0])
