"""TinyNet A to E: EfficientNet-B0 made smaller, resolution and depth shrinking less than width.

They are :class:`~pyscale.models.efficientnet.EfficientNet` networks with its module names and regularisation. Their
depth is *rounded*, where other families round it up, and stem and head stay as wide as B0's. Scaled further, they
follow the rules of :func:`pyscale.models.build`; the head is never narrower than B0's.

References:
    Han, Wang, Zhang, Zhang, Xu and Zhang, "Model Rubik's Cube: Twisting Resolution, Depth and Width for TinyNets",
    NeurIPS 2020.
"""

from __future__ import annotations

from dataclasses import replace

from pyscale.models.efficientnet import EFFICIENTNETS, EfficientNetArchitecture
from pyscale.models.scaling import round_channels

_B0 = EFFICIENTNETS["efficientnet_b0"]


def _shrunk(width: float, depth: float, image_size: int) -> EfficientNetArchitecture:
    """B0 under published coefficients."""
    stages = tuple(
        replace(
            stage,
            channels=round_channels(stage.channels * width),
            blocks=max(1, round(stage.blocks * depth)),
        )
        for stage in _B0.stages
    )
    return replace(_B0, stages=stages, least_head=_B0.head, image_size=image_size)


TINYNETS = {
    "tinynet_a": _shrunk(1.0, 1.2, 192),
    "tinynet_b": _shrunk(0.75, 1.1, 188),
    "tinynet_c": _shrunk(0.54, 0.85, 184),
    "tinynet_d": _shrunk(0.54, 0.695, 152),
    "tinynet_e": _shrunk(0.51, 0.6, 106),
}
