"""Compression: weights and channels pruned, values shared, and models in files a fraction of their size.

.. code-block:: python

    pruned = prune(model, 0.9, schedule="cubic", finetune=lambda m: fit(m, data, epochs=2))
    shared = share_weights(pruned, 5, finetune=lambda m: fit(m, data, epochs=2, lr=1e-4))
    print(save(shared, "model.psz"))  # what every layer takes in the file
    load("model.psz", into=build(...))
"""

from __future__ import annotations

from pyscale.compress.archive import Compressed, load, save
from pyscale.compress.errors import CorruptFileError
from pyscale.compress.pruning import prune
from pyscale.compress.reports import Report, TensorReport, compression_rate
from pyscale.compress.reshaping import reshape
from pyscale.compress.schedules import Schedule
from pyscale.compress.sharing import share_weights

__all__ = [
    "Compressed",
    "CorruptFileError",
    "Report",
    "Schedule",
    "TensorReport",
    "compression_rate",
    "load",
    "prune",
    "reshape",
    "save",
    "share_weights",
]
