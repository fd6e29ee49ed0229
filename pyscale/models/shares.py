"""How much of a growth in compute each dimension takes: the family d w² r² = s, and its members that have names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from pyscale.models.scaling import Scaling, finite, positive


@dataclass(frozen=True)
class Shares:
    """The share of each dimension in a growth of compute; only their ratios count.

    Args:
        depth: share of depth, not negative.
        width: share of width, not negative.
        resolution: share of resolution, not negative.

    Raises:
        TypeError: a share is not a number.
        ValueError: a share is negative or not finite, or all are zero.

    Example:
        >>> Shares(1, 8, 1) == RULES["dWr"]
        True
    """

    depth: float = 0.0
    width: float = 0.0
    resolution: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            share = finite(field.name, getattr(self, field.name))
            if share < 0:
                raise ValueError(f"{field.name}: expected a share of at least 0, got {share}")
            object.__setattr__(self, field.name, share)
        if not any(astuple(self)):
            raise ValueError("shares: expected at least one above 0, got 0 for depth, width and resolution")


RULES = {
    "dWr": Shares(1, 8, 1),
    "uniform": Shares(1, 1, 1),
    "d": Shares(depth=1),
    "w": Shares(width=1),
    "r": Shares(resolution=1),
}
"""Rules by name: ``"dWr"`` is fast compound scaling, mostly wider; ``"uniform"`` gives every dimension a third."""

Rule = str | Shares | Sequence[float]


def fast_compound(s: float, rule: Rule = "dWr", *, max_resolution: float | None = None) -> Scaling:
    r"""The network with about ``s`` times the compute in a family that shares the growth out among the dimensions.

    With shares :math:`e_d + e_w + e_r = 1`,

    .. math:: d = s^{e_d}, \quad w = s^{e_w / 2}, \quad r = s^{e_r / 2}, \quad \text{so that} \quad d w^2 r^2 = s.

    Parameters grow about as :math:`d w^2 = s^{1 - e_r}`, activations as :math:`d w r^2 = s^{1 - e_w / 2}`. Latency
    follows activations more closely than compute on accelerators, hence the default: depth .1, width .8, resolution .1
    cost little of them, for nearly the accuracy of the even split. Rounding to whole blocks, channels and pixels moves
    the true cost; :func:`scale_to` counts it.

    Args:
        s: factor on compute, positive; below 1 scales down.
        rule: a name in :data:`RULES` (``"dWr"``, ``"uniform"``, ``"d"``, ``"w"``, ``"r"``), a :class:`Shares`, or three
            numbers: the shares of depth, width and resolution.
        max_resolution: largest resolution factor, positive; None is no limit. Past it depth and width take what is
            left, in the ratio of their shares, so that :math:`d w^2 r^2 = s` still.

    Returns:
        The three factors.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: ``s`` or ``max_resolution`` is not positive and finite, the rule is unknown, or nothing but
            resolution is scaled and ``max_resolution`` stops it.

    Example:
        >>> fast_compound(4, "w")
        Scaling(depth=1.0, width=2.0, resolution=1.0)
        >>> fast_compound(16, (1, 1, 2))
        Scaling(depth=2.0, width=1.4142135623730951, resolution=2.0)
        >>> fast_compound(16, (1, 0, 1), max_resolution=1)
        Scaling(depth=16.0, width=1.0, resolution=1.0)

    References:
        Dollár, Singh and Girshick, "Fast and Accurate Model Scaling", CVPR 2021.
    """
    factor, shares = positive("s", s), shares_of(rule)
    limit = None if max_resolution is None else positive("max_resolution", max_resolution)
    if limit is not None and not shares.depth + shares.width and factor > limit**2:
        raise ValueError(
            f"max_resolution: the rule scales nothing but resolution, so a limit of {limit:.6g} ends it at "
            f"s = {limit**2:.6g}; got s = {s}"
        )
    return factors(factor, shares, limit)


def factors(s: float, shares: Shares, max_resolution: float | None) -> Scaling:
    """The member ``s`` of the family, as in :func:`fast_compound`; resolution alone just stops at its limit."""
    others = shares.depth + shares.width
    total = others + shares.resolution
    resolution = s ** (shares.resolution / total / 2)
    if max_resolution is not None and resolution > max_resolution:
        resolution, s, total = max_resolution, s / max_resolution**2, others
    if not others:
        return Scaling(resolution=resolution)
    return Scaling(s ** (shares.depth / total), s ** (shares.width / total / 2), resolution)


def shares_of(rule: Rule) -> Shares:
    """The shares behind a rule's name, three numbers, or shares.

    Raises:
        TypeError: ``rule`` is none of them.
        ValueError: an unknown name, or not three numbers.
    """
    if isinstance(rule, Shares):
        return rule
    if isinstance(rule, str):
        if rule not in RULES:
            raise ValueError(f"rule: unknown rule {rule!r}; expected one of {', '.join(RULES)}, or three shares")
        return RULES[rule]
    if not isinstance(rule, Sequence):
        raise TypeError(f"rule: expected a name, a Shares or three numbers (depth, width, resolution), got {rule!r}")
    if len(rule) != 3:
        raise ValueError(f"rule: expected three shares (depth, width, resolution), got {len(rule)}: {rule!r}")
    return Shares(*rule)
