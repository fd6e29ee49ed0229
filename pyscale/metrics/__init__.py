"""Similarity of activations: functional metrics, and their streaming twins that see the data in pieces."""

from pyscale.metrics import canonical_op as _canonical_op  # noqa: F401  registers the op that compiled graphs call
from pyscale.metrics.alignment import cka, hsic
from pyscale.metrics.all_pairs import AllPairsMoments, bytes_needed
from pyscale.metrics.base import Metric
from pyscale.metrics.canonical import CCAResult, cca, pwcca, svcca
from pyscale.metrics.canonical_table import cca_matrix
from pyscale.metrics.chance_level import chance
from pyscale.metrics.layer_matrix import cka_matrix
from pyscale.metrics.merging import sync
from pyscale.metrics.minibatch import MinibatchCKA, Similarities
from pyscale.metrics.permutation import PermutationNull
from pyscale.metrics.shape import procrustes
from pyscale.metrics.streaming import StreamingCCA, StreamingCKA, StreamingProcrustes

__all__ = [
    "AllPairsMoments",
    "CCAResult",
    "Metric",
    "MinibatchCKA",
    "PermutationNull",
    "Similarities",
    "StreamingCCA",
    "StreamingCKA",
    "StreamingProcrustes",
    "bytes_needed",
    "cca",
    "cca_matrix",
    "chance",
    "cka",
    "cka_matrix",
    "hsic",
    "procrustes",
    "pwcca",
    "svcca",
    "sync",
]
