"""What unrelated data of the same spectra would get: the mean over all pairings of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyscale.metrics.canonical import chance_r2
from pyscale.metrics.inputs import as_pair, in_kind
from pyscale.metrics.kernel_sums import LEAST_SAMPLES, CentredGram, Estimator, FeatureSums
from pyscale.metrics.moments import centred_slices
from pyscale.metrics.validity import check_finite, warn_constant
from pyscale.metrics.whitening import WhitenedSet, centred, whiten_set
from pyscale.ops import reference
from pyscale.ops.dtypes import accumulator_dtype
from pyscale.ops.gram import check_choice, check_samples

METRICS = ("cka", "cca", "cca_r2", "svcca", "pwcca", "procrustes")


def chance(x: Any, y: Any, *, metric: str = "cka", estimator: Estimator = "unbiased") -> Any:
    r"""Return the similarity that unrelated data with the spectra of these two sets would get.

    The exact mean over all permutations of the samples of one set:

    .. math::
        \frac{\operatorname{tr} K_c \operatorname{tr} L_c}{(n - 1) |K_c|_F |L_c|_F}

    for biased linear CKA, max(rank_x, rank_y)/(n - 1), at most 1, for the R² of CCA, and 0 for unbiased CKA. The
    others have no closed form: NaN.

    Args:
        x: Activations of shape (n, p): a torch tensor, a NumPy array or a DLPack array.
        y: Activations of the same samples, shape (n, q).
        metric: "cka" (linear), "cca_r2", or one without a closed form: "cca", "svcca", "pwcca", "procrustes".
        estimator: Of CKA: "unbiased" or "biased".

    Returns:
        A float for NumPy input, else a 0-d array of ``x``'s kind; NaN, with a warning, where a set is constant to
        rounding.

    Raises:
        TypeError: An argument is no floating-point array.
        ValueError: The shapes, devices or options do not fit, or an argument holds NaN or infinity.

    Example:
        Random activations with ten times as many features as samples look almost the same to biased CKA.

        >>> import numpy as np
        >>> import pyscale as ps
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.standard_normal((2, 50, 500))
        >>> round(ps.chance(x, y, estimator="biased"), 2), ps.chance(x, y)
        (0.91, 0.0)

    References:
        Murphy, Zylberberg and Fyshe, "Correcting biased centered kernel alignment measures in biological and artificial
        neural networks", 2024.
    """
    check_choice("metric", metric, METRICS)
    check_choice("estimator", estimator, tuple(LEAST_SAMPLES))
    tx, ty = as_pair(x, y)
    check_samples(tx, "x", LEAST_SAMPLES[estimator] if metric == "cka" else 2, f"the chance level of {metric}")
    constant = []
    for name, t in (("x", tx), ("y", ty)):
        check_finite(t, f"values of {name}")
        if bool(reference.is_constant(t)):
            constant.append(name)
    warn_constant(constant, "the chance level")
    if constant:
        value = torch.tensor(torch.nan, dtype=accumulator_dtype(tx.device), device=tx.device)
    else:
        value = chance_levels([tx], [ty], metric=metric, estimator=estimator)[0, 0]
    return in_kind(x, value, tx, ty)


def chance_levels(
    xs: Sequence[Tensor], ys: Sequence[Tensor], *, metric: str = "cka", estimator: Estimator = "unbiased"
) -> Tensor:
    """Return :func:`chance` of every set with every set, with what it takes of each set's spectrum found once.

    Args:
        xs: L activations (n, p_i), finite and not constant to rounding, with as many samples as ``metric`` needs.
        ys: M others of the same samples.
        metric: As for :func:`chance`.
        estimator: Of CKA.

    Returns:
        (L, M) in float64 (float32 on devices without it).
    """
    n, device = xs[0].shape[0], xs[0].device
    wide = accumulator_dtype(device)
    with torch.no_grad():
        if metric == "cka" and estimator == "unbiased":
            return torch.zeros((len(xs), len(ys)), dtype=wide, device=device)
        if metric == "cka":
            x, y = (
                torch.tensor([_spread(t, name) for t in side], dtype=wide, device=device)
                for name, side in (("x", xs), ("y", ys))
            )
            return x[:, None] * y[None, :] / (n - 1)
        if metric == "cca_r2":
            wx, wy = ([_whitened(t) for t in side] for side in (xs, ys))
            levels = [[chance_r2(a, b, n) for b in wy] for a in wx]
            return torch.tensor(levels, dtype=wide, device=device)
    return torch.full((len(xs), len(ys)), torch.nan, dtype=wide, device=device)


def _whitened(x: Tensor) -> WhitenedSet:
    return whiten_set(centred(x), constant=False, rtol=1e-6)


def _spread(x: Tensor, subject: str) -> float:
    """Return tr(K_c) / |K_c|_F: the square root of the effective dimension."""
    n, p = x.shape
    if n > p:
        sums = FeatureSums.of(x, subject, "biased")
        return float(sums.trace / sums.square.sqrt())
    square = CentredGram.of(x, subject, "linear", "biased", 1.0).square
    trace = sum(a.square().sum() for a, _ in centred_slices(x, x.mean(dim=0, dtype=square.dtype)))
    return float(trace / square.sqrt())
