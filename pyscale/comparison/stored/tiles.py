"""Exact comparisons whose co-moments don't fit at once: layers by layers, as many as do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from pyscale.comparison.memory import format_size
from pyscale.comparison.options import Options
from pyscale.metrics import bytes_needed
from pyscale.stores.store import StoredLayer


class Block(NamedTuple):
    """Layers that are compared in one pass; ``columns`` is None for the rows with themselves."""

    rows: list[StoredLayer]
    columns: list[StoredLayer] | None


def exact_blocks(
    rows: Sequence[StoredLayer],
    columns: Sequence[StoredLayer] | None,
    options: Options,
    batch: int,
    memory: int,
    labels: tuple[str, str],
) -> list[Block]:
    """Return blocks that together are all pairs of layers, each of which fits.

    Args:
        rows: Layers of the first store.
        columns: Of the second; None for the first with itself.
        options: What is computed.
        batch: Samples that are read at once.
        memory: Bytes that co-moments and what is read may take.
        labels: What errors call the stores.

    Raises:
        ValueError: Two layers alone don't fit.
    """
    block = Block(list(rows), None if columns is None else list(columns))
    if block_bytes(block, options, batch) <= memory:
        return [block]
    if len(rows) == 1 and (columns is None or len(columns) == 1):
        raise ValueError(_too_large(block, options, batch, memory, labels))
    if columns is None:  # two sets from here on, of which each half is seen with all
        columns = rows
    if len(rows) == 1 or (len(columns) > 1 and _sum(columns, options) > _sum(rows, options)):
        parts = [(rows, half) for half in _halves(columns)]
    else:
        parts = [(half, columns) for half in _halves(rows)]
    return [
        found
        for part_rows, part_columns in parts
        for found in exact_blocks(part_rows, part_columns, options, batch, memory, labels)
    ]


def block_bytes(block: Block, options: Options, batch: int) -> int:
    """Return the bytes that a block's co-moments and one batch of its layers take."""
    rows, columns = block
    sizes = [compared_features(layer, options) for layer in rows]
    sizes_y = None if columns is None else [compared_features(layer, options) for layer in columns]
    layers = [*rows, *(columns or [])]
    read = batch * (sum(layer.row_bytes for layer in layers) + 2 * max(layer.row_bytes for layer in layers))
    return bytes_needed(sizes, sizes_y) + read


def compared_features(layer: StoredLayer, options: Options) -> int:
    """Return the columns of a layer's matrix: all its features, or its channels."""
    own = layer.shape[1:]
    if options.features == "flatten" or len(own) < 2:
        return layer.features
    return own[-1] if len(own) == 2 else own[0]


def _sum(layers: Sequence[StoredLayer], options: Options) -> int:
    return sum(compared_features(layer, options) for layer in layers)


def _halves(layers: Sequence[StoredLayer]) -> tuple[Sequence[StoredLayer], Sequence[StoredLayer]]:
    middle = math.ceil(len(layers) / 2)
    return layers[:middle], layers[middle:]


def _too_large(block: Block, options: Options, batch: int, memory: int, labels: tuple[str, str]) -> str:
    rows, columns = block
    pair = [(rows[0], labels[0]), *([(columns[0], labels[1])] if columns else [])]
    described = " and ".join(
        f"{layer.name!r} of {label} ({compared_features(layer, options)} features)" for layer, label in pair
    )
    return (
        f"mode 'exact' keeps co-moments of every pair of layers; those of {described} take "
        f"{format_size(block_bytes(block, options, batch))} where memory allows {format_size(memory)}; use "
        f"features='pool', other layers, a larger memory=, or (for unbiased CKA) mode='minibatch', "
        f"which with batch_size={rows[0].samples} is the same number"
    )
