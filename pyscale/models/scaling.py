"""How much deeper, wider and higher in resolution a network is, and how the three factors are rounded to integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Real

CHANNEL_DIVISOR = 8


@dataclass(frozen=True)
class Scaling:
    """Factors by which a network is deeper, wider and higher in resolution than the one it is named after.

    Depth multiplies the blocks of every stage, width the channels of every layer, resolution the side of the image.
    Compute grows about as ``depth * width**2 * resolution**2``, parameters as ``depth * width**2``.

    Args:
        depth: factor on the number of blocks per stage; positive and finite.
        width: factor on the number of channels per layer; positive and finite.
        resolution: factor on the side of the input image; positive and finite.

    Raises:
        TypeError: a factor is not a number.
        ValueError: a factor is not positive and finite.

    Example:
        >>> Scaling(width=2)
        Scaling(depth=1.0, width=2.0, resolution=1.0)
    """

    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, positive(field.name, getattr(self, field.name)))


def compound(
    phi: float | Sequence[float],
    alpha: float = 1.2,
    beta: float = 1.1,
    gamma: float = 1.15,
    *,
    max_resolution: float | None = None,
) -> Scaling:
    r"""Compound scaling: depth, width and resolution grow together, as powers of one or three exponents.

    .. math:: d = \alpha^{\phi_d}, \quad w = \beta^{\phi_w}, \quad r = \min(\gamma^{\phi_r}, r_{\max})

    With one :math:`\phi` and :math:`\alpha \beta^2 \gamma^2 \approx 2` (the defaults give 1.92) compute grows about as
    :math:`2^\phi`. This is the formula: the published EfficientNet B1 to B7 are not exact powers, and are built by name
    (``build("efficientnet_b1")``).

    Args:
        phi: one exponent for all three dimensions, or three: (depth, width, resolution). Negative exponents scale down.
        alpha: base of the depth factor, positive.
        beta: base of the width factor, positive.
        gamma: base of the resolution factor, positive.
        max_resolution: largest resolution factor, positive; None is no limit. EfficientNetV2 stops at 480 pixels, which
            is ``480 / 224`` for a network of 224; depth and width go on as they would.

    Returns:
        The three factors.

    Raises:
        TypeError: an argument is not a number, or ``phi`` neither a number nor a sequence of numbers.
        ValueError: a base or ``max_resolution`` is not positive and finite, an exponent not finite, ``phi`` not three
            numbers long, or a factor leaves the range of floating point.

    Example:
        >>> compound(1)
        Scaling(depth=1.2, width=1.1, resolution=1.15)
        >>> compound((0, 1, 0), beta=2)
        Scaling(depth=1.0, width=2.0, resolution=1.0)
        >>> compound(9, max_resolution=480 / 240).resolution
        2.0

    References:
        Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, equation 3.
        Tan and Le, "EfficientNetV2: Smaller Models and Faster Training", ICML 2021, section 3.3 (the limit).
    """
    bases = [positive(name, base) for name, base in (("alpha", alpha), ("beta", beta), ("gamma", gamma))]
    exponents = [finite("phi", value) for value in _three(phi)]
    try:
        depth, width, resolution = (base**exponent for base, exponent in zip(bases, exponents, strict=True))
    except OverflowError as error:
        raise ValueError(f"phi: {phi!r} overflows a scaling factor with bases {bases}") from error
    if 0.0 in (depth, width, resolution):
        raise ValueError(f"phi: {phi!r} makes a scaling factor 0 with bases {bases}; expected one nearer to 0")
    if max_resolution is not None:
        resolution = min(resolution, positive("max_resolution", max_resolution))
    return Scaling(depth, width, resolution)


def round_channels(channels: float) -> int:
    """Round a width to the nearest multiple of 8 (halves up), at least 8, or to the next where that loses over 10 %."""
    rounded = max(CHANNEL_DIVISOR, int(channels + CHANNEL_DIVISOR / 2) // CHANNEL_DIVISOR * CHANNEL_DIVISOR)
    return rounded + CHANNEL_DIVISOR if rounded < 0.9 * channels else rounded


def round_depth(blocks: float) -> int:
    """Round a number of blocks up, forgiving what floating point adds: 2 blocks times sqrt(2)**2 are 4, not 5."""
    return max(1, math.ceil(blocks * (1 - 1e-12)))


def round_resolution(side: float) -> int:
    """Round the side of an image to the nearest pixel (halves up), at least 1."""
    return max(1, math.floor(side + 0.5))


def _three(phi: object) -> tuple[object, object, object]:
    """One exponent for each dimension."""
    if isinstance(phi, Real):
        return phi, phi, phi
    if isinstance(phi, str) or not isinstance(phi, Sequence):
        raise TypeError(f"phi: expected a number or three numbers (depth, width, resolution), got {phi!r}")
    if len(phi) != 3:
        raise ValueError(f"phi: expected one number or three (depth, width, resolution), got {len(phi)}: {phi!r}")
    return phi[0], phi[1], phi[2]


def finite(name: str, value: object) -> float:
    """``value`` as a float; raise unless it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {value!r}")
    return number


def positive(name: str, value: object) -> float:
    """``value`` as a float; raise unless it is a positive, finite number."""
    number = finite(name, value)
    if number <= 0:
        raise ValueError(f"{name}: expected a positive number, got {value!r}")
    return number
