"""What is raised on a process because of another one."""

from __future__ import annotations


class PeerError(RuntimeError):
    """Another process of the same call failed, died, or never came; the message says which and why."""
