"""Forward passes of an extraction on other processes: they compute batches, and rank 0 writes all of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyscale.comparison.batches import count_samples
from pyscale.comparison.features import pool
from pyscale.comparison.sides import Side
from pyscale.distributed import Crew
from pyscale.stores.zarr_reader import TYPES


class Known(NamedTuple):
    """What an interrupted run left."""

    samples: int  # first ones that need no forward pass
    batches: int  # first ones that are recorded

    def needs(self, number: int, before: int, samples: int | None) -> bool:
        """Return whether a batch must be computed.

        Args:
            number: Of the batch.
            before: Samples in the batches before it.
            samples: In the batch; None where that isn't known before its activations are.
        """
        return samples is None or before + samples > self.samples or number >= self.batches


def compute_share(
    crew: Crew,
    side: Side,
    loader: Iterable[Any],
    max_batches: int | None,
    known: Known,
    *,
    device: torch.device,
    pooled: bool,
) -> None:
    """Compute this rank's batches of W, r, r + W, ..., and hand each to rank 0, which is not this one."""
    before = 0
    with side.tap:
        for number, batch in enumerate(islice(loader, max_batches)):
            crew.check()
            samples = count_samples(batch)
            if number % crew.size == crew.rank and known.needs(number, before, samples):
                found: dict[str, Tensor] = {}

                def take(row: str, activation: Tensor, found: dict[str, Tensor] = found) -> None:
                    found[row] = stored_form(row, activation, pooled=pooled)

                with side.tap.recording(take, number, samples):
                    side.call(batch, device)
                handed = {"activations": found, "skipped": dict(side.tap.skipped), "samples": side.tap.samples}
                crew.give(handed, 0, f"batch {number}")
            before += samples or 0


def stored_form(row: str, activation: Tensor, *, pooled: bool) -> Tensor:
    """Return what is stored of a layer's activation, in memory of its own on the CPU."""
    rows = pool(activation) if pooled else activation
    if rows.dtype not in TYPES.values():
        raise ValueError(f"layer {row!r} has dtype {rows.dtype}; a store takes {', '.join(TYPES)}")
    return torch.empty(rows.shape, dtype=rows.dtype).copy_(rows)
