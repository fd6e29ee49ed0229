"""Streams of a GPU beside those the models run on, so that what small kernels leave idle goes to the next layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from types import TracebackType

import torch

from pyscale.ops.cuda import LastRead


class SideStreams:
    """One stream a GPU, on which Grams are formed and summed; on other devices all of it does nothing.

    The stream is the same for all comparisons: cuBLAS keeps a workspace for every stream it has seen.

    Activations aren't given to ``Tensor.record_stream``: a model's stream goes on to reuse their memory only behind the
    event that says they have been read, whereas the allocator would hold back the memory of every activation until the
    side stream is seen to be done, and so that of the whole network while Python is ahead of the GPU.

    Inside the ``with`` block streams may run apart; when it is left, however that comes about, those that were current
    wait for the side streams.
    """

    def __init__(self) -> None:
        self._used: dict[torch.device, torch.cuda.Stream] = {}

    def __enter__(self) -> SideStreams:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.join()

    def join(self) -> None:
        """Have the current streams wait for the side streams."""
        for device, side in self._used.items():
            torch.cuda.current_stream(device).wait_stream(side)

    @contextmanager
    def reading(self, device: torch.device) -> Iterator[LastRead | None]:
        """Queue the block's kernels on the side stream, behind all that was queued on the current one.

        What is queued after the block waits for what it yields, None on other devices. The block may mark it once it
        has read what others may then overwrite or free; at its end it is marked otherwise.
        """
        if device.type != "cuda":
            yield None
            return
        # By its number: what becomes of a device in current_stream takes as long as several launches.
        main, side = torch.cuda.current_stream(device.index), _stream_beside(device)
        self._used[device] = side
        read = LastRead(torch.cuda.Event())
        read.event.record(main)
        side.wait_event(read.event)
        try:
            with torch.cuda.stream(side):
                yield read
        except BaseException:
            main.wait_stream(side)
            raise
        if not read.marked:
            read.event.record(side)
        main.wait_event(read.event)

    @contextmanager
    def summing(self) -> Iterator[None]:
        """Queue the block's kernels on the side streams, which nothing waits for before the end."""
        with ExitStack() as stack:
            for side in self._used.values():
                stack.enter_context(torch.cuda.stream(side))
            yield


@cache
def _stream_beside(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)
