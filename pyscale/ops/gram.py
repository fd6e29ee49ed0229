"""Centred Gram matrices of activations: one pass over the features, centring included."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pyscale.ops import library
from pyscale.ops.arrays import as_matrix, as_tensor, restore_like, same_device, same_samples
from pyscale.ops.dtypes import result_dtype

Kernel = Literal["linear", "rbf"]
Centering = Literal["double", "unbiased", "none"]
Precision = Literal["default", "exact", "fast"]

PRECISIONS = ("default", "exact", "fast")

_LEAST = {"double": 2, "unbiased": 4, "none": 0}
_MOST_SAMPLES = 1 << 31
_MOST_THREADS = 1 << 16


class PackedGram(NamedTuple):
    """A U-centred Gram matrix without its redundant half, and whether the activations had anything to compare."""

    values: Tensor  # (n (n - 1) / 2,): U(K)_ij at i (i - 1) / 2 + j, for i > j; a leading dimension for several sets
    constant: Tensor  # 0-d bool: every feature constant to rounding; (L,) for several sets


def centered_gram(
    x: Any,
    *,
    kernel: Kernel = "linear",
    centering: Centering = "double",
    bandwidth: float = 1.0,
    out_dtype: torch.dtype | None = None,
    precision: Precision = "default",
    threads: int | None = None,
) -> Any:
    r"""Return the centred Gram matrix of n samples with p features.

    .. math::
        K_{ij} = \langle x_i, x_j \rangle \quad\text{or}\quad
        K_{ij} = \exp(-|x_i - x_j|^2 / 2\sigma^2), \qquad \sigma = \text{bandwidth} \cdot \operatorname{median}_{i<j}
        |x_i - x_j|,

    then :math:`H K H` with :math:`H = I - 11^\top/n` ("double"), or the U-centred matrix ("unbiased", zero on the
    diagonal), off it

    .. math::
        U(K)_{ij} = K_{ij} - \frac{r_i + r_j}{n-2} + \frac{t}{(n-1)(n-2)}, \quad
        r_i = \sum_{j \ne i} K_{ij}, \ t = \sum_i r_i,

    or K itself ("none"). Features are shifted by their means before the product wherever the centring allows it, so
    large means cost no digits. Differentiable; symmetric to the bit; the same bits each time for the same ``threads``.

    Args:
        x: Activations of shape (n, p): a torch tensor on any device, a NumPy array or a DLPack array.
        kernel: "linear" or "rbf".
        centering: "double", "unbiased" (n >= 4) or "none".
        bandwidth: The RBF width as a multiple of the median distance; unused by the linear kernel.
        out_dtype: float32 or float64; the default is float64 for float64 input and float32 otherwise.
        precision: "default": float32-grade products, float64 for float64 input; "exact": float64 products of any
            input; "fast": on GPUs one product of numbers rounded to bfloat16, a relative error of 1e-4 to 5e-3 (on CPUs
            the same as "default").
        threads: CPU threads; torch's own number by default.

    Returns:
        The matrix of shape (n, n), an array of the same kind as ``x``. NaN and infinity in ``x`` show in it.

    Raises:
        TypeError: ``x`` is no floating-point array.
        ValueError: ``x`` has another shape, too few samples, or an option has an unknown value.

    Example:
        >>> import numpy as np
        >>> from pyscale import ops
        >>> ops.centered_gram(np.array([[0.0], [1.0], [5.0]]))
        array([[ 4.,  2., -6.],
               [ 2.,  1., -3.],
               [-6., -3.,  9.]])

    References:
        Gretton et al., "Measuring statistical dependence with Hilbert-Schmidt norms", 2005 (double centring);
        Székely and Rizzo, "Partial distance correlation with methods for dissimilarities", 2014, eq. 2.5 (U-centring).
    """
    tensor = as_matrix(x, "x")
    check_choice("kernel", kernel, ("linear", "rbf"))
    check_choice("centering", centering, tuple(_LEAST))
    check_samples(tensor, "x", _LEAST[centering], f"centering={centering!r}")
    if kernel == "rbf":
        check_bandwidth(bandwidth)
        check_samples(tensor, "x", 2, "kernel='rbf'")
    dtype = result_dtype(tensor.dtype) if out_dtype is None else out_dtype
    check_choice("out_dtype", dtype, (torch.float32, torch.float64))
    check_choice("precision", precision, PRECISIONS)
    K, _ = library.gram(tensor, kernel, centering, float(bandwidth), dtype, check_threads(threads), precision)
    return restore_like(x)(K)


def packed_gram(
    x: Tensor,
    *,
    kernel: Kernel = "linear",
    bandwidth: float = 1.0,
    out_dtype: torch.dtype | None = None,
    precision: Precision = "default",
    threads: int | None = None,
) -> PackedGram:
    r"""Return the strict lower triangle of the U-centred Gram matrix, packed by rows.

    With v and w two such vectors of n samples, the unbiased HSIC is :math:`2 v \cdot w / (n (n-3))`; all pairs of
    layers of two models are then one small product, :func:`hsic_pairs`.

    Args:
        x: Activations of shape (n, p), n >= 4.
        kernel: "linear" or "rbf".
        bandwidth: The RBF width as a multiple of the median distance.
        out_dtype: float32 or float64; the default is float64 for float64 input and float32 otherwise.
        precision: "default": float32-grade products, float64 for float64 input; "exact": float64 products of any
            input; "fast": on GPUs one product of numbers rounded to bfloat16, a relative error of 1e-4 to 5e-3 (on CPUs
            the same as "default").
        threads: CPU threads; torch's own number by default.

    Returns:
        The packed values of shape (n (n - 1) / 2,), and whether ``x`` is constant to rounding.

    Raises:
        TypeError: ``x`` is no floating-point tensor.
        ValueError: ``x`` has another shape or fewer than 4 samples.

    References:
        Song et al., "Feature selection via dependence maximization", 2012, eq. 5.
    """
    x = as_matrix(x, "x")
    check_choice("kernel", kernel, ("linear", "rbf"))
    check_bandwidth(bandwidth)
    check_samples(x, "x", 4, "the unbiased estimator")
    dtype = result_dtype(x.dtype) if out_dtype is None else out_dtype
    check_choice("out_dtype", dtype, (torch.float32, torch.float64))
    check_choice("precision", precision, PRECISIONS)
    return PackedGram(*library.packed_gram(x, kernel, float(bandwidth), dtype, check_threads(threads), precision))


def packed_grams(
    xs: Sequence[Tensor],
    *,
    kernel: Kernel = "linear",
    bandwidth: float = 1.0,
    out_dtype: torch.dtype | None = None,
    precision: Precision = "default",
    threads: int | None = None,
) -> PackedGram:
    """Return :func:`packed_gram` of several sets of the same n samples; on a GPU all are formed by one set of launches.

    Args:
        xs: Activations of L layers, of shapes (n, p_i), n >= 4.
        kernel: "linear" or "rbf".
        bandwidth: The RBF width as a multiple of each set's median distance.
        out_dtype: float32 or float64; the default is float64 where a set is float64 and float32 otherwise.
        precision: As in :func:`centered_gram`.
        threads: CPU threads; torch's own number by default.

    Returns:
        The packed values of shape (L, n (n - 1) / 2), and which sets are constant to rounding, of shape (L,).

    Raises:
        TypeError: A set is no floating-point tensor.
        ValueError: There is no set, or one has another shape, other samples, or is on another device.
    """
    if not isinstance(xs, Sequence):
        raise TypeError(f"xs is a {type(xs).__name__}; expected a sequence of activations")
    xs = [as_matrix(x, f"xs[{i}]") for i, x in enumerate(xs)]
    if not xs:
        raise ValueError("xs is empty; expected at least one set of activations")
    check_choice("kernel", kernel, ("linear", "rbf"))
    check_choice("precision", precision, PRECISIONS)
    check_bandwidth(bandwidth)
    check_samples(xs[0], "xs[0]", 4, "the unbiased estimator")
    for i, x in enumerate(xs[1:], start=1):
        same_samples(xs[0], x, ("xs[0]", f"xs[{i}]"))
        same_device(xs[0], x, ("xs[0]", f"xs[{i}]"))
    widest = torch.float64 if torch.float64 in [x.dtype for x in xs] else torch.float32
    dtype = widest if out_dtype is None else out_dtype
    check_choice("out_dtype", dtype, (torch.float32, torch.float64))
    return PackedGram(*library.packed_grams(xs, kernel, float(bandwidth), dtype, check_threads(threads), precision))


def hsic_pairs(v: Tensor, w: Tensor, *, threads: int | None = None) -> Tensor:
    """Return the inner products of every row of ``v`` with every row of ``w``, in float64.

    Args:
        v: Packed U-centred Grams of L layers, shape (L, N).
        w: The same of M layers, shape (M, N). Where it is ``v`` itself, half of the work is saved.
        threads: CPU threads; torch's own number by default.

    Returns:
        The sums of shape (L, M); the unbiased HSIC of n samples is 2 / (n (n - 3)) of them.

    Raises:
        ValueError: The rows of the two have different lengths.
    """
    v, w = as_tensor(v, "v"), as_tensor(w, "w")
    if v.ndim != 2 or w.ndim != 2 or v.shape[1] != w.shape[1]:
        raise ValueError(f"v has shape {tuple(v.shape)} and w {tuple(w.shape)}; expected (L, N) and (M, N)")
    same_device(v, w, ("v", "w"))
    sums: Tensor = library.hsic_pairs(v, w, check_threads(threads))
    return sums


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    # By type first: comparing an array gives an array, which is neither true nor false.
    if type(value) in (str, torch.dtype) and value in choices:
        return
    if not any(isinstance(value, type(choice)) and value == choice for choice in choices):
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}")


def check_samples(x: Tensor, name: str, least: int, reason: str) -> None:
    """Raise ValueError unless ``x`` has at least ``least`` rows."""
    samples = x.shape[0]  # len(x) is Python code of torch's, and takes a microsecond
    if samples < least:
        raise ValueError(f"{name} has {samples} samples; {reason} needs at least {least}")
    if samples >= _MOST_SAMPLES:
        raise ValueError(f"{name} has {samples} samples; expected fewer than {_MOST_SAMPLES}")


def check_bandwidth(bandwidth: object) -> None:
    """Raise TypeError or ValueError unless ``bandwidth`` is a positive finite number."""
    if not isinstance(bandwidth, Real):
        raise TypeError(f"bandwidth is {bandwidth!r}; expected a positive multiple of the median distance")
    try:
        usable = 0 < float(bandwidth) < float("inf")
    except OverflowError:  # a whole number beyond float64
        usable = False
    if not usable:
        raise ValueError(f"bandwidth is {bandwidth!r}; expected a positive multiple of the median distance")


def check_threads(threads: object) -> int:
    """Return ``threads``, or 0, which stands for torch's own number, where it is None."""
    if threads is None:
        return 0
    if not isinstance(threads, Integral):
        raise TypeError(f"threads is {threads!r}; expected a whole number, or None for torch's own number")
    number = int(threads)
    if not 1 <= number <= _MOST_THREADS:
        raise ValueError(f"threads is {number}; expected 1 to {_MOST_THREADS}, or None for torch's own number")
    return number
