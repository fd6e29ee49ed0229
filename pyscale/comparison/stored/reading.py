"""Reading beside the arithmetic: what is wanted next is read by a thread while what is there is used."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from pyscale.comparison.features import flatten_for_gram, pool
from pyscale.stores.store import StoredLayer

Item = TypeVar("Item")


class ReadAhead(Generic[Item]):
    """Tensors, each read into one of a few buffers by a thread that is ahead by as many.

    Args:
        items: What is to be read, in this order.
        read: Reads one of them into a buffer of bytes and returns the tensor, which may lie in it.
        buffer_bytes: Bytes of a buffer.
        buffers: How many; with a single one nothing is read ahead.
    """

    def __init__(
        self, items: Iterable[Item], read: Callable[[Item, Tensor], Tensor], *, buffer_bytes: int, buffers: int
    ) -> None:
        self._items, self._read = items, read
        self._free: queue.Queue[Tensor | None] = queue.Queue()
        for _ in range(buffers):
            self._free.put(torch.empty(buffer_bytes, dtype=torch.uint8))
        self._ready: queue.Queue[tuple[Item, Tensor, Tensor] | BaseException | None] = queue.Queue()

    def __iter__(self) -> Iterator[tuple[Item, Tensor]]:
        """Yield items and their tensors; a tensor is the caller's until the next one is asked for."""
        thread = threading.Thread(target=self._work, name="pyscale store reader", daemon=True)
        thread.start()
        try:
            while (found := self._ready.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                item, tensor, buffer = found
                yield item, tensor
                del found, tensor
                self._free.put(buffer)
        finally:
            self._free.queue.clear()
            self._free.put(None)
            thread.join()

    def _work(self) -> None:
        try:
            with torch.inference_mode():
                for item in self._items:
                    buffer = self._free.get()
                    if buffer is None:
                        return
                    self._ready.put((item, self._read(item, buffer), buffer))
                    del buffer
            self._ready.put(None)
        except BaseException as error:  # raised again where the tensors are used
            self._ready.put(error)


def shaped(buffer: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Return the beginning of a buffer of bytes as a tensor."""
    return buffer[: math.prod(shape) * dtype.itemsize].view(dtype).view(*shape)


def read_rows(layer: StoredLayer, start: int, stop: int, places: Sequence[int] | None, out: Tensor | None) -> Tensor:
    """Read samples of the common order; ``places`` says where the layer has them."""
    if places is None:
        return layer.rows(start, stop, out=out)
    return layer.take(places[start:stop], out=out)


def read_pooled(layer: StoredLayer, start: int, stop: int, places: Sequence[int] | None, buffer: Tensor) -> Tensor:
    """Return the pooled features of samples, of which as many are read at once as the buffer takes."""
    step = max(1, len(buffer) // layer.row_bytes)
    parts = []
    for low in range(start, stop, step):
        high = min(low + step, stop)
        rows = shaped(buffer, (high - low, *layer.shape[1:]), layer.dtype)
        parts.append(pool(read_rows(layer, low, high, places, rows)))
    return torch.cat(parts)


def read_tile(
    layer: StoredLayer, start: int, stop: int, places: Sequence[int] | None, columns: slice, buffer: Tensor
) -> Tensor:
    """Return some of the features of samples (n, p), which take less memory than all of them."""
    width = columns.stop - columns.start
    out = shaped(buffer, (stop - start, width), layer.dtype)
    step = max(1, layer.rows_at_once)
    for low in range(start, stop, step):
        high = min(low + step, stop)
        rows = read_rows(layer, low, high, places, None)
        out[low - start : high - start] = flatten_for_gram(rows)[:, columns]
    return out
