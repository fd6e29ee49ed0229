"""Activations on disk: written chunk by chunk, read row by row, in the formats that others use too."""

from pyscale.stores.errors import DamagedStoreError, LockedStoreError
from pyscale.stores.opening import open_store
from pyscale.stores.store import Store, StoredLayer

__all__ = ["DamagedStoreError", "LockedStoreError", "Store", "StoredLayer", "open_store"]
