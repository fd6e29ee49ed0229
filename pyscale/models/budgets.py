"""The largest network of a family that a budget allows, by bisection over what networks really cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from pyscale.models.architecture import Architecture
from pyscale.models.profiling import profile
from pyscale.models.recipe import as_count
from pyscale.models.registry import fitted
from pyscale.models.scaling import Scaling, positive
from pyscale.models.shares import Rule, Shares, factors, shares_of

_SMALLEST, _LARGEST = 2.0**-30, 2.0**10


def scale_to(
    name: str,
    *,
    macs: float | None = None,
    parameters: float | None = None,
    activations: float | None = None,
    latency: float | None = None,
    rule: Rule = "dWr",
    max_image_size: int | None = None,
    num_classes: int | None = None,
    in_channels: int = 3,
    image_size: int | None = None,
    batch_size: int = 1,
    device: torch.device | str | None = None,
) -> Scaling:
    r"""The factors of the largest network along d w² r² = s that a budget allows, smaller or larger than the base.

    The cost of a network is what :func:`profile` counts, on the meta device: whole blocks, channels and pixels. It is a
    step function of s that never falls, so bisection finds the last step that is not above the budget. The budget is an
    upper bound, and steps can be wide: depth is rounded up, so that past s = 1 every stage has a block more at once.
    Returned is the middle of the step, or :math:`s = 1` where the step holds it, or half its end where it is the
    smallest network's, which has no beginning. s is searched for from
    :math:`2^{-30}` to :math:`2^{10}`.

    Latency is *measured*, in the way :func:`profile` does: the median of ten passes in eval mode, with weights drawn
    anew, each network once. It is noisy and need not grow with s, so the result is a network that was measured within
    the budget while the next larger one was measured above it; another run may find another. It holds for this machine,
    its load, the number of threads and ``batch_size``. torch's random state is left as it was.

    Args:
        name: as for :func:`build`.
        macs: multiply-accumulates of one image, at most. Exactly one of the four budgets is given.
        parameters: number of parameters, at most.
        activations: elements in the outputs of all convolutions for one image, at most.
        latency: seconds of one forward pass of ``batch_size`` images on ``device``, at most.
        rule: how the dimensions share the growth, as for :func:`fast_compound`: a name in :data:`RULES`, a
            :class:`Shares`, or three numbers.
        max_image_size: largest side of the images in pixels, past which depth and width take what is left; None is no
            limit.
        num_classes: as for :func:`build`.
        in_channels: as for :func:`build`.
        image_size: as for :func:`build`: the side *before* scaling.
        batch_size: images per timed pass, at least 1; counts are always for one image.
        device: where latency is measured; None is torch's default.

    Returns:
        Factors for ``build(name, scaling=...)`` with the same ``num_classes``, ``in_channels`` and ``image_size``.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: not exactly one budget is given, it is not positive and finite, below the smallest network or above
            the largest, or the rule does not change it (parameters by resolution alone); an unknown name or rule.

    Example:
        >>> from pyscale.models import build
        >>> scaling = scale_to("cifar_resnet20", macs=100e6, rule="w")
        >>> profile(build("cifar_resnet20", scaling=scaling), repeats=0).macs
        95736848
        >>> scale_to("cifar_resnet20", parameters=269_722)
        Scaling(depth=1.0, width=1.0, resolution=1.0)

    References:
        Dollár, Singh and Girshick, "Fast and Accurate Model Scaling", CVPR 2021.
    """
    budgets = {"macs": macs, "parameters": parameters, "activations": activations, "latency": latency}
    given = [quantity for quantity, budget in budgets.items() if budget is not None]
    if len(given) != 1:
        raise ValueError(f"budget: expected exactly one of {', '.join(budgets)}, got {' and '.join(given) or 'none'}")
    quantity = given[0]
    budget, shares = positive(quantity, budgets[quantity]), shares_of(rule)
    if quantity == "parameters" and not shares.depth + shares.width:
        raise ValueError("parameters: the rule scales nothing but resolution, which changes no parameter")
    batch_size = as_count("batch_size", batch_size)
    base = fitted(name, num_classes=num_classes, in_channels=in_channels, image_size=image_size)
    if max_image_size is not None:
        max_image_size = as_count("max_image_size", max_image_size)

    def cost(architecture: Architecture) -> float:
        if quantity == "latency":
            return _seconds(architecture, batch_size, torch.get_default_device() if device is None else device)
        return _count(architecture, quantity)

    limit = None if max_image_size is None else max_image_size / base.image_size
    family = _Family(base, shares, limit, cost)
    low, high = family.bracket(quantity, budget)
    return family.scaling(family.middle(_last(lambda s: family.cost(s) <= budget, low, high)))


@dataclass
class _Family:
    """The networks along d w² r² = s, and what those that were asked for cost."""

    base: Architecture
    shares: Shares
    max_resolution: float | None
    measure: Callable[[Architecture], float]
    known: dict[Architecture, float] = field(default_factory=dict)

    def scaling(self, s: float) -> Scaling:
        return factors(s, self.shares, self.max_resolution)

    def architecture(self, s: float) -> Architecture:
        return self.base.scaled(self.scaling(s))

    def held_by(self) -> str:
        """That the limit on the image is what stops the rule, where it scales nothing but resolution; or nothing."""
        if self.max_resolution is None or self.shares.depth + self.shares.width:
            return ""
        side = round(self.max_resolution * self.base.image_size)
        return f", because max_image_size is {side} and the rule scales nothing but resolution"

    def cost(self, s: float) -> float:
        """What the network at ``s`` costs, found out once for each architecture."""
        architecture = self.architecture(s)
        if architecture not in self.known:
            self.known[architecture] = self.measure(architecture)
        return self.known[architecture]

    def bracket(self, quantity: str, budget: float) -> tuple[float, float]:
        """Two values of s, a factor of 2 apart: the first's network is within the budget, the second's above."""
        base = self.cost(1.0)
        if budget > _LARGEST * base:  # asked before anything so large is built
            raise ValueError(
                f"{quantity}: expected at most {_LARGEST:.0f} times the cost at s = 1, which is {base:.9g}; "
                f"got {budget:.9g}"
            )
        s = 1.0
        while self.cost(s) <= budget:
            if s == _LARGEST:
                raise ValueError(
                    f"{quantity}: expected less than {self.cost(s):.9g}, what the rule reaches at s = {_LARGEST:.0f}"
                    f"{self.held_by()}; got {budget:.9g}"
                )
            s *= 2
        while self.cost(s / 2) > budget:
            s /= 2
            if s == _SMALLEST:
                raise ValueError(
                    f"{quantity}: expected at least {self.cost(s):.9g}, the smallest network's that the rule reaches; "
                    f"got {budget:.9g}"
                )
        return s / 2, s

    def middle(self, last: float) -> float:
        """The middle of the step that ends at ``last``, or 1 where the step holds it: far from where it changes."""
        step = self.architecture(last)
        if last >= 1 and self.architecture(1.0) == step:
            return 1.0
        below = last
        while self.architecture(below) == step:
            if below < _SMALLEST:  # the smallest network, whose step has no beginning
                return last / 2
            below /= 2
        return math.sqrt(_last(lambda s: self.architecture(s) != step, below, last) * last)


def _last(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The largest number for which something holds that does at ``low``, does not at ``high``, and changes once."""
    while low < (middle := math.sqrt(low * high)) < high:
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _count(architecture: Architecture, quantity: str) -> float:
    with torch.device("meta"):
        network = architecture.network()
    return float(getattr(profile(network, in_channels=architecture.in_channels), quantity))


def _seconds(architecture: Architecture, batch_size: int, device: torch.device | str) -> float:
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        network = architecture.network()
    seconds = profile(network.to(device), in_channels=architecture.in_channels, batch_size=batch_size).latency
    if math.isnan(seconds):
        raise ValueError(f"device: expected one that computes, to measure latency on; got {device}")
    return seconds
