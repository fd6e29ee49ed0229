"""Scaling factors, compound scaling and the rounding rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyscale.models import Scaling, compound
from pyscale.models.scaling import round_channels, round_depth, round_resolution


def test_a_scaling_holds_floats_and_cannot_change():
    scaling = Scaling(2, width=np.float32(0.5))
    assert scaling == Scaling(2.0, 0.5, 1.0)
    assert all(type(value) is float for value in (scaling.depth, scaling.width, scaling.resolution))
    with pytest.raises(AttributeError):
        scaling.depth = 3


@pytest.mark.parametrize("dimension", ["depth", "width", "resolution"])
@pytest.mark.parametrize("bad", [0, -1, math.nan, math.inf])
def test_factors_must_be_positive_and_finite(dimension, bad):
    with pytest.raises(ValueError, match=f"{dimension}: expected a .* number, got {bad!r}"):
        Scaling(**{dimension: bad})


@pytest.mark.parametrize("bad", ["2", None, True, [1.0], 1j])
def test_factors_must_be_numbers(bad):
    with pytest.raises(TypeError, match="width: expected a number"):
        Scaling(width=bad)


def test_compound_takes_one_exponent_or_three():
    assert compound(0) == Scaling()
    assert compound(2) == Scaling(1.2**2, 1.1**2, 1.15**2)
    assert compound((1, 0, -1), alpha=2, beta=3, gamma=4) == Scaling(2.0, 1.0, 0.25)
    assert compound(np.array([1, 2, 3]).tolist()) == Scaling(1.2, 1.1**2, 1.15**3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"phi": (1, 2)}, ValueError, "phi: expected one number or three .* got 2"),
        ({"phi": "abc"}, TypeError, "phi: expected a number or three"),
        ({"phi": None}, TypeError, "phi: expected a number or three"),
        ({"phi": (1, "2", 3)}, TypeError, "phi: expected a number, got '2'"),
        ({"phi": math.nan}, ValueError, "phi: expected a finite number"),
        ({"phi": 1e6}, ValueError, "phi: .* overflows"),
        ({"phi": -1e6}, ValueError, "phi: -1000000.0 makes a scaling factor 0 with bases .*; expected one nearer to 0"),
        ({"phi": 1, "alpha": 0}, ValueError, "alpha: expected a positive number"),
        ({"phi": 1, "gamma": "1"}, TypeError, "gamma: expected a number"),
    ],
)
def test_compound_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        compound(**arguments)


@given(st.floats(0.5, 20_000))
def test_channels_are_the_nearest_multiple_of_eight_unless_that_loses_ten_per_cent(exact):
    below = math.floor(exact / 8) * 8
    nearest = below if exact - below < 4 else below + 8
    rounded = round_channels(exact)
    assert rounded % 8 == 0
    assert rounded >= max(8, 0.9 * exact)
    assert rounded == max(8, nearest if nearest >= 0.9 * exact else nearest + 8)


@pytest.mark.parametrize(
    ("exact", "rounded"),
    [(1, 8), (8, 8), (12, 16), (19.9, 24), (20, 24), (17.7, 16), (17.8, 24), (35.2, 32), (352, 352)],
)
def test_channels_by_hand(exact, rounded):
    assert round_channels(exact) == rounded


def test_depth_rounds_up_but_not_for_a_rounding_error():
    assert [round_depth(blocks) for blocks in (0.01, 1, 1.001, 2.8, 6)] == [1, 1, 2, 3, 6]
    assert 2 * math.sqrt(2) ** 2 > 4  # the study's sqrt(2)**phi must give 4 blocks here, not 5
    assert round_depth(2 * math.sqrt(2) ** 2) == 4
    assert round_depth(10 * 1.1) == 11


def test_resolution_rounds_to_the_nearest_pixel():
    assert [round_resolution(side) for side in (0.2, 257.6, 296.24, 340.67, 32.5, 33.5)] == [1, 258, 296, 341, 33, 34]


def test_compound_stops_at_the_largest_resolution_and_goes_on_in_depth_and_width():
    limit = 480 / 224
    assert compound(5, max_resolution=limit) == compound(5)  # 1.15**5 is 2.01
    assert compound(7, max_resolution=limit) == Scaling(1.2**7, 1.1**7, limit)
    with pytest.raises(ValueError, match="max_resolution: expected a positive number, got -1"):
        compound(1, max_resolution=-1)
