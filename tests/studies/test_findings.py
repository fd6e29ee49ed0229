"""Sentences must be no stronger than the numbers: invented results, known verdicts."""

from __future__ import annotations

import math
from math import comb

import numpy as np
import pytest

from pyscale.studies import findings
from pyscale.studies.findings import below_yardstick, count_matches
from tests.studies import invented

ALIKE = [0.9, 0.8, 0.8, 0.7]


def study(variant_right, base_right, variant=None, **options):
    members = [
        invented.member("baseline", base_right),
        invented.member("twin", base_right),
        invented.member("wider", variant_right, macs=210, parameters=20, latency=3e-3),
    ]
    similarities = {
        "twin": {"cka": invented.similarity(ALIKE)},
        "wider": {"cka": variant or invented.similarity(ALIKE)},
    }
    return invented.result(members, similarities, **options)


def about(result, topic):
    return [finding.text for finding in findings(result) if finding.topic == topic]


def mcnemar(a, b):
    """Two-sided exact binomial test of a against b, from the definition."""
    n = a + b
    return min(1.0, sum(comb(n, k) for k in range(n + 1) if comb(n, k) <= comb(n, a)) / 2**n)


@pytest.mark.parametrize(("only_this", "only_baseline"), [(0, 0), (3, 3), (1, 6), (12, 1), (0, 9)])
def test_paired_answers_are_counted_and_tested(only_this, only_baseline):
    base = np.array([True] * 20 + [False] * 20)
    other = base.copy()
    other[:only_baseline] = False
    other[20 : 20 + only_this] = True
    result = study(other, base)
    paired = result.paired(result.variants[0])
    assert (paired.only_this, paired.only_baseline) == (only_this, only_baseline)
    assert paired.pvalue == pytest.approx(mcnemar(only_this, only_baseline), rel=1e-12)


def test_a_difference_within_chance_is_said_to_be_so():
    base = np.array([True] * 90 + [False] * 10)
    better = base.copy()
    better[90:93] = True  # three pictures better, none worse: p = 0.25
    (text,) = about(study(better, base), "accuracy")
    assert "bought no accuracy that these pictures can prove" in text
    assert "disagree on 3 pictures" in text
    assert "0.25" in text
    assert "better" not in text


@pytest.mark.parametrize(("right", "word"), [(range(90, 100), "better"), (range(0), "worse")])
def test_a_difference_beyond_chance_is_named_with_its_direction(right, word):
    base = np.array([True] * 90 + [False] * 10)
    other = base.copy()
    other[list(right)] = True
    if word == "worse":
        other[:12] = False
    (text,) = about(study(other, base), "accuracy")
    assert f"Wider is {word} than the baseline" in text
    assert "no accuracy" not in text


def test_costs_are_ratios_to_the_baseline():
    (text,) = about(study([1] * 4, [1] * 4), "cost")
    assert "2.10 times the baseline's multiply-accumulates" in text
    assert "2.00 times its parameters (most in wider)" in text
    assert "3.00 times its latency (most in wider)" in text


def test_the_yardstick_is_the_twin():
    (text,) = about(study([1] * 4, [1] * 4), "yardstick")
    assert "mean CKA of 0.80" in text
    assert "least at head (0.70)" in text


def test_layers_at_the_yardstick_did_not_change():
    (text,) = about(study([1] * 4, [1] * 4), "inside")
    assert "None of the 4 key layers is less alike than another seed makes it" in text


def test_only_layers_clearly_below_the_yardstick_changed():
    # errors of 0.01 each make 0.0141 of the difference: 0.02 below is not clear, 0.04 is
    result = study([1] * 4, [1] * 4, invented.similarity([0.9, 0.78, 0.76, 0.2]))
    assert below_yardstick(result, result.similarities["wider"]["cka"]) == [2, 3]
    (text,) = about(result, "inside")
    assert "2 of 4 key layers" in text
    assert "block.1.out, head" in text
    assert "head changed most (0.20)" in text


def test_without_standard_errors_no_layer_is_called_clearly_changed():
    result = study([1] * 4, [1] * 4, invented.similarity([0.1] * 4, stderr=math.nan))
    assert below_yardstick(result, result.similarities["wider"]["cka"]) == []
    (text,) = about(result, "inside")
    assert "key layers" not in text


def test_a_network_whose_layers_are_constant_is_said_to_be_undefined():
    result = study([1] * 4, [1] * 4, invented.similarity([math.nan] * 4, zscore=math.nan))
    (text,) = about(result, "inside")
    assert text == "Wider: CKA is not defined, its layers do not vary from picture to picture."
    result.similarities["twin"]["cka"] = invented.similarity([math.nan] * 4, zscore=math.nan)
    assert "not defined" in about(result, "yardstick")[0]
    assert "not defined for any layer" in about(result, "chance")[0]


def test_layers_that_are_not_above_chance_are_counted():
    (above,) = about(study([1] * 4, [1] * 4), "chance")
    assert "all corresponding layers are above it" in above
    assert "smallest distance is 50" in above
    (near,) = about(study([1] * 4, [1] * 4, invented.similarity([0.01] * 4, zscore=1.2)), "chance")
    assert "4 of 8 pairs are not above it" in near


def test_chance_of_cca_is_subtracted():
    members = [invented.member(name, [1] * 4) for name in ("baseline", "twin", "wider")]
    found = {
        name: {"cca_r2": invented.similarity([0.5] * 4, metric="cca_r2", chance=0.2)} for name in ("twin", "wider")
    }
    (text,) = about(invented.result(members, found, metrics=("cca_r2",)), "chance")
    assert "0.20 to 0.20" in text
    assert "lie 0.30 above that on average, 0.30 at the least" in text


def test_matches_are_the_rows_most_alike_to_their_own_counterpart():
    assert count_matches(invented.similarity(ALIKE)) == 4
    assert count_matches(invented.similarity([0.9, 0.05, math.nan, 0.7])) == 2


def test_the_yardstick_of_several_twins_is_their_mean():
    members = [invented.member(name, [1] * 4) for name in ("baseline", "one", "two", "wider")]
    found = {
        "one": {"cka": invented.similarity([0.9] * 4, stderr=0.03)},
        "two": {"cka": invented.similarity([0.7] * 4, stderr=0.04)},
        "wider": {"cka": invented.similarity(ALIKE)},
    }
    result = invented.result(members, found, twins=2)
    mean, stderr = result.yardstick(found["wider"]["cka"])
    np.testing.assert_allclose(mean, 0.8)
    np.testing.assert_allclose(stderr, 0.025)


def test_without_twins_there_is_no_yardstick():
    members = [invented.member(name, [1] * 4) for name in ("baseline", "wider")]
    result = invented.result(members, {"wider": {"cka": invented.similarity(ALIKE)}}, twins=0)
    assert result.yardstick(result.similarities["wider"]["cka"]) is None
    assert {finding.topic for finding in findings(result)} == {"accuracy", "cost", "inside", "chance"}
