"""The bootstrap of both laws draws what its steps, written out one by one, draw: bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from pyscale.studies import laws
from pyscale.studies.laws.fitting import fitted, predicted

WIDTH, RESOLUTION = (x.ravel() for x in np.meshgrid([0.25, 0.5, 1.0, 2.0], [0.5, 0.75, 1.0], indexing="ij"))
FACTORS = {"width": WIDTH, "resolution": RESOLUTION}
LOGS = np.log(np.column_stack([WIDTH, RESOLUTION]))
N = len(WIDTH)
RNG = np.random.default_rng(7)
COSTS = 3e8 * WIDTH**1.8 * RESOLUTION**2.1 * np.exp(RNG.normal(0, 0.05, N))
ERRORS = 0.1 + 0.05 * WIDTH**-0.6 + 0.04 * RESOLUTION**-1.2 + RNG.normal(0, 0.003, N)


def test_residuals_of_costs():
    design = np.column_stack([np.ones(N), LOGS])
    theta = np.linalg.lstsq(design, np.log(COSTS), rcond=None)[0]
    residuals = (np.log(COSTS) - design @ theta) * np.sqrt(N / (N - 3))
    drawn = np.random.default_rng(3).choice(residuals, (N, 20))
    expected = np.linalg.lstsq(design, (design @ theta)[:, None] + drawn, rcond=None)[0].T
    law = laws.fit_cost_law(COSTS, FACTORS, draws=20, seed=3)
    np.testing.assert_array_equal(law.draws, expected)


def test_cases_of_costs():
    design, target = np.column_stack([np.ones(N), LOGS]), np.log(COSTS)
    rng = np.random.default_rng(3)
    expected = []
    while len(expected) < 20:
        i = rng.integers(N, size=N)
        if np.linalg.matrix_rank(LOGS[i] - LOGS[i].mean(axis=0)) == 2:
            expected.append(np.linalg.lstsq(design[i], target[i], rcond=None)[0])
    law = laws.fit_cost_law(COSTS, FACTORS, resampling="cases", draws=20, seed=3)
    np.testing.assert_array_equal(law.draws, expected)


@pytest.mark.parametrize("form", ["sum", "product"])
def test_residuals_of_errors(form):
    theta = fitted(LOGS, ERRORS, form)
    curve = predicted(theta, LOGS, form)
    residuals = (ERRORS - curve - (ERRORS - curve).mean()) * np.sqrt(N / (N - len(theta)))
    rng = np.random.default_rng(3)
    expected = [fitted(LOGS, curve + rng.choice(residuals, N), form, theta) for _ in range(5)]
    law = laws.fit_error_law(ERRORS, FACTORS, form=form, draws=5, seed=3)
    np.testing.assert_array_equal(law.draws, expected)


def test_cases_of_errors():
    """Of width alone a resample of at least three different widths, determines the law."""
    theta = fitted(LOGS[:, :1], ERRORS, "sum")
    rng = np.random.default_rng(3)
    expected = []
    while len(expected) < 5:
        i = rng.integers(N, size=N)
        if len(np.unique(WIDTH[i])) >= 3:
            expected.append(fitted(LOGS[i, :1], ERRORS[i], "sum", theta))
    law = laws.fit_error_law(ERRORS, {"width": WIDTH}, resampling="cases", draws=5, seed=3)
    np.testing.assert_array_equal(law.draws, expected)


def test_as_many_points_as_parameters_leave_nothing_to_resample():
    law = laws.fit_cost_law([1, 4, 4.1], {"width": [1, 2, 1], "resolution": [1, 1, 2]})
    assert law.draws.shape == (0, 3)
    assert np.isnan(law.exponents["width"].low)
