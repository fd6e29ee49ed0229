"""What a strategy returns: similarities of all pairs of layers, before names and provenance are added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Arrays of shape (rows, columns); NaN where a thing is not defined."""

    values: Matrix
    stderr: Matrix
    chance: Matrix
    zscores: Matrix
    pvalues: Matrix | None = None
