"""How sure a mean over seeds and pictures is, where every seed answers the same pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Interval:
    """A mean and where the true one lies, seeds and pictures being drawn anew.

    Attributes:
        value: The mean.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high


def crossed_interval(values: ArrayLike, confidence: float) -> Interval:
    r"""Student's interval of a mean over seeds and pictures, both of which are samples.

    With values :math:`x_{si}` of S seeds on the same n pictures, row means :math:`\bar x_{s\cdot}` and column means
    :math:`\bar x_{\cdot i}`,

    .. math:: \widehat{\mathrm{Var}}(\bar x) = \frac{v_S}{S} + \frac{v_n}{n}, \qquad
        v_S = \frac{\sum_s (\bar x_{s\cdot} - \bar x)^2}{S - 1}, \quad
        v_n = \frac{\sum_i (\bar x_{\cdot i} - \bar x)^2}{n - 1},

    which counts what seed and picture do together twice, and so is rather too large than too small. Its quantile is
    Cochran and Cox's mean of the two Student quantiles, weighted by the two terms: with two or three seeds
    Satterthwaite's degrees of freedom would cover too little, the more so the higher the confidence. For a difference
    of two networks, give the differences of their answers: what a seed or a picture does to both alike then cancels.

    Args:
        values: (S, n), S and n at least 2: 1 for a right answer, 0 for a wrong one, or differences of those.
        confidence: Coverage, in (0, 1).

    Returns:
        The mean and its interval; of no width where all values are the same.

    Raises:
        ImportError: SciPy is missing: ``pip install 'pyscale[train]'``.

    Example:
        >>> interval = crossed_interval([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1]], 0.95)
        >>> round(interval.value, 3), round(interval.low, 3), round(interval.high, 3)
        (0.667, -0.16, 1.493)

    References:
        Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007), for the two terms and their bias.
        Cochran and Cox, "Experimental Designs" (1950), for the quantile.
    """
    from pyscale.train.dependencies import import_train_dependency

    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean())
    parts = [float(x.mean(axis=axis).var(ddof=1)) / x.shape[1 - axis] for axis in (1, 0)]
    variance = sum(parts)
    if variance == 0:
        return Interval(mean, mean, mean)
    quantile = import_train_dependency("scipy.stats").t.ppf
    quantiles = [float(quantile((1 + confidence) / 2, size - 1)) for size in x.shape]
    reach = sum(t * part for t, part in zip(quantiles, parts, strict=True)) / math.sqrt(variance)
    return Interval(mean, mean - reach, mean + reach)
