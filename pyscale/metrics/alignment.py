"""HSIC and CKA of two sets of activations held in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyscale.metrics.inputs import as_pair, in_kind
from pyscale.metrics.kernel_sums import (
    LEAST_SAMPLES,
    CentredGram,
    Estimator,
    FeatureSums,
    feature_product,
)
from pyscale.metrics.validity import warn_constant, warn_degenerate
from pyscale.ops.gram import Kernel, check_bandwidth, check_choice, check_samples


def cka(
    x: Any,
    y: Any,
    *,
    kernel: Kernel = "linear",
    estimator: Estimator = "unbiased",
    bandwidth: float = 1.0,
) -> Any:
    r"""Return the centred kernel alignment of two sets of activations of the same samples.

    .. math:: \mathrm{CKA} = \frac{\mathrm{HSIC}(K, L)}{\sqrt{\mathrm{HSIC}(K, K)\, \mathrm{HSIC}(L, L)}}

    1 for sets equal up to rotation, scale and shift; for unrelated ones 0 on average with the unbiased estimator, which
    may be slightly negative and is never clamped. The biased one approaches 1 for unrelated data where features
    outnumber samples: see :func:`pyscale.chance`. Differentiable for torch inputs.

    Args:
        x: Activations of shape (n, p): a torch tensor, a NumPy array or a DLPack array.
        y: Activations of the same samples in the same order, shape (n, q).
        kernel: "linear", or "rbf" of width ``bandwidth`` times the median distance between samples.
        estimator: "unbiased" (Song et al.; n >= 4) or "biased" (Gretton et al.; n >= 2).
        bandwidth: The RBF width as a multiple of the median distance; unused by the linear kernel.

    Returns:
        A float for NumPy input, else a 0-d array of ``x``'s kind. NaN, with a warning, where a set is constant to
        rounding.

    Raises:
        TypeError: An argument is no floating-point array.
        ValueError: The shapes, devices or options do not fit, or an argument holds NaN or infinity.

    Example:
        >>> import numpy as np
        >>> import pyscale as ps
        >>> rng = np.random.default_rng(0)
        >>> x = rng.standard_normal((100, 10))
        >>> rotation = np.linalg.qr(rng.standard_normal((10, 10)))[0]
        >>> round(ps.cka(x, 3 * x @ rotation + 1), 6)
        1.0

    References:
        Kornblith et al., "Similarity of neural network representations revisited", 2019, eq. 2 to 4;
        Song et al., "Feature selection via dependence maximization", 2012, eq. 5.
    """
    tx, ty = _checked(x, y, kernel, estimator, bandwidth)
    xy, a, b = _compared(tx, ty, kernel, estimator, bandwidth)
    if not torch.compiler.is_compiling():
        warn_constant([name for name, part in (("x", a), ("y", b)) if bool(part.constant)], "CKA")
        warn_degenerate([name for name, part in (("x", a), ("y", b)) if bool(part.degenerate)], "CKA")
    value = xy / (a.square.sqrt() * b.square.sqrt())
    return in_kind(x, torch.where(a.undefined | b.undefined, torch.nan, value), tx, ty)


def hsic(
    x: Any,
    y: Any,
    *,
    kernel: Kernel = "linear",
    estimator: Estimator = "unbiased",
    bandwidth: float = 1.0,
) -> Any:
    r"""Return the Hilbert-Schmidt independence criterion of two sets of activations of the same samples.

    With K and L the two kernel matrices and H = I - 11ᵀ/n, biased and unbiased:

    .. math::
        \frac{\operatorname{tr}(K H L H)}{(n-1)^2}, \qquad
        \frac{1}{n(n-3)} \left[ \operatorname{tr}(\tilde K \tilde L)
        + \frac{1^\top \tilde K 1 \; 1^\top \tilde L 1}{(n-1)(n-2)} - \frac{2}{n-2} 1^\top \tilde K \tilde L 1 \right],

    where the tilde puts zeros on the diagonal. Differentiable for torch inputs.

    Args:
        x: Activations of shape (n, p): a torch tensor, a NumPy array or a DLPack array.
        y: Activations of the same samples in the same order, shape (n, q).
        kernel: "linear", or "rbf" of width ``bandwidth`` times the median distance between samples.
        estimator: "unbiased" (n >= 4) or "biased" (n >= 2).
        bandwidth: The RBF width as a multiple of the median distance; unused by the linear kernel.

    Returns:
        A float for NumPy input, else a 0-d array of ``x``'s kind.

    Raises:
        TypeError: An argument is no floating-point array.
        ValueError: The shapes, devices or options do not fit, or an argument holds NaN or infinity.

    Example:
        >>> import numpy as np
        >>> import pyscale as ps
        >>> x = np.array([[0.0], [1.0], [2.0]])
        >>> ps.hsic(x, x, estimator="biased")
        1.0

    References:
        Gretton et al., "Measuring statistical dependence with Hilbert-Schmidt norms", 2005, eq. 9;
        Song et al., "Feature selection via dependence maximization", 2012, eq. 5.
    """
    tx, ty = _checked(x, y, kernel, estimator, bandwidth)
    xy, _, _ = _compared(tx, ty, kernel, estimator, bandwidth)
    n = tx.shape[0]
    return in_kind(x, xy / (n * (n - 3) if estimator == "unbiased" else (n - 1) ** 2), tx, ty)


def _checked(x: Any, y: Any, kernel: str, estimator: str, bandwidth: float) -> tuple[Tensor, Tensor]:
    check_choice("kernel", kernel, ("linear", "rbf"))
    check_choice("estimator", estimator, tuple(LEAST_SAMPLES))
    check_bandwidth(bandwidth)
    tx, ty = as_pair(x, y)
    check_samples(tx, "x", LEAST_SAMPLES[estimator], f"the {estimator} estimator")
    return tx, ty


def _compared(
    x: Tensor, y: Tensor, kernel: str, estimator: str, bandwidth: float
) -> tuple[Tensor, CentredGram | FeatureSums, CentredGram | FeatureSums]:
    """Return the inner product of the two centred Grams, 0-d float64, and what is known of each set.

    With more samples than features the (p, q) matrices are the smaller way to it, else the Grams (n, n).
    """
    if kernel == "linear" and x.shape[0] > x.shape[1] + y.shape[1]:
        a = FeatureSums.of(x, "x", estimator)
        b = a if y is x else FeatureSums.of(y, "y", estimator)
        return (a.square if y is x else feature_product(x, y, a, b, estimator)), a, b
    v = CentredGram.of(x, "x", kernel, estimator, bandwidth)
    w = v if y is x else CentredGram.of(y, "y", kernel, estimator, bandwidth)
    return v.scale * v.vector.dot(w.vector), v, w
