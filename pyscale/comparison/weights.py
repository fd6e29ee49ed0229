"""Comparing the weights of two models: the matrices of their convolution and linear layers, no data needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import nn

from pyscale.comparison.layers import Layers
from pyscale.comparison.options import Estimator, Metric, check_metric
from pyscale.comparison.provenance import describe_machine
from pyscale.comparison.result import Comparison
from pyscale.comparison.state import check_initialised
from pyscale.comparison.weight_matrices import Rows, WeightMatrix, weight_matrices
from pyscale.comparison.weight_scores import weight_scores
from pyscale.comparison.wrappers import unwrap
from pyscale.metrics.validity import warn
from pyscale.ops.gram import Kernel, check_bandwidth, check_choice

Unequal = Literal["error", "nan"]


def compare_weights(
    model_x: nn.Module,
    model_y: nn.Module,
    *,
    layers: Layers = None,
    layers_y: Layers = None,
    rows: Rows = "inputs",
    metric: Metric = "cka",
    kernel: Kernel = "linear",
    estimator: Estimator = "unbiased",
    bandwidth: float = 1.0,
    unequal: Unequal | None = None,
) -> Comparison:
    r"""Compare the weights of convolution and linear layers of one model with those of another.

    Every layer's weight is laid out as a matrix whose rows take the place of samples. Row i of one layer is paired with
    row i of the other, so a pair of layers is compared only where row i stands for the same thing in both:

    ========= ================================== ====================================================================
    ``rows``  a layer's matrix                   two layers have paired rows where they agree in
    ========= ================================== ====================================================================
    "inputs"  (in/groups · kernel positions,     input channels a group, kernel size and, unless a group has one
              out), channel by channel           channel, groups; a linear layer is a convolution of kernel size 1
    "outputs" (out, in/groups · kernel           output channels: row i is the filter that makes channel i
              positions)
    ========= ================================== ====================================================================

    Rows are never padded with zeros, which would pair filters with nothing, nor trimmed. That channel i is the *same*
    channel in both models is what is assumed, and what nothing in the weights can tell: it holds for pictures' colours,
    and for a network and what fine-tuning, pruning or quantising made of it; between networks trained from two seeds
    channels come in any order, and weights score what chance gives. Beside each value stands that chance level:
    independent random weights of growing width score :math:`\sqrt{pq/((p+n)(q+n))}` with the biased CKA, 0 with the
    unbiased one.

    Args:
        model_x: Its layers are the rows of the result. Wrappers are seen through.
        model_y: Its layers are the columns.
        layers: Names, glob patterns or module types, one or several; None is every convolution (transposed ones too)
            and linear layer. Patterns and types pass over other layers.
        layers_y: The same for model_y; None is the same selection.
        rows: What the rows of the matrices are, "inputs" or "outputs".
        metric: "cka", "cca" (mean correlation), "cca_r2", "svcca", "pwcca" or "procrustes".
        kernel: "linear" or "rbf"; for CKA.
        estimator: "unbiased" (at least 4 rows) or "biased" (2); for CKA.
        bandwidth: The RBF width as a multiple of the median distance between rows.
        unequal: What becomes of two layers whose rows cannot be paired: an "error", or "nan" with one warning for all.
            None is an error for two layers that were both named, and NaN for those that a pattern, a type or None has
            brought together. Where no pair at all can be compared, it is an error with any.

    Returns:
        The similarities, layers in the order in which the models register them. ``chance`` is the closed form of
        :func:`pyscale.chance` where there is one, ``zscores`` the unbiased CKA times sqrt(n (n - 3)/2) of n rows;
        ``stderr`` is NaN.

    Raises:
        TypeError: A model is no module, or a weight holds no floating-point numbers.
        ValueError: Options exclude each other; a layer does not exist or has no such weight; two layers' rows cannot be
            paired (the message has both names and shapes); weights hold NaN or infinity.

    Warns:
        UserWarning: Layers with unequal rows or constant weights, whose similarities are NaN; layers with fewer rows
            than the metric needs, or than CCA needs to say anything.

    Example:
        >>> from torch import nn
        >>> import pyscale as ps
        >>> before, after = nn.Linear(64, 10), nn.Linear(64, 10)
        >>> _ = after.load_state_dict({name: 0.5 * tensor for name, tensor in before.state_dict().items()})
        >>> ps.compare_weights(before, after).values.round(6)
        array([[1.]])
    """
    check_choice("rows", rows, ("inputs", "outputs"))
    check_choice("unequal", unequal, (None, "error", "nan"))
    check_metric(metric, kernel, estimator)
    check_bandwidth(bandwidth)
    for argument, model in (("model_x", model_x), ("model_y", model_y)):
        if not isinstance(model, nn.Module):
            raise TypeError(f"{argument} is a {type(model).__name__}; expected a torch.nn.Module")
        check_initialised(model, argument)
    if isinstance(layers, Iterator):
        layers = list(layers)  # it chooses twice
    with torch.no_grad():
        xs = weight_matrices(model_x, layers, rows, label="model_x", argument="layers")
        chosen_y, argument = (layers, "layers") if layers_y is None else (layers_y, "layers_y")
        ys = weight_matrices(model_y, chosen_y, rows, label="model_y", argument=argument, device=xs[0].matrix.device)
        _check_pairs(xs, ys, rows, unequal)
        scores = weight_scores(xs, ys, metric=metric, kernel=kernel, estimator=estimator, bandwidth=bandwidth)
    return Comparison(
        values=scores.values,
        rows=[x.name for x in xs],
        columns=[y.name for y in ys],
        stderr=scores.stderr,
        chance=scores.chance,
        zscores=scores.zscores,
        pvalues=None,
        meta={
            "compared": "weights",
            "weight_rows": rows,
            "metric": metric,
            "kernel": kernel,
            "estimator": estimator,
            "bandwidth": float(bandwidth),
            "model_x": type(unwrap(model_x)).__name__,
            "model_y": type(unwrap(model_y)).__name__,
            "shapes": {"model_x": {x.name: list(x.shape) for x in xs}, "model_y": {y.name: list(y.shape) for y in ys}},
            "dtype": sorted({str(w.matrix.dtype).removeprefix("torch.") for w in (*xs, *ys)}),
            **describe_machine(xs[0].matrix.device),
        },
    )


def _check_pairs(xs: list[WeightMatrix], ys: list[WeightMatrix], rows: Rows, unequal: Unequal | None) -> None:
    """Raise ValueError for a pair of layers that has to be comparable and isn't; warn of the others that aren't."""
    apart = [(x, y) for x in xs for y in ys if x.stands_for != y.stands_for]
    for x, y in apart:
        nothing_left = len(apart) == len(xs) * len(ys)
        if unequal == "error" or nothing_left or (unequal is None and x.spelled_out and y.spelled_out):
            raise ValueError(
                f"{_unpaired(x, y, rows)}; rows are never padded: choose layers that agree"
                + ("" if nothing_left else ", or pass unequal='nan' to compare the rest")
            )
    if apart:
        warn(
            f"{len(apart)} of {len(xs) * len(ys)} pairs of layers have rows that can't be paired, and so are NaN, such "
            f"as {_unpaired(*apart[0], rows)}"
        )


def _unpaired(x: WeightMatrix, y: WeightMatrix, rows: Rows) -> str:
    def described(w: WeightMatrix, label: str) -> str:
        return f"layer {w.name!r} of {label} with weight {w.shape}, {len(w.matrix)} rows of {w.row}"

    return f"{described(x, 'model_x')}, and {described(y, 'model_y')} (rows={rows!r})"
