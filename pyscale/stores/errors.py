"""What can be wrong with a store that no argument caused."""

from __future__ import annotations


class DamagedStoreError(ValueError):
    """A store holds something else than it says: a chunk is missing, cut short or changed, or a size can't be true."""


class LockedStoreError(OSError):
    """Somebody else is writing to the store."""
