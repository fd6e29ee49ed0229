"""Similarity of activations: functional metrics, and their streaming twins that see the data in pieces."""

from pyscale.metrics.alignment import cka, hsic
from pyscale.metrics.canonical import CCAResult, cca, pwcca, svcca
from pyscale.metrics.chance_level import chance
from pyscale.metrics.layer_matrix import cka_matrix
from pyscale.metrics.minibatch import MinibatchCKA, Similarities
from pyscale.metrics.shape import procrustes

__all__ = [
    "CCAResult",
    "MinibatchCKA",
    "Similarities",
    "cca",
    "chance",
    "cka",
    "cka_matrix",
    "hsic",
    "procrustes",
    "pwcca",
    "svcca",
]
