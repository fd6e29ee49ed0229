"""Canonical correlation analysis of activations held in memory: CCA, SVCCA and PWCCA."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import torch
from torch import Tensor

from pyscale.metrics.factors import whitened_product
from pyscale.metrics.inputs import as_pair, in_kind
from pyscale.metrics.validity import check_finite, warn, warn_constant
from pyscale.metrics.whitening import Directions, Whitened, WhitenedSet, centred, whiten_set
from pyscale.ops import reference
from pyscale.ops.gram import check_choice, check_samples
from pyscale.ops.memory import MemoryErrors

WeightBy = Literal["narrower", "x", "y"]


@dataclass(frozen=True)
class CCAResult:
    """Canonical correlations of two sets; arrays and numbers are of the kind the activations were.

    Under ``torch.compile`` ranks and chance level are 0-d tensors.
    """

    correlations: Any  # (min(rank_x, rank_y),), descending, in [0, 1]
    mean: Any  # of the correlations
    r2: Any  # mean of their squares
    rank_x: int
    rank_y: int
    chance: float  # mean r2 over all permutations of the samples of one set


def cca(x: Any, y: Any, *, ridge: float = 0.0, rtol: float = 1e-6) -> CCAResult:
    r"""Return the canonical correlations of two sets of activations of the same samples.

    The singular values of :math:`Q_x^\top Q_y`, where Q are orthonormal bases of the centred sets: 1 for sets equal up
    to an invertible linear map. In float64; ``mean`` and ``r2`` are differentiable for torch inputs.

    Args:
        x: Activations of shape (n, p), n >= 2: a torch tensor, a NumPy array or a DLPack array.
        y: Activations of the same samples in the same order, shape (n, q).
        ridge: Adds ridge · tr(S)/p to the diagonal of each covariance S, which shrinks directions of small variance.
        rtol: Directions with σ <= rtol · σ_max are taken for rounding and dropped.

    Returns:
        The correlations, their mean and mean square, the ranks, and the chance level of ``r2``. NaN, with a warning,
        where a set is constant to rounding.

    Raises:
        TypeError: An argument is no floating-point array.
        ValueError: The shapes, devices or options do not fit, or an argument holds NaN or infinity.

    Warns:
        UserWarning: rank_x + rank_y > n - 1 leaves some correlations at 1 whatever the data.

    Example:
        >>> import numpy as np
        >>> import pyscale as ps
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((100, 3))
        >>> result = ps.cca(x, x @ rng.standard_normal((3, 3)) + 5)
        >>> result.correlations.round(6), round(result.r2, 6), round(result.chance, 4)
        (array([1., 1., 1.]), 1.0, 0.0303)

    References:
        Hotelling, "Relations between two sets of variates", 1936; Björck and Golub, "Numerical methods for computing
        angles between linear subspaces", 1973.
    """
    check_ridge(ridge)
    return _correlations(x, y, rtol=rtol, ridge=ridge)


def svcca(x: Any, y: Any, *, variance: float = 0.99, rtol: float = 1e-6) -> CCAResult:
    r"""Return the canonical correlations of the leading principal directions of two sets of activations.

    Each set keeps the fewest directions that hold ``variance`` of :math:`\sum \sigma^2`. ``mean`` and ``r2`` are
    differentiable for torch inputs.

    Args:
        x: Activations of shape (n, p), n >= 2: a torch tensor, a NumPy array or a DLPack array.
        y: Activations of the same samples in the same order, shape (n, q).
        variance: The share of variance to keep, in (0, 1].
        rtol: Directions with σ <= rtol · σ_max are taken for rounding and dropped.

    Returns:
        As :func:`cca`, of the truncated sets.

    Raises:
        TypeError: An argument is no floating-point array.
        ValueError: The shapes, devices or options do not fit, or an argument holds NaN or infinity.

    Example:
        >>> import numpy as np
        >>> import pyscale as ps
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((100, 5)) * [10, 5, 1, 0.1, 0.1]
        >>> ps.svcca(x, x).rank_x
        2

    References:
        Raghu et al., "SVCCA: singular vector canonical correlation analysis for deep learning dynamics and
        interpretability", 2017.
    """
    check_variance(variance)
    return _correlations(x, y, rtol=rtol, variance=variance)


def pwcca(x: Any, y: Any, *, weight_by: WeightBy = "narrower", rtol: float = 1e-6) -> Any:
    r"""Return the projection-weighted mean of the canonical correlations.

    .. math:: \frac{\sum_i \alpha_i \rho_i}{\sum_i \alpha_i}, \qquad \alpha_i = \sum_j |\langle h_i, x_j \rangle|,

    with h the unit canonical variates of the chosen side and x_j its centred columns. Not symmetric in general. Where
    correlations are tied, the variates, and with them the weights, are free within the tied space. No gradients.

    Args:
        x: Activations of shape (n, p), n >= 2: a torch tensor, a NumPy array or a DLPack array.
        y: Activations of the same samples in the same order, shape (n, q).
        weight_by: The side that gives the weights; "narrower" is that of fewer columns, x where they are as many.
        rtol: Directions with σ <= rtol · σ_max are taken for rounding and dropped.

    Returns:
        A float for NumPy input, else a 0-d array of ``x``'s kind; NaN, with a warning, where a set is constant to
        rounding.

    Raises:
        TypeError: An argument is no floating-point array.
        ValueError: The shapes, devices or options do not fit, or an argument holds NaN or infinity.

    Example:
        >>> import numpy as np
        >>> import pyscale as ps
        >>> x = np.random.default_rng(0).standard_normal((100, 3))
        >>> round(ps.pwcca(x, 2 * x), 6)
        1.0

    References:
        Morcos, Raghu and Bengio, "Insights on representational similarity in neural networks with canonical
        correlation", 2018, eq. 3.
    """
    check_choice("weight_by", weight_by, ("narrower", "x", "y"))
    tx, ty = _checked(x, y, rtol)
    with torch.no_grad(), MemoryErrors("pwcca"):
        wx, wy = whitened_pair(tx, ty, rtol=rtol)
        warn_few_samples(wx, wy, tx.shape[0])
        return in_kind(x, projection_weighted(wx.cross(wy), wx, wy, weight_by), tx, ty)


def correlate(C: Tensor, x: Directions, y: Directions, n: int, restore: Any) -> CCAResult:
    """Return the result for the whitened cross product C (rank_x, rank_y) of n samples; ``restore`` gives its kind."""
    correlations = torch.linalg.svdvals(C).clamp(0, 1)
    mean = correlations.mean()  # of none: NaN
    return CCAResult(
        restore(correlations), restore(mean), restore(correlations.square().mean()), x.rank, y.rank, chance_r2(x, y, n)
    )


def projection_weighted(C: Tensor, x: Whitened, y: Whitened, weight_by: str) -> Tensor:
    """Return PWCCA, 0-d, from the whitened cross product C (rank_x, rank_y)."""
    left, rho, right = torch.linalg.svd(C, full_matrices=False)
    return weighted_by_projections(left, rho, right.T, x, y, weight_by)


def weighted_by_projections(
    left: Tensor, rho: Tensor, right: Tensor, x: Whitened, y: Whitened, weight_by: str
) -> Tensor:
    """Return PWCCA, 0-d, from the singular vectors of the whitened cross product, in columns, and its values."""
    if weight_by == "narrower":
        weight_by = "x" if len(x.loadings) <= len(y.loadings) else "y"
    # x_j · h_i for all columns j: h_i = U a_i, and Xᵀ U are the loadings
    projections = x.loadings @ left if weight_by == "x" else y.loadings @ right
    weights = projections.abs().sum(dim=0)
    result: Tensor = (weights * rho.clamp(0, 1)).sum() / weights.sum()
    return result


def chance_r2(x: Directions, y: Directions, n: int) -> float:
    """Return the mean of R² over all permutations of the samples: tr(W_x W_xᵀ) tr(W_y W_yᵀ) / ((n - 1) min rank).

    Without a ridge that is max(rank_x, rank_y) / (n - 1).
    """
    least = min(x.rank, y.rank)
    if least == 0:
        return float("nan")
    return min(1.0, x.total * y.total / ((n - 1) * least))


def certain_ones(x: Directions, y: Directions, n: int) -> int:
    """Return how many correlations of n samples are 1 whatever the data: rank_x + rank_y - (n - 1), or 0."""
    if min(x.rank, y.rank) == 0 or x.shrunk:
        return 0
    return max(0, x.rank + y.rank - (n - 1))


def warn_few_samples(x: Directions, y: Directions, n: int) -> None:
    """Warn where the two whitened spaces must intersect, so that some correlations are 1 whatever the data."""
    certain = certain_ones(x, y, n)
    if certain > 0:
        warn(
            f"{n} samples are too few for CCA: rank_x + rank_y = {x.rank} + {y.rank} > n - 1 = {n - 1}, so at least "
            f"{certain} of {min(x.rank, y.rank)} correlations are 1 whatever the data"
        )


def check_rtol(rtol: object) -> None:
    """Raise TypeError or ValueError unless ``rtol`` is a number in [0, 1)."""
    if not 0 <= _number("rtol", rtol) < 1:
        raise ValueError(f"rtol is {rtol!r}; expected a number in [0, 1)")


def check_ridge(ridge: object) -> None:
    """Raise TypeError or ValueError unless ``ridge`` is a finite number of at least 0."""
    if not 0 <= _number("ridge", ridge) < float("inf"):
        raise ValueError(f"ridge is {ridge!r}; expected a finite number of at least 0")


def check_variance(variance: object) -> None:
    """Raise TypeError or ValueError unless ``variance`` is a number in (0, 1]."""
    if not 0 < _number("variance", variance) <= 1:
        raise ValueError(f"variance is {variance!r}; expected a share in (0, 1]")


def _number(name: str, value: object) -> float:
    if not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}; expected a number")
    return float(value)


def product_of_sets(
    x: Tensor, y: Tensor, *, rtol: float, variance: float = 1.0, ridge: float = 0.0
) -> tuple[Tensor, Directions, Directions]:
    """Return W_xᵀ W_y (rank_x, rank_y), and both sets' directions; warnings and errors as of :func:`whitened_pair`."""
    differentiable = torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)
    if variance < 1 or differentiable:
        wx, wy = whitened_pair(x, y, rtol=rtol, variance=variance, ridge=ridge)
        return wx.cross(wy), wx, wy
    with torch.no_grad():
        return whitened_product(x, y, constant=_checked_values(x, y), rtol=rtol, ridge=ridge)


def whitened_pair(
    x: Tensor, y: Tensor, *, rtol: float, variance: float = 1.0, ridge: float = 0.0
) -> tuple[WhitenedSet, WhitenedSet]:
    """Return the whitened directions of both sets, and warn of constant ones; ValueError for NaN or infinity."""
    constant_x, constant_y = _checked_values(x, y)
    wx = whiten_set(centred(x), constant=constant_x, rtol=rtol, variance=variance, ridge=ridge)
    if y is x:
        return wx, wx
    return wx, whiten_set(centred(y), constant=constant_y, rtol=rtol, variance=variance, ridge=ridge)


def _checked_values(x: Tensor, y: Tensor) -> tuple[bool, bool]:
    """Return whether each set is constant to rounding, and warn where one is; ValueError for NaN or infinity."""
    constant = []
    for name, t in (("x", x), ("y", y)):
        check_finite(t, f"values of {name}")
        constant.append(bool(reference.is_constant(t)))
    warn_constant([name for name, flag in zip("xy", constant, strict=True) if flag], "CCA")
    return constant[0], constant[1]


def _checked(x: Any, y: Any, rtol: float) -> tuple[Tensor, Tensor]:
    check_rtol(rtol)
    tx, ty = as_pair(x, y)
    check_samples(tx, "x", 2, "CCA")
    return tx, ty


def _correlations(x: Any, y: Any, *, rtol: float, variance: float = 1.0, ridge: float = 0.0) -> CCAResult:
    tx, ty = _checked(x, y, rtol)

    def restore(result: Tensor) -> Any:
        return in_kind(x, result, tx, ty)

    if torch.compiler.is_compiling():  # sizes that depend on the data stay inside one op
        rho, ranks, chance = torch.ops.pyscale.canonical(tx, ty, float(variance), float(ridge), float(rtol))
        return CCAResult(restore(rho), restore(rho.mean()), restore(rho.square().mean()), ranks[0], ranks[1], chance)
    with MemoryErrors("cca"):
        C, wx, wy = product_of_sets(tx, ty, rtol=rtol, variance=variance, ridge=ridge)
        warn_few_samples(wx, wy, tx.shape[0])
        return correlate(C, wx, wy, tx.shape[0], restore)
