"""CCA as one op, for graphs that ``torch.compile`` keeps whole: how many directions are kept depends on the data.

Checks and warnings happen inside, when the graph runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyscale.metrics.canonical import correlate, product_of_sets, warn_few_samples
from pyscale.metrics.whitening import centred, coordinates_gradient, whiten_set
from pyscale.ops import reference
from pyscale.ops.dtypes import accumulator_dtype

_OPTIONS = "float variance, float ridge, float rtol"

_LIBRARY = torch.library.Library("pyscale", "FRAGMENT")
_LIBRARY.define(f"canonical(Tensor x, Tensor y, {_OPTIONS}) -> (Tensor, Tensor, Tensor)")
_LIBRARY.define(f"canonical_backward(Tensor grad, Tensor x, Tensor y, {_OPTIONS}) -> (Tensor, Tensor)")


def _canonical(x: Tensor, y: Tensor, variance: float, ridge: float, rtol: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the correlations (min rank,) in float64, the ranks (2,), and the chance level of R², 0-d."""
    with torch.no_grad():
        C, wx, wy = product_of_sets(x, y, variance=variance, ridge=ridge, rtol=rtol)
        warn_few_samples(wx, wy, len(x))
        result = correlate(C, wx, wy, len(x), lambda tensor: tensor)
    ranks = torch.tensor([result.rank_x, result.rank_y], device=x.device)
    return result.correlations, ranks, torch.tensor(result.chance, dtype=result.correlations.dtype, device=x.device)


def _canonical_backward(
    grad: Tensor, x: Tensor, y: Tensor, variance: float, ridge: float, rtol: float
) -> tuple[Tensor, Tensor]:
    """Return the derivatives with respect to ``x`` (n, p) and ``y`` (n, q), given those of the correlations."""
    options = {"variance": variance, "ridge": ridge, "rtol": rtol}
    with torch.no_grad():
        a, b = centred(x), centred(y)
        constant = [bool(reference.is_constant(t)) for t in (x, y)]
        wx, wy = (whiten_set(t, constant=flag, **options) for t, flag in zip((a, b), constant, strict=True))
        left, _, right = torch.linalg.svd(wx.cross(wy), full_matrices=False)
        by_product = (left * grad) @ right
        gradients = (
            coordinates_gradient(wy.coordinates @ by_product.T, a, ridge),
            coordinates_gradient(wx.coordinates @ by_product, b, ridge),
        )
        by_x, by_y = ((g - g.mean(dim=0)).to(t.dtype) for g, t in zip(gradients, (x, y), strict=True))
    return by_x, by_y


def _shapes(x: Tensor, y: Tensor, variance: float, ridge: float, rtol: float) -> tuple[Tensor, Tensor, Tensor]:
    wide, kept = accumulator_dtype(x.device), torch.library.get_ctx().new_dynamic_size()
    return x.new_empty((kept,), dtype=wide), x.new_empty((2,), dtype=torch.int64), x.new_empty((), dtype=wide)


def _backward_shapes(
    grad: Tensor, x: Tensor, y: Tensor, variance: float, ridge: float, rtol: float
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(y)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, y, *ctx.options = inputs
    ctx.save_for_backward(x, y)
    ctx.mark_non_differentiable(*output[1:])


def _differentiate(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
    x, y = ctx.saved_tensors
    return (*torch.ops.pyscale.canonical_backward(grad, x, y, *ctx.options), None, None, None)


_LIBRARY.impl("canonical", _canonical, "CompositeExplicitAutograd")
_LIBRARY.impl("canonical_backward", _canonical_backward, "CompositeExplicitAutograd")
torch.library.register_fake("pyscale::canonical", _shapes)
torch.library.register_fake("pyscale::canonical_backward", _backward_shapes)
torch.library.register_autograd("pyscale::canonical", _differentiate, setup_context=_keep)
