"""Several processes, one result: what knows ``torch.distributed``.

How processes come together (:func:`gathered`), notice that one is gone (:class:`PeerError`), merge what they have as a
tree (:class:`Crew`) and share a loader's minibatches (:class:`Dealt`).
"""

from pyscale.distributed.crew import Crew
from pyscale.distributed.dealing import Dealt, check_sharding, shared_randomness
from pyscale.distributed.errors import PeerError, is_transport_error
from pyscale.distributed.joining import apart, gathered, is_first, local_device, local_size

__all__ = [
    "Crew",
    "Dealt",
    "PeerError",
    "apart",
    "check_sharding",
    "gathered",
    "is_first",
    "is_transport_error",
    "local_device",
    "local_size",
    "shared_randomness",
]
