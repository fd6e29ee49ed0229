"""The family d w² r² = s: its shares, its named members and its limit on resolution."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from pyscale.models import RULES, Scaling, Shares, build, fast_compound, profile

shares = st.tuples(*3 * [st.floats(0, 10)]).filter(lambda three: sum(three) > 1e-3)
factors = st.floats(1e-4, 1e4)


def compute(scaling):
    return scaling.depth * scaling.width**2 * scaling.resolution**2


@given(factors, shares)
def test_compute_is_s_and_each_dimension_takes_its_share(s, rule):
    scaling = fast_compound(s, rule)
    assert compute(scaling) == pytest.approx(s, rel=1e-9)
    taken = (scaling.depth, scaling.width**2, scaling.resolution**2)
    for factor, share in zip(taken, rule, strict=True):
        assert math.log(factor) == pytest.approx(share / sum(rule) * math.log(s), abs=1e-9)


@given(factors, shares, st.floats(0.1, 5))
def test_past_its_limit_resolution_leaves_the_rest_to_depth_and_width_in_their_ratio(s, rule, limit):
    assume(rule[0] + rule[1] > 1e-3)
    scaling, free = fast_compound(s, rule, max_resolution=limit), fast_compound(s, rule)
    assert scaling.resolution == min(free.resolution, limit)
    assert compute(scaling) == pytest.approx(s, rel=1e-9)
    left = rule[0] * math.log(scaling.width**2) - rule[1] * math.log(scaling.depth)
    assert left == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [  # exponents of pycls's scaling_factors for d1_w8_r1, dwr, d, w and r
        ("dWr", (0.1, 0.4, 0.05)),
        ("uniform", (1 / 3, 1 / 6, 1 / 6)),
        ("d", (1, 0, 0)),
        ("w", (0, 0.5, 0)),
        ("r", (0, 0, 0.5)),
    ],
)
def test_named_rules_are_those_of_the_paper(rule, expected):
    scaling = fast_compound(16, rule)
    assert (scaling.depth, scaling.width, scaling.resolution) == pytest.approx([16**power for power in expected])


def test_the_default_is_fast_compound_scaling():
    assert (
        fast_compound(3) == fast_compound(3, "dWr") == fast_compound(3, (1, 8, 1)) == fast_compound(3, Shares(2, 16, 2))
    )
    assert set(RULES) == {"dWr", "uniform", "d", "w", "r"}


@pytest.mark.parametrize("rule", RULES)
def test_at_one_nothing_is_scaled(rule):
    assert fast_compound(1, rule) == Scaling()


@pytest.mark.parametrize(("rule", "activations", "parameters"), [("w", 2, 4), ("r", 4, 1)])
def test_activations_grow_with_the_root_of_width_alone(rule, activations, parameters):
    """What the family is for: four times the compute by width costs twice the activations, by resolution four times."""
    with torch.device("meta"):
        base, scaled = (profile(build("resnet50", num_classes=1, scaling=fast_compound(s, rule))) for s in (1, 4))
    assert scaled.macs / base.macs == pytest.approx(4, rel=0.03)
    assert scaled.activations / base.activations == pytest.approx(activations, rel=0.01)
    assert scaled.parameters / base.parameters == pytest.approx(parameters, rel=0.01)


def test_resolution_alone_reaches_its_limit_and_no_further():
    assert fast_compound(4, "r", max_resolution=2) == Scaling(resolution=2)
    with pytest.raises(
        ValueError, match="max_resolution: the rule scales nothing but resolution, so a limit of 2 ends it"
    ):
        fast_compound(4.1, "r", max_resolution=2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"s": 0}, ValueError, "s: expected a positive number, got 0"),
        ({"s": "2"}, TypeError, "s: expected a number, got '2'"),
        ({"s": 2, "rule": "dwr"}, ValueError, "rule: unknown rule 'dwr'; expected one of dWr, uniform, d, w, r"),
        ({"s": 2, "rule": (1, 2)}, ValueError, r"rule: expected three shares .* got 2: \(1, 2\)"),
        ({"s": 2, "rule": 3}, TypeError, "rule: expected a name, a Shares or three numbers .* got 3"),
        ({"s": 2, "rule": (1, -1, 1)}, ValueError, "width: expected a share of at least 0, got -1.0"),
        ({"s": 2, "rule": (1, "1", 1)}, TypeError, "width: expected a number, got '1'"),
        ({"s": 2, "rule": (0, 0, 0)}, ValueError, "shares: expected at least one above 0"),
        ({"s": 2, "rule": (math.inf, 1, 1)}, ValueError, "depth: expected a finite number"),
        ({"s": 2, "max_resolution": 0}, ValueError, "max_resolution: expected a positive number, got 0"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        fast_compound(**arguments)
