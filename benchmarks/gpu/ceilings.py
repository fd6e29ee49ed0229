"""What the device can do at best, measured, and the least time that a problem can take under it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.gpu.rivals import tensor_float32
from benchmarks.gpu.stopwatch import Stopwatch
from benchmarks.racing import Timing

_BYTES = {"cuda": 4 << 30, "cpu": 1 << 16}  # of a buffer: far more than any cache
_SIDE = {"cuda": 8192, "cpu": 32}  # of the square matrices


@dataclass(frozen=True)
class Floor:
    """The least time a problem can take: its bytes at the bandwidth, or its operations at their rate."""

    seconds: float
    bound: str  # "memory" or "arithmetic"


@dataclass(frozen=True)
class Ceilings:
    """Measured rates: bytes a second, and floating-point operations a second by type of operand."""

    copy: float  # read and written bytes both count
    read: float
    bf16: float
    tf32: float
    float64: float

    def floor(self, moved: int, operations: int, rate: str) -> Floor:
        """Return the floor of a problem.

        Args:
            moved: Bytes that must be moved, each input read once and each output written once.
            operations: Floating-point operations.
            rate: Which units do them: "bf16", "tf32" or "float64".
        """
        memory, arithmetic = moved / max(self.copy, self.read), operations / getattr(self, rate)
        return Floor(memory, "memory") if memory >= arithmetic else Floor(arithmetic, "arithmetic")


def measure(device: str, stopwatch: Stopwatch) -> tuple[Ceilings, dict[str, Timing]]:
    """Return the ceilings of the device, and the timings they come from."""
    bandwidths, size = _bandwidths(device, stopwatch)
    products, operations = _products(device, stopwatch)
    timings = bandwidths | products
    best = {name: timing.quantile(0.2) for name, timing in timings.items()}
    rates = {name: operations / best[name] for name in products}
    return Ceilings(copy=2 * size / best["copy"], read=size / best["read"], **rates), timings


def _bandwidths(device: str, stopwatch: Stopwatch) -> tuple[dict[str, Timing], int]:
    """Return the times of copying a large buffer and of reading it, and its bytes."""
    source = torch.randn(_BYTES[device] // 4, device=device)
    target = torch.empty_like(source)
    return stopwatch.race({"copy": lambda: target.copy_(source), "read": lambda: source.sum()}), source.nbytes


def _products(device: str, stopwatch: Stopwatch) -> tuple[dict[str, Timing], int]:
    """Return the times of a large square product by type, and its operations. Random numbers: zeros are faster."""
    side = _SIDE[device]
    wide = [torch.randn(side, side, device=device, dtype=torch.float64) for _ in range(2)]
    single, half = [a.float() for a in wide], [a.bfloat16() for a in wide]
    timings = stopwatch.race(
        {
            "bf16": lambda: half[0] @ half[1],
            "tf32": tensor_float32(lambda: single[0] @ single[1]),
            "float64": lambda: wide[0] @ wide[1],
        }
    )
    return timings, 2 * side**3
