r"""Least squares for curves e_inf + a·x^-b, in one dimension or several.

Parameters are one vector: e_inf, then the a (one for each dimension in the form "sum", a single one in "product"), then
the b, one for each dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from pyscale.studies.laws.estimates import Array
from pyscale.train.dependencies import import_train_dependency

Form = Literal["sum", "product"]

STEEPEST = 10.0  # the largest b: from there on a dimension is as good as used up by a factor of 1.5
_STARTS = (0.1, 0.5, 1.0, 2.0, 5.0)


def parameter_names(dimensions: tuple[str, ...], form: Form) -> tuple[str, ...]:
    """Return the names of the parameters, in order."""
    scales = [f"a_{name}" for name in dimensions] if form == "sum" else ["a"]
    return ("e_inf", *scales, *(f"b_{name}" for name in dimensions))


def split_parameters(theta: Array, K: int) -> tuple[Array, Array, Array]:
    """Return e_inf (..., 1), the a (..., K or 1) and the b (..., K) of parameter vectors (..., P)."""
    return theta[..., :1], theta[..., 1:-K], theta[..., -K:]


def falling_terms(theta: Array, logs: Array, form: Form) -> Array:
    """Return what falls as the factors grow, (..., n, K) or (..., n, 1), at log factors (n, K)."""
    _, a, b = split_parameters(theta, logs.shape[-1])
    if form == "sum":
        return np.asarray(a[..., None, :] * np.exp(-logs * b[..., None, :]))
    return np.asarray(a[..., None, :] * np.exp(-(logs * b[..., None, :]).sum(axis=-1, keepdims=True)))


def predicted(theta: Array, logs: Array, form: Form) -> Array:
    """Return the law's values (..., n) for parameters (..., P) at log factors (n, K)."""
    return np.asarray(theta[..., :1] + falling_terms(theta, logs, form).sum(axis=-1))


def fitted(logs: Array, y: Array, form: Form, start: Array | None = None) -> Array:
    """Return the parameters (P,) of least squares with e_inf, a >= 0 and 0 <= b <= 10.

    Args:
        logs: Log factors (n, K).
        y: Values (n,).
        form: The law's.
        start: Parameters to begin from; None tries several exponents, each with the best e_inf and a for it, and keeps
            the best end.
    """
    optimize = import_train_dependency("scipy.optimize")
    K = logs.shape[1]
    centre = logs.mean(axis=0)  # about which a is of the size of y, whatever the units of the factors
    u = logs - centre
    terms = K if form == "sum" else 1
    high = np.array([y.max(), *[5 * y.max()] * terms, *[STEEPEST] * K])

    def end(theta: Array) -> tuple[float, Array]:
        inside = np.clip(theta, 1e-6 * high, (1 - 1e-6) * high)
        found = optimize.least_squares(
            lambda t: predicted(t, u, form) - y,
            inside,
            jac=lambda t: _jacobian(t, u, form),
            bounds=(np.zeros_like(high), high),
            x_scale=high,
        )
        return float(found.cost), np.asarray(found.x)

    if start is not None:
        starts = [_moved(start, centre, K, form)]
    else:
        starts = [_linear_start(optimize.nnls, u, y, form, exponent) for exponent in _STARTS]
    _, best = min((end(theta) for theta in starts), key=lambda pair: pair[0])
    return _moved(best, -centre, K, form)


def at_bounds(theta: Array, y: Array, names: tuple[str, ...], K: int) -> tuple[str, ...]:
    """Return the names of parameters that ended at a bound, where the data say no more than that."""
    _, a, b = split_parameters(theta, K)
    small = 1e-3 * float(y.max())
    flags = [theta[0] < small, *(a < small), *((b < 1e-3) | (b > 0.999 * STEEPEST))]
    return tuple(name for name, flag in zip(names, flags, strict=True) if flag)


def _moved(theta: Array, by: Array, K: int, form: Form) -> Array:
    """Return the parameters of the same curve for log factors that are ``by`` less."""
    e_inf, a, b = split_parameters(theta, K)
    exponents = -b * by
    return np.concatenate([e_inf, a * np.exp(exponents if form == "sum" else exponents.sum()), b])


def _linear_start(
    nnls: Callable[[Array, Array], tuple[Array, float]], u: Array, y: Array, form: Form, b: float
) -> Array:
    """Return the exponent ``b`` in every dimension with the non-negative e_inf and a that suit it best."""
    falling = np.exp(-b * u) if form == "sum" else np.exp(-b * u.sum(axis=1, keepdims=True))
    linear, _ = nnls(np.column_stack([np.ones(len(y)), falling]), y)
    return np.concatenate([linear, np.full(u.shape[1], b)])


def _jacobian(theta: Array, u: Array, form: Form) -> Array:
    """Return derivatives (n, P) of the law's values by its parameters."""
    _, a, _ = split_parameters(theta, u.shape[1])
    terms = falling_terms(theta, u, form)
    unit = falling_terms(np.concatenate([theta[:1], np.ones_like(a), theta[1 + len(a) :]]), u, form)
    return np.column_stack([np.ones(len(u)), unit, -u * terms])
