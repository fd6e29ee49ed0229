"""Keys and shapes of the published checkpoints, written out from their layouts: torchvision's where it has one.

The CIFAR ResNets' is akamaster's, MobileNetV1's marvis/pytorch-mobilenet's, ResNet-RS's timm's, TinyNet's that of B0.

Each function yields ``(key, shape)`` in state-dict order. Nothing here comes from the package under test.
"""

from __future__ import annotations

from collections.abc import Iterator

Entry = tuple[str, tuple[int, ...]]


def norm(key: str, channels: int) -> Iterator[Entry]:
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"{key}.{name}", (channels,)
    yield f"{key}.num_batches_tracked", ()


def conv(key: str, out: int, into: int, kernel: int, *, bias: bool = False) -> Iterator[Entry]:
    yield f"{key}.weight", (out, into, kernel, kernel)
    if bias:
        yield f"{key}.bias", (out,)


def linear(key: str, out: int, into: int) -> Iterator[Entry]:
    yield f"{key}.weight", (out, into)
    yield f"{key}.bias", (out,)


def resnet(blocks: tuple[int, ...], *, bottleneck: bool) -> Iterator[Entry]:
    yield from conv("conv1", 64, 3, 7)
    yield from norm("bn1", 64)
    channels = 64
    for stage, (count, planes) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), start=1):
        out = planes * 4 if bottleneck else planes
        for block in range(count):
            key = f"layer{stage}.{block}"
            shapes = (
                [(planes, channels, 1), (planes, planes, 3), (out, planes, 1)]
                if bottleneck
                else [(planes, channels, 3), (planes, planes, 3)]
            )
            for index, shape in enumerate(shapes, start=1):
                yield from conv(f"{key}.conv{index}", *shape)
                yield from norm(f"{key}.bn{index}", shape[0])
            if block == 0 and (stage > 1 or out != channels):
                yield from conv(f"{key}.downsample.0", out, channels, 1)
                yield from norm(f"{key}.downsample.1", out)
            channels = out
    yield from linear("fc", 1000, channels)


def resnet_rs(blocks: tuple[int, ...]) -> Iterator[Entry]:
    for index, (out, into) in enumerate(((32, 3), (32, 32))):
        yield from conv(f"conv1.{3 * index}", out, into, 3)
        yield from norm(f"conv1.{3 * index + 1}", out)
    yield from conv("conv1.6", 64, 32, 3)
    yield from norm("bn1", 64)
    yield from conv("maxpool.0", 64, 64, 3)
    yield from norm("maxpool.1", 64)
    channels = 64
    for stage, (count, planes) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), start=1):
        out = planes * 4
        for block in range(count):
            key = f"layer{stage}.{block}"
            for index, shape in enumerate(((planes, channels, 1), (planes, planes, 3), (out, planes, 1)), start=1):
                yield from conv(f"{key}.conv{index}", *shape)
                yield from norm(f"{key}.bn{index}", shape[0])
            yield from conv(f"{key}.se.fc1", planes, out, 1, bias=True)
            yield from conv(f"{key}.se.fc2", out, planes, 1, bias=True)
            if block == 0:
                yield from conv(f"{key}.downsample.1", out, channels, 1)
                yield from norm(f"{key}.downsample.2", out)
            channels = out
    yield from linear("fc", 1000, channels)


def cifar_resnet(depth: int) -> Iterator[Entry]:
    yield from conv("conv1", 16, 3, 3)
    yield from norm("bn1", 16)
    channels = 16
    for stage, planes in enumerate((16, 32, 64), start=1):
        for block in range((depth - 2) // 6):
            for index in (1, 2):
                yield from conv(f"layer{stage}.{block}.conv{index}", planes, channels, 3)
                yield from norm(f"layer{stage}.{block}.bn{index}", planes)
                channels = planes
    yield from linear("linear", 10, 64)


def mobilenet_v1() -> Iterator[Entry]:
    yield from conv("model.0.0", 32, 3, 3)
    yield from norm("model.0.1", 32)
    channels = 32
    for index, out in enumerate([64, 128, 128, 256, 256] + 6 * [512] + 2 * [1024], start=1):
        yield from conv(f"model.{index}.0", channels, 1, 3)
        yield from norm(f"model.{index}.1", channels)
        yield from conv(f"model.{index}.3", out, channels, 1)
        yield from norm(f"model.{index}.4", out)
        channels = out
    yield from linear("fc", 1000, 1024)


def mobilenet_v2() -> Iterator[Entry]:
    yield from conv("features.0.0", 32, 3, 3)
    yield from norm("features.0.1", 32)
    widths = [16] + 2 * [24] + 3 * [32] + 4 * [64] + 3 * [96] + 3 * [160] + [320]
    channels = 32
    for index, out in enumerate(widths, start=1):
        key, part, hidden = f"features.{index}.conv", 0, channels
        if index > 1:
            hidden = 6 * channels
            yield from conv(f"{key}.0.0", hidden, channels, 1)
            yield from norm(f"{key}.0.1", hidden)
            part = 1
        yield from conv(f"{key}.{part}.0", hidden, 1, 3)
        yield from norm(f"{key}.{part}.1", hidden)
        yield from conv(f"{key}.{part + 1}", out, hidden, 1)
        yield from norm(f"{key}.{part + 2}", out)
        channels = out
    yield from conv("features.18.0", 1280, 320, 1)
    yield from norm("features.18.1", 1280)
    yield from linear("classifier.1", 1000, 1280)


# kernel, channels inside, channels outside, channels squeezed to (0: no squeeze and excitation)
V3_SMALL = [
    (3, 16, 16, 8),
    (3, 72, 24, 0),
    (3, 88, 24, 0),
    (5, 96, 40, 24),
    (5, 240, 40, 64),
    (5, 240, 40, 64),
    (5, 120, 48, 32),
    (5, 144, 48, 40),
    (5, 288, 96, 72),
    (5, 576, 96, 144),
    (5, 576, 96, 144),
]
V3_LARGE = [
    (3, 16, 16, 0),
    (3, 64, 24, 0),
    (3, 72, 24, 0),
    (5, 72, 40, 24),
    (5, 120, 40, 32),
    (5, 120, 40, 32),
    (3, 240, 80, 0),
    (3, 200, 80, 0),
    (3, 184, 80, 0),
    (3, 184, 80, 0),
    (3, 480, 112, 120),
    (3, 672, 112, 168),
    (5, 672, 160, 168),
    (5, 960, 160, 240),
    (5, 960, 160, 240),
]


def mobilenet_v3(blocks: list[tuple[int, int, int, int]], head: int) -> Iterator[Entry]:
    yield from conv("features.0.0", 16, 3, 3)
    yield from norm("features.0.1", 16)
    channels = 16
    for index, (kernel, hidden, out, squeezed) in enumerate(blocks, start=1):
        key, part = f"features.{index}.block", 0
        if hidden != channels:
            yield from conv(f"{key}.0.0", hidden, channels, 1)
            yield from norm(f"{key}.0.1", hidden)
            part = 1
        yield from conv(f"{key}.{part}.0", hidden, 1, kernel)
        yield from norm(f"{key}.{part}.1", hidden)
        if squeezed:
            part += 1
            yield from conv(f"{key}.{part}.fc1", squeezed, hidden, 1, bias=True)
            yield from conv(f"{key}.{part}.fc2", hidden, squeezed, 1, bias=True)
        yield from conv(f"{key}.{part + 1}.0", out, hidden, 1)
        yield from norm(f"{key}.{part + 1}.1", out)
        channels = out
    last = len(blocks) + 1
    yield from conv(f"features.{last}.0", 6 * channels, channels, 1)
    yield from norm(f"features.{last}.1", 6 * channels)
    yield from linear("classifier.0", head, 6 * channels)
    yield from linear("classifier.3", 1000, head)


def efficientnet(stem: int, widths: tuple[int, ...], blocks: tuple[int, ...], least_head: int = 0) -> Iterator[Entry]:
    yield from conv("features.0.0", stem, 3, 3)
    yield from norm("features.0.1", stem)
    channels = stem
    for stage, (out, count, kernel) in enumerate(zip(widths, blocks, (3, 3, 5, 3, 5, 5, 3), strict=True), start=1):
        for block in range(count):
            key, part, hidden = f"features.{stage}.{block}.block", 0, channels
            if stage > 1:
                hidden = 6 * channels
                yield from conv(f"{key}.0.0", hidden, channels, 1)
                yield from norm(f"{key}.0.1", hidden)
                part = 1
            yield from conv(f"{key}.{part}.0", hidden, 1, kernel)
            yield from norm(f"{key}.{part}.1", hidden)
            yield from conv(f"{key}.{part + 1}.fc1", channels // 4, hidden, 1, bias=True)
            yield from conv(f"{key}.{part + 1}.fc2", hidden, channels // 4, 1, bias=True)
            yield from conv(f"{key}.{part + 2}.0", out, hidden, 1)
            yield from norm(f"{key}.{part + 2}.1", out)
            channels = out
    head = max(4 * channels, least_head)
    yield from conv("features.8.0", head, channels, 1)
    yield from norm("features.8.1", head)
    yield from linear("classifier.1", 1000, head)


B0_WIDTHS, B0_BLOCKS = (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)
B4_WIDTHS, B4_BLOCKS = (24, 32, 56, 112, 160, 272, 448), (2, 4, 4, 6, 6, 8, 2)
B7_WIDTHS, B7_BLOCKS = (32, 48, 80, 160, 224, 384, 640), (4, 7, 7, 10, 10, 13, 4)
TINY_C_WIDTHS, TINY_C_BLOCKS = (8, 16, 24, 40, 64, 104, 176), (1, 2, 2, 3, 3, 3, 1)


def layout(name: str) -> list[Entry]:
    """Keys and shapes of a published network."""
    by_name = {
        "resnet18": lambda: resnet((2, 2, 2, 2), bottleneck=False),
        "resnet34": lambda: resnet((3, 4, 6, 3), bottleneck=False),
        "resnet50": lambda: resnet((3, 4, 6, 3), bottleneck=True),
        "resnet101": lambda: resnet((3, 4, 23, 3), bottleneck=True),
        "resnet152": lambda: resnet((3, 8, 36, 3), bottleneck=True),
        "resnet_rs50_160": lambda: resnet_rs((3, 4, 6, 3)),
        "resnet_rs200_256": lambda: resnet_rs((3, 24, 36, 3)),
        "cifar_resnet20": lambda: cifar_resnet(20),
        "cifar_resnet110": lambda: cifar_resnet(110),
        "mobilenet_v1": mobilenet_v1,
        "mobilenet_v2": mobilenet_v2,
        "mobilenet_v3_small": lambda: mobilenet_v3(V3_SMALL, 1024),
        "mobilenet_v3_large": lambda: mobilenet_v3(V3_LARGE, 1280),
        "efficientnet_b0": lambda: efficientnet(32, B0_WIDTHS, B0_BLOCKS),
        "efficientnet_b4": lambda: efficientnet(48, B4_WIDTHS, B4_BLOCKS),
        "efficientnet_b7": lambda: efficientnet(64, B7_WIDTHS, B7_BLOCKS),
        "tinynet_c": lambda: efficientnet(32, TINY_C_WIDTHS, TINY_C_BLOCKS, least_head=1280),
    }
    return list(by_name[name]())


LAYOUTS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet_rs50_160",
    "resnet_rs200_256",
    "cifar_resnet20",
    "cifar_resnet110",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "efficientnet_b4",
    "efficientnet_b7",
    "tinynet_c",
)
