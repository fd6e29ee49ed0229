"""Similarity of activations: functional metrics, and their streaming twins that see the data in pieces."""

from pyscale.metrics.alignment import cka, hsic
from pyscale.metrics.minibatch import MinibatchCKA, Similarities

__all__ = ["MinibatchCKA", "Similarities", "cka", "hsic"]
