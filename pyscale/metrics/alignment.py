"""HSIC and CKA of activations held in memory: one pair, or every pair of two lists of layers."""

from __future__ import annotations

import warnings
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pyscale.metrics.inputs import as_pair, in_kind
from pyscale.metrics.moments import centred_slices, hsic_from_sums
from pyscale.metrics.validity import check_finite, warn_constant
from pyscale.ops import library, reference
from pyscale.ops.dtypes import accumulator_dtype
from pyscale.ops.gram import Kernel, check_bandwidth, check_choice, check_samples

Estimator = Literal["unbiased", "biased"]

LEAST_SAMPLES = {"unbiased": 4, "biased": 2}


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
    terms = _terms(tx, ty, kernel, estimator, bandwidth)
    if not torch.compiler.is_compiling():
        if tx.dtype != torch.float64 and ty.dtype != torch.float64 and not _in_range(terms):
            # values whose fourth powers leave float32's range
            terms = _terms(tx.double(), ty.double(), kernel, estimator, bandwidth)
        _report(terms, tx, ty, kernel)
    value = terms.xy / (terms.xx.sqrt() * terms.yy.sqrt())
    undefined = terms.constant_x | terms.constant_y
    return in_kind(x, torch.where(undefined, torch.nan, value), tx, ty)


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
    terms = _terms(tx, ty, kernel, estimator, bandwidth)
    if not torch.compiler.is_compiling() and not bool(torch.isfinite(terms.xy)):
        if tx.dtype != torch.float64 and ty.dtype != torch.float64:
            terms = _terms(tx.double(), ty.double(), kernel, estimator, bandwidth)
        check_finite(tx, "values of x")
        check_finite(ty, "values of y")
    return in_kind(x, terms.xy, tx, ty)


class _Terms(NamedTuple):
    """The three HSICs of a pair, 0-d float64, and whether each set is constant to rounding, 0-d bool."""

    xy: Tensor
    xx: Tensor
    yy: Tensor
    constant_x: Tensor
    constant_y: Tensor


def _checked(x: Any, y: Any, kernel: str, estimator: str, bandwidth: float) -> tuple[Tensor, Tensor]:
    check_choice("kernel", kernel, ("linear", "rbf"))
    check_choice("estimator", estimator, tuple(LEAST_SAMPLES))
    check_bandwidth(bandwidth)
    tx, ty = as_pair(x, y)
    check_samples(tx, "x", LEAST_SAMPLES[estimator], f"the {estimator} estimator")
    return tx, ty


def _terms(x: Tensor, y: Tensor, kernel: str, estimator: str, bandwidth: float) -> _Terms:
    n, p, q = x.shape[0], x.shape[1], y.shape[1]
    if kernel == "linear" and n > p + q:
        return _feature_terms(x, y, estimator)
    v, constant_x = flat_gram(x, kernel, estimator, bandwidth)
    w, constant_y = (v, constant_x) if y is x else flat_gram(y, kernel, estimator, bandwidth)
    scale = hsic_scale(n, estimator)
    return _Terms(scale * v.dot(w), scale * v.dot(v), scale * w.dot(w), constant_x, constant_y)


def flat_gram(x: Tensor, kernel: str, estimator: str, bandwidth: float) -> tuple[Tensor, Tensor]:
    """Return the vector of ``x``'s centred Gram whose inner products are HSICs (times a scale), and its constancy."""
    dtype = accumulator_dtype(x.device)
    if estimator == "unbiased":
        v, constant = library.packed_gram(x, kernel, float(bandwidth), dtype, 0)
        return v, constant
    K, constant = library.gram(x, kernel, "double", float(bandwidth), dtype, 0)
    return K.reshape(-1), constant


def hsic_scale(n: int, estimator: str) -> float:
    """Return what turns the inner product of two flat Grams of n samples into their HSIC."""
    return 2 / (n * (n - 3)) if estimator == "unbiased" else 1 / (n - 1) ** 2


def _feature_terms(x: Tensor, y: Tensor, estimator: str) -> _Terms:
    """Return the HSICs from (p, q) matrices: for more samples than features, whose Grams would be the larger."""
    n = x.shape[0]
    wide = accumulator_dtype(x.device)
    mean_x, mean_y = x.mean(dim=0, dtype=wide), y.mean(dim=0, dtype=wide)
    S_xy, S_xx, S_yy = (x.new_zeros(shape, dtype=wide) for shape in _shapes(x.shape[1], y.shape[1]))
    w_xy, w_xx, w_yy = (x.new_zeros((), dtype=wide) for _ in range(3))
    for a, b in centred_slices(x, mean_x, y, mean_y):
        S_xy, S_xx, S_yy = S_xy + a.T @ b, S_xx + a.T @ a, S_yy + b.T @ b
        r, s = a.square().sum(dim=1), b.square().sum(dim=1)
        w_xy, w_xx, w_yy = w_xy + r.dot(s), w_xx + r.dot(r), w_yy + s.dot(s)
    t_x, t_y = S_xx.trace(), S_yy.trace()
    return _Terms(
        hsic_from_sums(S_xy.square().sum(), w_xy, t_x, t_y, n, estimator),
        hsic_from_sums(S_xx.square().sum(), w_xx, t_x, t_x, n, estimator),
        hsic_from_sums(S_yy.square().sum(), w_yy, t_y, t_y, n, estimator),
        reference.is_constant(x),
        reference.is_constant(y),
    )


def _shapes(p: int, q: int) -> tuple[tuple[int, int], ...]:
    return (p, q), (p, p), (q, q)


def _in_range(terms: _Terms) -> bool:
    """Return whether both self-HSICs are positive finite numbers, as they are unless something is wrong."""
    least = torch.minimum(terms.xx, terms.yy)
    return bool(torch.isfinite(terms.xy) & torch.isfinite(terms.xx) & torch.isfinite(terms.yy) & (least > 0))


def _report(terms: _Terms, x: Tensor, y: Tensor, kernel: str) -> None:
    """Raise for non-finite input and warn of constant sets; on good data this looks at five numbers only."""
    if _in_range(terms) and not bool(terms.constant_x | terms.constant_y):
        return
    check_finite(x, "values of x")
    check_finite(y, "values of y")
    flags = {"x": bool(terms.constant_x), "y": bool(terms.constant_y)}
    warn_constant([name for name, constant in flags.items() if constant], "CKA")
    for name, term in (("x", terms.xx), ("y", terms.yy)):
        if kernel == "rbf" and not flags[name] and bool(torch.isnan(term)):
            warnings.warn(
                f"more than half of the pairs of samples of {name} are equal, so their median distance is 0 and the "
                f"rbf kernel has no width: CKA is NaN",
                UserWarning,
                stacklevel=3,
            )
