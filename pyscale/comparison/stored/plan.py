"""What is read when, so that the memory given is enough."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pyscale.comparison.memory import format_size
from pyscale.comparison.options import Options
from pyscale.comparison.stored.sides import StoredSide
from pyscale.stores.store import StoredLayer
from pyscale.stores.zarr_reader import KEPT_BYTES

_LEAST_SHARE = 0.5  # of the memory given that is left to the comparison, however large the process is already
_GRAMS = 3  # copies of a batch's packed Grams: by layers, in rows, and what is multiplied
_CHUNKS = 64 * 2**20  # for chunks that are being decoded


class Piece(NamedTuple):
    """Part of a batch: some features of some samples of a layer."""

    side: int
    layer: StoredLayer
    start: int
    stop: int
    columns: slice | None  # None: all of them
    last: bool  # of the layer in this batch


class Plan(NamedTuple):
    """How a comparison reads.

    Attributes:
        buffer_bytes: Of one buffer.
        buffers: How many of them.
        reads: How often the layers that are read most are read.
    """

    buffer_bytes: int
    buffers: int
    reads: int


def left_for_comparison(memory: int) -> int:
    """Return what of the memory given is left beside what the process takes already, at least half."""
    return int(max(memory - _resident(), memory * _LEAST_SHARE))


def plan_batches(sides: Sequence[StoredSide], options: Options, batch: int, memory: int) -> Plan:
    """Return how batches of so many samples are read for their Grams.

    Args:
        sides: The stores.
        options: What is computed.
        batch: Samples in a batch, where there are so many.
        memory: Bytes that buffers and Grams may take.

    Raises:
        ValueError: Not even one feature of every sample fits, or a kernel that needs all features at once doesn't.
    """
    batch = min(batch, sides[0].store.samples)
    layers = [layer for side in sides for layer in side.layers]
    itemsize = max(8 if layer.dtype.itemsize == 8 else 4 for layer in layers)
    grams = _GRAMS * len(layers) * batch * (batch - 1) // 2 * itemsize
    room = memory - grams - min(_CHUNKS + KEPT_BYTES * len(layers), memory // 8)
    widest = max(layers, key=lambda layer: layer.row_bytes)
    if options.features == "pool":
        least = max(layer.row_bytes for layer in layers)
        needed = min(batch * least, max(least, room // 2))
    else:
        needed = batch * widest.row_bytes
    if 2 * needed <= room:
        return Plan(needed, 2, 1)
    if needed <= room:
        return Plan(needed, 1, 1)
    if room < 2 * 8 * batch or options.features == "pool" or options.kernel != "linear":
        raise ValueError(
            f"batches of {batch} samples of {len(layers)} layers take {format_size(grams)} for their Grams and "
            f"{format_size(needed)} for layer {widest.name!r} ({widest.features} features), and memory leaves "
            f"{format_size(max(memory, 0))}; use a smaller batch_size, fewer layers, or a larger memory="
        )
    return Plan(room // 2, 2, -(-needed // (room // 2)))


def pieces(sides: Sequence[StoredSide], start: int, stop: int, plan: Plan, *, whole_rows: bool) -> Iterator[Piece]:
    """Yield what is read of one batch, layer by layer; of layers wider than a buffer some features at a time.

    Args:
        sides: The stores.
        start: The batch's first sample.
        stop: One past its last.
        plan: What fits.
        whole_rows: Whether all features of a sample are needed at once, as for pooling.
    """
    for place, side in enumerate(sides):
        for layer in side.layers:
            width = plan.buffer_bytes // ((stop - start) * layer.dtype.itemsize)
            if whole_rows or width >= layer.features:
                yield Piece(place, layer, start, stop, None, last=True)
                continue
            for low in range(0, layer.features, width):
                high = min(low + width, layer.features)
                yield Piece(place, layer, start, stop, slice(low, high), last=high == layer.features)


def _resident() -> int:
    """Return the bytes of memory that this process has."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):  # no Linux: what Python and torch take when they are loaded
        return 384 * 2**20
    return pages * os.sysconf("SC_PAGE_SIZE")
