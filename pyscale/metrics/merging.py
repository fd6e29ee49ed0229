"""Metrics across processes: everybody gets what all have seen."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch.distributed as dist

from pyscale.distributed import gathered
from pyscale.metrics.base import Metric

M = TypeVar("M", bound=Metric)


def sync(metric: M, group: dist.ProcessGroup | None = None, *, timeout: float | None = None) -> M:
    """Return, on every rank, the metric of what all ranks have seen.

    Ranks may have seen unequal amounts, or nothing. States are merged in the order of ranks, as a binary tree: a rank
    sends its state once, receives the result once, and hands on at most log2(ranks) of either. All get the same bits.
    The metric itself is unchanged: it goes on with its own share.

    Args:
        metric: This rank's metric, of the same type and options on all ranks.
        group: The process group; None is the default one, or that of the processes torchrun has started.
        timeout: Seconds without a sign of life after which a rank is dead; None is what the environment variable
            ``PYSCALE_PEER_TIMEOUT`` says, or 60.

    Returns:
        A new metric on the device of ``metric``; a copy of it where there is one process.

    Raises:
        TypeError: ``metric`` is no streaming metric.
        ValueError: The ranks' metrics have different options, or have seen different layers.
        pyscale.distributed.PeerError: That happened on another rank, or a rank died.

    Example:
        >>> import torch
        >>> from pyscale.metrics import StreamingCKA, sync
        >>> metric = StreamingCKA().update(torch.randn(8, 3), torch.randn(8, 2))
        >>> sync(metric).n  # alone, a copy
        8
    """
    if not isinstance(metric, Metric):
        raise TypeError(f"metric is a {type(metric).__name__}; expected a streaming metric such as MinibatchCKA")
    with gathered(group=group, timeout=timeout) as crew:
        if crew.alone:
            return copy.deepcopy(metric)

        def merge(mine: M, theirs: dict[str, Any]) -> M:
            other = _emptied(metric).load_state_dict(theirs)
            return mine.merge_state(other if mine.device is None else other.to(mine.device))

        merged = crew.reduce(copy.deepcopy(metric), merge, lambda mine: mine.state_dict())
        result = _emptied(metric).load_state_dict(crew.broadcast(None if merged is None else merged.state_dict()))
    return result if metric.device is None else result.to(metric.device)


def _emptied(metric: M) -> M:
    """Return a metric with the same options that has seen nothing and is nowhere."""
    fresh = copy.deepcopy(metric).reset()
    fresh._device = None
    return fresh
