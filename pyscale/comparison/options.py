"""What is computed and how, and which combinations make no sense."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal, TypeAlias, get_args

from pyscale.comparison.features import Features
from pyscale.comparison.memory import parse_size
from pyscale.ops.gram import Kernel, check_bandwidth, check_choice

Metric = Literal["cka", "cca", "cca_r2", "svcca", "pwcca", "procrustes"]
Mode = Literal["minibatch", "exact"]
Estimator = Literal["unbiased", "biased"]

Pair: TypeAlias = tuple[int, int]
"""Two models by their places; one with itself is compared too."""

SIDES = ("model_x", "model_y")  # what messages call two models


@dataclass(frozen=True)
class Options:
    """A comparison's options, checked; ``mode`` is resolved."""

    metric: Metric
    mode: Mode
    kernel: Kernel
    estimator: Estimator
    bandwidth: float
    features: Features
    permutations: int
    seed: int
    max_batches: int | None
    memory: int | None  # bytes


def resolve_options(
    *,
    metric: Metric,
    mode: Mode | None,
    kernel: Kernel,
    estimator: Estimator,
    bandwidth: float,
    features: Features,
    permutations: int,
    seed: int,
    max_batches: int | None,
    memory: int | str | None,
) -> Options:
    """Check options, alone and together, and choose the mode where it is None.

    Raises:
        ValueError: An option has an unknown value, or two exclude each other; the message says why.
    """
    check_metric(metric, kernel, estimator)
    check_choice("mode", mode, (None, *get_args(Mode)))
    check_choice("features", features, get_args(Features))
    check_bandwidth(bandwidth)
    permutations = whole("permutations", permutations, least=0)
    seed = whole("seed", seed)
    if max_batches is not None:
        max_batches = whole("max_batches", max_batches, least=1)
    if mode is None:
        by_batches = metric == "cka" and estimator == "unbiased" and features != "positions"
        mode = "minibatch" if by_batches else "exact"
    reason = _why_refused(metric, mode, kernel, estimator, features, permutations)
    if reason is not None:
        raise ValueError(reason)
    size = None if memory is None else parse_size(memory, "memory")
    return Options(metric, mode, kernel, estimator, float(bandwidth), features, permutations, seed, max_batches, size)


def check_metric(metric: Metric, kernel: Kernel, estimator: Estimator) -> None:
    """Raise ValueError for an unknown metric, kernel or estimator, or one that the metric does not have."""
    check_choice("metric", metric, get_args(Metric))
    check_choice("kernel", kernel, get_args(Kernel))
    check_choice("estimator", estimator, get_args(Estimator))
    if metric != "cka" and kernel != "linear":
        raise ValueError(f"kernel is {kernel!r}, but metric {metric!r} has no kernel; only 'cka' has one")
    if metric != "cka" and estimator != "unbiased":
        raise ValueError(
            f"estimator is {estimator!r}, but metric {metric!r} has no estimators to choose from; only 'cka' has"
        )


def _why_refused(
    metric: Metric, mode: Mode, kernel: Kernel, estimator: Estimator, features: Features, permutations: int
) -> str | None:
    if mode == "minibatch":
        return _why_not_minibatch(metric, estimator, features)
    if kernel != "linear":
        return f"kernel is {kernel!r}, which needs all samples at once; mode='exact' takes 'linear' only"
    if permutations:
        return (
            f"permutations is {permutations}, but mode 'exact' keeps no samples that could be permuted; "
            f"use metric='cka', mode='minibatch'"
        )
    return None


def _why_not_minibatch(metric: Metric, estimator: Estimator, features: Features) -> str | None:
    if metric != "cka":
        return f"mode is 'minibatch', but metric {metric!r} is not an average over minibatches; use mode='exact'"
    if estimator != "unbiased":
        return (
            "mode is 'minibatch' and estimator 'biased': the bias of a minibatch depends on its size and averaging "
            "doesn't remove it; use mode='exact' or estimator='unbiased'"
        )
    if features == "positions":
        return "features is 'positions', whose rows outgrow a minibatch's Gram matrix; use mode='exact'"
    return None


def whole(name: str, value: object, *, least: int | None = None) -> int:
    """Return a whole number, NumPy's too, as Python's; TypeError for all else, ValueError below ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r}; expected an integer")
    if least is not None and value < least:
        raise ValueError(f"{name} is {value}; expected at least {least}")
    return int(value)
