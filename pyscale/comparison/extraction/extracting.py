"""Running a model over data and writing what its layers give, batch by batch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyscale.comparison.batches import count_batches, count_samples
from pyscale.comparison.extraction.digests import batch_digest
from pyscale.comparison.extraction.gathered_ids import GatheredIds
from pyscale.comparison.extraction.sharing import Known, stored_form
from pyscale.comparison.sides import Side
from pyscale.distributed import Crew
from pyscale.metrics.validity import describe_nonfinite
from pyscale.stores.writing_thread import WritingThread
from pyscale.stores.zarr_writer import Progress, StoreWriter

_OTHER_INPUTS = (
    "the loader gives other samples, or other batches of them, than the interrupted run saw; a run is taken up with "
    "the same loader in the same order (no shuffling, no random augmentation), or begun anew with resume=False"
)


class Extraction:
    """An extraction under way.

    Args:
        writer: The store.
        side: The model.
        features: "flatten" or "pool".
        device: Where the model runs.
        ids: Of the samples.
        crew: The processes that compute batches; this one, rank 0, writes. None is this one alone.
    """

    def __init__(
        self,
        writer: StoreWriter,
        side: Side,
        *,
        features: str,
        device: torch.device,
        ids: GatheredIds,
        crew: Crew | None = None,
    ) -> None:
        self._ids = ids
        self._writer, self._side = writer, side
        self._pooled, self._device = features == "pool", device
        self._before = writer.progress  # of the interrupted run
        self._crew = crew or Crew()
        self.known = Known(writer.resumable, 0 if self._before is None else self._before.batches)
        self._there: dict[str, int] = {}  # samples of each layer that are written already
        self._samples, self._digest, self._first = 0, "", ""
        self._rows: list[str] | None = None  # of the first batch that ran

    def over(self, loader: Iterable[Any], max_batches: int | None, *, progress: bool) -> None:
        """Write everything the loader gives.

        Raises:
            ValueError: There is nothing, or something that can't be stored.
        """
        total = count_batches(loader, max_batches)
        name = f"{type(self._side.inner).__name__} -> store"
        batches = 0
        with (
            WritingThread() as thread,
            self._side.tap,
            tqdm(total=total, desc=name, unit="batch", disable=not progress) as bar,
        ):
            for number, batch in enumerate(islice(loader, max_batches)):
                self._add(number, batch, thread)
                batches += 1
                bar.update()
        if batches == 0:
            raise ValueError("loader is empty; expected at least one batch")
        if self._before is not None and batches < self._before.batches:
            raise ValueError(f"the loader ended after {batches} batches: {_OTHER_INPUTS}")

    def _add(self, number: int, batch: Any, thread: WritingThread) -> None:
        samples = count_samples(batch)
        if samples is not None:
            self._ids.see(number, batch, self._samples, samples)
        self._digest = batch_digest(self._digest, batch)
        self._first = self._first or self._digest
        if self.known.needs(number, self._samples, samples):
            mine = number % self._crew.size == 0
            found = self._forward(number, batch, samples, thread) if mine else self._receive(number, thread)
            if samples is None:
                self._ids.see(number, batch, self._samples, found)
            samples = found
        self._samples += samples or 0
        progress = Progress(number + 1, self._samples, self._digest, self._first)
        if self._known(number):
            self._check_inputs(progress)
        else:
            thread.put(0, partial(self._writer.record, progress))

    def _forward(self, number: int, batch: Any, samples: int | None, thread: WritingThread) -> int:
        tap = self._side.tap
        with tap.recording(partial(self._take, number, thread), number, samples):
            self._side.call(batch, self._device)
        self._fix_layers(list(tap.rows), dict(tap.skipped), thread)
        return tap.samples or 0

    def _receive(self, number: int, thread: WritingThread) -> int:
        """Take a batch that another rank has computed; return how many samples it has."""
        handed = self._crew.take(number % self._crew.size, f"batch {number}")
        for row, rows in handed["activations"].items():
            self._put(number, thread, row, rows[self._there_of(row, len(rows)) :])
        self._fix_layers(list(handed["activations"]), handed["skipped"], thread)
        return int(handed["samples"] or 0)

    def _take(self, number: int, thread: WritingThread, row: str, activation: Tensor) -> None:
        """Have a layer's activation written, but for what the interrupted run wrote of it."""
        there = self._there_of(row, len(activation))
        if there < len(activation):
            self._put(number, thread, row, stored_form(row, activation[there:], pooled=self._pooled))

    def _put(self, number: int, thread: WritingThread, row: str, rows: Tensor) -> None:
        if len(rows):
            subject = f"activations of layer {row!r} in batch {number}"
            thread.put(rows.nbytes, partial(self._append, row, rows, subject))

    def _there_of(self, row: str, samples: int) -> int:
        """Return how many of a batch's first samples of a layer are written already."""
        return min(max(self._writer_has(row) - self._samples, 0), samples)

    def _writer_has(self, row: str) -> int:
        """Return how many of a layer's first samples the interrupted run wrote."""
        return self._there.setdefault(row, self._writer.written(row) if self._before is not None else 0)

    def _fix_layers(self, rows: list[str], skipped: dict[str, str], thread: WritingThread) -> None:
        """Write down which layers there are, or hold them against what the interrupted run wrote down."""
        writer = self._writer
        if self._rows is not None:
            if rows != self._rows:
                raise ValueError(f"one process ran the layers {rows}, and another {self._rows}")
            return
        self._rows = rows
        if self._before is None:
            thread.put(0, partial(writer.set_layers, rows, skipped))
        elif rows != writer.layers:
            raise ValueError(f"the model's layers are {rows}, and the interrupted run wrote {writer.layers}")

    def _append(self, row: str, rows: Tensor, subject: str) -> None:
        if not bool(torch.isfinite(torch.stack(torch.aminmax(rows))).all()):
            raise ValueError(
                f"{subject} hold {describe_nonfinite(rows)}. What was written before stays: mend the model or the data "
                f"and extract again, or leave the layer out"
            )
        self._writer.append(row, rows)

    def _known(self, number: int) -> bool:
        """Return whether the interrupted run recorded this batch."""
        return self._before is not None and number < self._before.batches

    def _check_inputs(self, progress: Progress) -> None:
        """Raise ValueError where the batches so far aren't those that the interrupted run recorded."""
        before = self._before
        if before is None:
            return
        same_end = progress.batches < before.batches or progress == before
        if progress.first != before.first or not same_end:
            raise ValueError(f"batch {progress.batches - 1}: {_OTHER_INPUTS}")
