"""Exact comparisons of many stores whose co-moments don't fit at once: two stores after two stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from os import PathLike
from typing import Any

from pyscale.comparison.options import Options, Pair
from pyscale.comparison.result import Comparison
from pyscale.comparison.stored.checkpoint import Checkpoint, is_final
from pyscale.comparison.stored.engine import compare_pair, describe_stores, exact_plan
from pyscale.comparison.stored.sides import StoredSide
from pyscale.comparison.stored.tiles import Block, block_bytes
from pyscale.distributed import Crew


def fit_at_once(sides: Sequence[StoredSide], options: Options, batch_size: int, budget: int) -> bool:
    """Return whether the co-moments of all layers of all stores, and a batch of them, fit in so many bytes."""
    layers = [layer for side in sides for layer in side.layers]
    return block_bytes(Block(layers, None), options, batch_size) <= budget


def compare_pair_by_pair(
    sides: Sequence[StoredSide],
    pairs: Sequence[Pair],
    options: Options,
    *,
    batch_size: int,
    budget: int,
    cache: str | PathLike[str] | None,
    resume: bool,
    progress: bool,
    crew: Crew,
) -> dict[Pair, Comparison]:
    """Compare aligned stores in mode "exact", each read with every other; ``budget`` bytes may be taken.

    What pairs have given is kept with the state of a comparison under way, by rank 0.

    Raises:
        ValueError: Two layers alone don't fit, which is said before anything is read.
    """
    blocks = {(i, j): len(exact_plan(*_stores_of(sides, i, j), options, batch_size, budget)) for i, j in pairs}
    described = {**describe_stores(sides), "options": asdict(replace(options, memory=None)), "batch_size": batch_size}
    kept = Checkpoint(cache, {"pair by pair": [[*pair] for pair in pairs], **described}, resume=resume and crew.first)
    done: dict[Pair, Comparison] = _read(crew.broadcast(kept.load() if crew.first else None))
    for pair in pairs:
        if pair in done:
            continue
        try:
            done[pair] = compare_pair(
                *_stores_of(sides, *pair),
                options,
                batch_size=batch_size,
                budget=budget,
                cache=cache,
                resume=resume,
                progress=progress,
                crew=crew,
            )
        except BaseException as error:
            if crew.first and is_final(error):
                kept.remove()
            elif crew.first and done:
                kept.save(_written(done))
            raise
        if crew.first and kept.due:
            kept.save(_written(done))
    if crew.first:
        kept.remove()
    reads = [sum(count for pair, count in blocks.items() if side in pair) for side in range(len(sides))]
    return {
        (i, j): replace(found, meta={**found.meta, "reads": max(reads[i], reads[j])}) for (i, j), found in done.items()
    }


def _stores_of(sides: Sequence[StoredSide], i: int, j: int) -> tuple[StoredSide, StoredSide | None]:
    return sides[i], None if i == j else sides[j]


def _written(done: dict[Pair, Comparison]) -> dict[str, Any]:
    return {"done": [[*pair, found.state()] for pair, found in done.items()]}


def _read(state: dict[str, Any] | None) -> dict[Pair, Comparison]:
    return {(i, j): Comparison.from_state(found) for i, j, found in (state or {"done": []})["done"]}
