"""Two models, many layers: one comparison, with its errors, its chance level and its provenance."""

from pyscale.comparison.engine import compare
from pyscale.comparison.extraction.engine import extract
from pyscale.comparison.result import Comparison
from pyscale.comparison.stored.engine import compare_stores
from pyscale.comparison.weights import compare_weights

__all__ = ["Comparison", "compare", "compare_stores", "compare_weights", "extract"]
