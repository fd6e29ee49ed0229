"""What is raised on a process because of another one."""

from __future__ import annotations

import torch.distributed as dist


class PeerError(RuntimeError):
    """Another process of the same call failed, died, or never came; the message says which and why."""


def is_transport_error(error: BaseException) -> bool:
    """Whether an error is one of torch's means of communication, rather than of what was computed."""
    kinds = (dist.DistError, dist.DistNetworkError) if dist.is_available() else ()
    return isinstance(error, kinds) or any(name in str(error) for name in ("gloo", "NCCL", "ProcessGroup"))
