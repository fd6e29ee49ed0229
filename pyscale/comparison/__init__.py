"""Models, many layers: comparisons of two or of many, with their errors, chance levels and provenance."""

from pyscale.comparison.comparisons import Comparisons
from pyscale.comparison.engine import compare
from pyscale.comparison.extraction.engine import extract
from pyscale.comparison.many import compare_many
from pyscale.comparison.result import Comparison
from pyscale.comparison.stored.engine import compare_stores
from pyscale.comparison.trajectory import Trajectory
from pyscale.comparison.weights import compare_weights

__all__ = [
    "Comparison",
    "Comparisons",
    "Trajectory",
    "compare",
    "compare_many",
    "compare_stores",
    "compare_weights",
    "extract",
]
