"""What can go wrong while training that is not a mistake in an argument."""

from __future__ import annotations


class DivergenceError(RuntimeError):
    """The training loss became NaN or infinite."""
