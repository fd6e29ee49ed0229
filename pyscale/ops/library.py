"""The ops as torch sees them: ``torch.library`` schemas, shapes for the compiler, gradients.

Everything differentiable goes through here, so ``torch.compile`` keeps each op whole and autograd knows its derivative.
``threads`` of 0 means torch's own number at the time of the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from pyscale.ops import cuda, gradients, native, reference
from pyscale.ops.dispatch import passes_straight
from pyscale.ops.dtypes import accumulator_dtype
from pyscale.ops.memory import MemoryErrors

_LIBRARY = torch.library.Library("pyscale", "DEF")


def _op(schema: str, tensors: int = 0) -> Callable[[Callable[..., Any]], Any]:
    """Register a function as the op of that schema, for every device; the decorated name then calls torch's op.

    Of an op whose first arguments are so many ``tensors``, it calls the function itself where torch would do no more.
    ``torch.library.custom_op`` would do the same and import the whole compiler at the first call, which takes seconds.
    """
    name = schema.partition("(")[0]
    errors = MemoryErrors(f"pyscale.{name}")

    def register(function: Callable[..., Any]) -> Any:
        @wraps(function)
        def kernel(*arguments: Any) -> Any:
            with errors:
                return function(*arguments)

        _LIBRARY.define(schema, tags=torch.Tag.needs_exact_strides)
        _LIBRARY.impl(name, kernel, "CompositeExplicitAutograd")
        op = getattr(torch.ops.pyscale, name).default

        @wraps(function)
        def call(*arguments: Any) -> Any:
            return kernel(*arguments) if passes_straight(*arguments[:tensors]) else op(*arguments)

        return call if tensors else op

    return register


@_op(
    "gram(Tensor x, str kernel, str centering, float bandwidth, ScalarType out_dtype, int threads, "
    "str precision) -> (Tensor, Tensor)",
    tensors=1,
)
def gram(
    x: Tensor,
    kernel: str,
    centering: str,
    bandwidth: float,
    out_dtype: torch.dtype,
    threads: int,
    precision: str,
) -> tuple[Tensor, Tensor]:
    """Return the centred Gram (n, n) of ``x`` (n, p), and whether ``x`` is constant to rounding."""
    if cuda.serves(x):
        return cuda.gram(x, kernel, centering, bandwidth, out_dtype, precision)
    if precision == "exact" and x.dtype != (wide := accumulator_dtype(x.device)):
        K, _ = gram(x.to(wide), kernel, centering, bandwidth, out_dtype, threads, precision)
        return K, reference.is_constant(x)
    if native.serves(x):
        return native.gram(x, kernel, centering, bandwidth, out_dtype, threads)
    return reference.gram(x, kernel, centering, bandwidth, out_dtype)


@_op(
    "packed_gram(Tensor x, str kernel, float bandwidth, ScalarType out_dtype, int threads, "
    "str precision) -> (Tensor, Tensor)",
    tensors=1,
)
def packed_gram(
    x: Tensor, kernel: str, bandwidth: float, out_dtype: torch.dtype, threads: int, precision: str
) -> tuple[Tensor, Tensor]:
    """Return the packed U-centred Gram (n (n - 1) / 2,) of ``x`` (n, p), and whether ``x`` is constant to rounding."""
    if cuda.serves(x):
        return cuda.packed_gram(x, kernel, bandwidth, out_dtype, precision)
    if precision == "exact" and x.dtype != (wide := accumulator_dtype(x.device)):
        v, _ = packed_gram(x.to(wide), kernel, bandwidth, out_dtype, threads, precision)
        return v, reference.is_constant(x)
    if native.serves(x):
        return native.packed_gram(x, kernel, bandwidth, out_dtype, threads)
    return reference.packed_gram(x, kernel, bandwidth, out_dtype)


@_op(
    "packed_grams(Tensor[] xs, str kernel, float bandwidth, ScalarType out_dtype, int threads, "
    "str precision) -> (Tensor, Tensor)"
)
def packed_grams(
    xs: Sequence[Tensor],
    kernel: str,
    bandwidth: float,
    out_dtype: torch.dtype,
    threads: int,
    precision: str,
) -> tuple[Tensor, Tensor]:
    """Return the packed U-centred Grams (L, n (n - 1) / 2) of sets of n samples, and which are constant (L,)."""
    if cuda.serves(*xs):
        return cuda.packed_grams(xs, kernel, bandwidth, out_dtype, precision)
    grams = [packed_gram(x, kernel, bandwidth, out_dtype, threads, precision) for x in xs]
    return torch.stack([v for v, _ in grams]), torch.stack([constant for _, constant in grams])


@_op("hsic_pairs(Tensor v, Tensor w, int threads) -> Tensor", tensors=2)
def hsic_pairs(v: Tensor, w: Tensor, threads: int) -> Tensor:
    """Return all inner products (L, M) of the rows of ``v`` (L, N) and ``w`` (M, N), added in float64."""
    if native.serves(v, w):
        return native.hsic_pairs(v, w, threads)
    if cuda.serves(v, w):
        return cuda.hsic_pairs(v, w)
    return reference.hsic_pairs(v, w)


@_op("add_moments(Tensor(a!) out, Tensor x, Tensor shift_x, Tensor? y, Tensor? shift_y, int threads) -> ()")
def add_moments(
    out: Tensor, x: Tensor, shift_x: Tensor, y: Tensor | None, shift_y: Tensor | None, threads: int
) -> None:
    """Add to ``out`` (p, q) the co-moments of ``x`` (n, p) with ``y`` (n, q), or with itself where ``y`` is None."""
    if native.serves(out, x, *([] if y is None else [y])):
        native.add_moments(out, x, shift_x, y, shift_y, threads)
    elif y is None and cuda.serves(out, x) and out.is_contiguous():
        cuda.add_self_moments(out, x, shift_x)
    elif y is None or shift_y is None:
        out += reference.cross_moments(x, shift_x, x, shift_x)
    else:
        out += reference.cross_moments(x, shift_x, y, shift_y)


# ---- Shapes, for tracing without data ----


def _gram_shapes(
    x: Tensor,
    kernel: str,
    centering: str,
    bandwidth: float,
    out_dtype: torch.dtype,
    threads: int,
    precision: str,
) -> tuple[Tensor, Tensor]:
    n = x.shape[0]
    return x.new_empty((n, n), dtype=out_dtype), x.new_empty((), dtype=torch.bool)


def _packed_gram_shapes(
    x: Tensor, kernel: str, bandwidth: float, out_dtype: torch.dtype, threads: int, precision: str
) -> tuple[Tensor, Tensor]:
    n = x.shape[0]
    return x.new_empty((n * (n - 1) // 2,), dtype=out_dtype), x.new_empty((), dtype=torch.bool)


def _packed_grams_shapes(
    xs: Sequence[Tensor],
    kernel: str,
    bandwidth: float,
    out_dtype: torch.dtype,
    threads: int,
    precision: str,
) -> tuple[Tensor, Tensor]:
    n = xs[0].shape[0]
    return xs[0].new_empty((len(xs), n * (n - 1) // 2), dtype=out_dtype), xs[0].new_empty(len(xs), dtype=torch.bool)


def _hsic_pairs_shapes(v: Tensor, w: Tensor, threads: int) -> Tensor:
    return v.new_empty((v.shape[0], w.shape[0]), dtype=accumulator_dtype(v.device))


def _add_moments_shapes(
    out: Tensor, x: Tensor, shift_x: Tensor, y: Tensor | None, shift_y: Tensor | None, threads: int
) -> None:
    return None


_SHAPES: dict[str, Callable[..., Any]] = {
    "gram": _gram_shapes,
    "packed_gram": _packed_gram_shapes,
    "packed_grams": _packed_grams_shapes,
    "hsic_pairs": _hsic_pairs_shapes,
    "add_moments": _add_moments_shapes,
}
for _name, _shapes in _SHAPES.items():
    torch.library.register_fake(f"pyscale::{_name}", _shapes)

for _name in ("gram", "packed_gram", "packed_grams", "hsic_pairs"):
    torch.library.register_autograd(
        f"pyscale::{_name}",
        getattr(gradients, f"{_name}_backward"),
        setup_context=getattr(gradients, f"{_name}_context"),
    )
