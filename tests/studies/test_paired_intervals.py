"""Intervals over seeds and pictures cover what they say they cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pyscale.studies.coefficients.intervals import crossed_interval


def drawn(rng, seeds, pictures, seed_spread, picture_spread, noise):
    """A crossed sample of true mean 0."""
    x = rng.normal(0, seed_spread, (seeds, 1)) + rng.normal(0, picture_spread, (1, pictures))
    return x + rng.normal(0, noise, (seeds, pictures))


@pytest.mark.parametrize(
    ("seed_spread", "picture_spread", "noise"), [(0.05, 0.3, 0.2), (0.0, 0.4, 0.1), (0.1, 0.0, 0.3), (0.02, 0.2, 0.0)]
)
@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_they_cover_the_truth_as_often_as_they_say(seeds, seed_spread, picture_spread, noise):
    rng = np.random.default_rng(0)
    samples = [drawn(rng, seeds, 100, seed_spread, picture_spread, noise) for _ in range(1000)]
    for confidence in (0.9, 0.995):
        covered = np.mean([0.0 in crossed_interval(x, confidence) for x in samples])
        assert covered > confidence - 3.5 * np.sqrt(confidence * (1 - confidence) / 1000)


def test_without_what_pictures_do_it_is_students_interval_over_seeds():
    means = np.array([0.1, 0.5, 0.3])
    found = crossed_interval(np.repeat(means[:, None], 50, axis=1), 0.95)
    expected = stats.t.interval(0.95, 2, loc=means.mean(), scale=stats.sem(means))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-12)


def test_without_what_seeds_do_it_is_students_interval_over_pictures():
    column = np.random.default_rng(1).normal(size=40)
    found = crossed_interval(np.repeat(column[None], 3, axis=0), 0.95)
    expected = stats.t.interval(0.95, 39, loc=column.mean(), scale=stats.sem(column))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-12)


def test_what_both_share_cancels_in_the_difference():
    rng = np.random.default_rng(2)
    shared = drawn(rng, 3, 200, 0.2, 1.0, 0.0)
    one, two = (shared + shift + rng.normal(0, 0.1, shared.shape) for shift in (0.05, 0.0))
    paired = crossed_interval(one - two, 0.95)
    assert paired.low > 0
    assert crossed_interval(one, 0.95).low < crossed_interval(two, 0.95).high


def test_equal_answers_differ_by_nothing():
    found = crossed_interval(np.zeros((3, 10)), 0.95)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert 0.0 in found
