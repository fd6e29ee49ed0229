"""Metrics across processes: everybody gets what all have seen."""

from __future__ import annotations

import copy
import io
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from pyscale.metrics.base import Metric

M = TypeVar("M", bound=Metric)


def sync(metric: M, group: dist.ProcessGroup | None = None) -> M:
    """Return, on every rank, the metric of what all ranks have seen.

    Ranks may have seen unequal amounts, or nothing. States are merged in the order of ranks, so all get the same bits.
    The metric itself is unchanged: it goes on with its own share.

    Args:
        metric: This rank's metric, of the same type and options on all ranks.
        group: The process group; the default one if None.

    Returns:
        A new metric on the device of ``metric``, or of the group where it has seen nothing; a copy of it where
        ``torch.distributed`` is not initialised.

    Raises:
        TypeError: ``metric`` is no streaming metric.
        ValueError: The ranks' metrics have different options, or have seen different layers.

    Example:
        >>> import torch
        >>> from pyscale.metrics import StreamingCKA, sync
        >>> metric = StreamingCKA().update(torch.randn(8, 3), torch.randn(8, 2))
        >>> sync(metric).n  # alone, a copy
        8
    """
    if not isinstance(metric, Metric):
        raise TypeError(f"metric is a {type(metric).__name__}; expected a streaming metric such as MinibatchCKA")
    if not (dist.is_available() and dist.is_initialized()):
        return copy.deepcopy(metric)
    device = _device(group)
    merged = copy.deepcopy(metric).reset().to(metric.device or device)
    for state in _gathered(_packed(metric).to(device), group):
        part = copy.deepcopy(merged).reset()
        part.load_state_dict(
            torch.load(io.BytesIO(state.cpu().numpy().tobytes()), map_location="cpu", weights_only=True)
        )
        merged.merge_state(part)
    return merged


def _packed(metric: Metric) -> Tensor:
    """Return the metric's state as bytes, uint8: plain data that unpacks without unpickling code."""
    buffer = io.BytesIO()
    torch.save(metric.state_dict(), buffer)
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def _gathered(data: Tensor, group: dist.ProcessGroup | None) -> list[Tensor]:
    """Return every rank's bytes, in the order of ranks."""
    world = dist.get_world_size(group)
    sizes = [data.new_zeros(1, dtype=torch.int64) for _ in range(world)]
    dist.all_gather(sizes, torch.tensor([len(data)], device=data.device), group=group)
    lengths = [int(size) for size in sizes]
    padded = data.new_zeros(max(lengths))
    padded[: len(data)] = data
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded, group=group)
    return [part[:length] for part, length in zip(parts, lengths, strict=True)]


def _device(group: dist.ProcessGroup | None) -> torch.device:
    """Return where the group's tensors must be: NCCL's on this process's GPU, others' on the CPU."""
    if "nccl" in dist.get_backend(group):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
