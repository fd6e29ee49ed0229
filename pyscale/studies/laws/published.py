"""Accuracies that others measured on ImageNet, of networks scaled in several dimensions: laws are tested on them."""

from __future__ import annotations

from itertools import product

from pyscale.studies.laws.tables import NetworkTable

_SIDE = 224  # pixels, at which every base network here was published


def _table(
    name: str, source: str, *rows: tuple[float, float, float, float, float], counted_as: str | None = None
) -> NetworkTable:
    """Make a table of rows (depth, width, side in pixels, top-1 in percent, millions of multiply-accumulates)."""
    depth, width, side, top1, millions = zip(*rows, strict=True)
    return NetworkTable(
        name,
        source,
        depth,
        width,
        tuple(pixels / _SIDE for pixels in side),
        tuple(round(percent / 100, 6) for percent in top1),
        tuple(million * 1e6 for million in millions),
        counted_as,
    )


_V1_TOP1 = (70.9, 70.0, 68.0, 65.2, 68.4, 67.2, 65.3, 62.1, 63.3, 61.7, 59.1, 56.3, 49.8, 47.7, 45.5, 41.5)
_V1_MACS = (569, 418, 291, 186, 317, 233, 162, 104, 150, 110, 77, 49, 41, 34, 21, 14)

MOBILENET_V1 = _table(
    "MobileNetV1",
    "tensorflow/models, research/slim/nets/mobilenet_v1.md, MACs as printed (for width 0.75 at 224 px 325 million are "
    "counted)",
    *(
        (1, width, side, top1, macs)
        for (width, side), top1, macs in zip(
            product((1.0, 0.75, 0.5, 0.25), (224, 192, 160, 128)), _V1_TOP1, _V1_MACS, strict=True
        )
    ),
)

_V2_TOP1 = (
    *(71.8, 70.7, 68.8, 65.3, 60.3),
    *(69.8, 68.7, 66.4, 63.2, 58.8),
    *(65.4, 63.9, 61.0, 57.7, 51.2),
    *(60.3, 58.2, 55.7, 50.8, 45.5),
)
_V2_MACS = (300, 221, 154, 99, 56, 209, 153, 107, 69, 39, 97, 71, 50, 32, 18, 59, 43, 30, 20, 11)

MOBILENET_V2 = _table(
    "MobileNetV2",
    "tensorflow/models, research/slim/nets/mobilenet/README.md, MACs as printed",
    (1, 1.4, 224, 75.0, 582),
    (1, 1.3, 224, 74.4, 509),
    *(
        (1, width, side, top1, macs)
        for (width, side), top1, macs in zip(
            product((1.0, 0.75, 0.5, 0.35), (224, 192, 160, 128, 96)), _V2_TOP1, _V2_MACS, strict=True
        )
    ),
)

MOBILENET_V2_SCALED_UP = _table(
    "MobileNetV2 scaled up",
    "Tan and Le 2019, table 3; MACs counted",
    (1, 1, 224, 72.0, 300.774272),
    (4, 1, 224, 76.8, 1219.587776),
    (1, 2, 224, 76.4, 1137.428224),
    (1, 1, 448, 74.8, 1199.257088),
    counted_as="mobilenet_v2",
)

EFFICIENTNET = _table(
    "EfficientNet B0 to B7",
    "Tan and Le 2019, table 2; MACs counted",
    (1.0, 1.0, 224, 77.1, 385.814752),
    (1.1, 1.0, 240, 79.1, 686.802832),
    (1.2, 1.1, 260, 80.1, 993.561872),
    (1.4, 1.2, 300, 81.6, 1827.141392),
    (1.8, 1.4, 380, 82.9, 4393.771024),
    (2.2, 1.6, 456, 83.6, 10266.384752),
    (2.6, 1.8, 528, 84.0, 19067.593536),
    (3.1, 2.0, 600, 84.3, 37745.884192),
    counted_as="efficientnet_b0",
)

EFFICIENTNET_ONE_BY_ONE = _table(
    "EfficientNet B0 in one dimension at a time",
    "Tan and Le 2019, table 7; MACs counted (the printed ones fit other coefficients)",
    (1, 1, 224, 77.3, 385.814752),
    (4, 1, 224, 79.0, 1575),
    (1, 2, 224, 78.9, 1450),
    (1, 1, 448, 79.1, 1538),
    (1.4, 1.2, 291.2, 81.1, 1800),
    counted_as="efficientnet_b0",
)

EFFICIENTNET_TOGETHER = EFFICIENTNET.joined(EFFICIENTNET_ONE_BY_ONE, "EfficientNet, all 13 networks")

PUBLISHED = {
    "mobilenet_v1": MOBILENET_V1,
    "mobilenet_v2": MOBILENET_V2,
    "mobilenet_v2_scaled_up": MOBILENET_V2_SCALED_UP,
    "efficientnet": EFFICIENTNET,
    "efficientnet_one_by_one": EFFICIENTNET_ONE_BY_ONE,
    "efficientnet_together": EFFICIENTNET_TOGETHER,
}
"""All tables by name."""
