from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscale.train import Accuracy, ClassCount
from tests.train import oracle


@settings(deadline=None)  # the first call imports scipy
@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_interval_is_the_formula(counts):
    accuracy = Accuracy(*counts)
    low, high = oracle.wilson(*counts)
    assert accuracy.low == pytest.approx(max(low, 0), abs=1e-12)
    assert accuracy.high == pytest.approx(min(high, 1), abs=1e-12)
    assert 0 <= accuracy.low <= accuracy.value <= accuracy.high <= 1


@pytest.mark.parametrize(("correct", "total"), [(350, 360), (3, 10), (9, 10)])
def test_exact_interval_leaves_a_fortieth_in_each_tail(correct, total):
    accuracy = Accuracy(correct, total, method="exact")
    assert oracle.binomial_upper_tail(correct, total, accuracy.low) == pytest.approx(0.025, abs=1e-6)
    assert 1 - oracle.binomial_upper_tail(correct + 1, total, accuracy.high) == pytest.approx(0.025, abs=1e-6)
    assert accuracy.high - accuracy.low > Accuracy(correct, total).high - Accuracy(correct, total).low


def test_exact_interval_at_the_ends():
    assert Accuracy(0, 20, method="exact").low == 0
    assert Accuracy(20, 20, method="exact").high == 1
    assert Accuracy(20, 20, method="exact").low == pytest.approx(0.025 ** (1 / 20))


@pytest.mark.parametrize("rate", [0.9, 0.97, 0.99])
def test_wilson_interval_covers_the_true_rate_as_often_as_it_says(rate):
    n = 359
    covered = 0.0
    for k in range(n + 1):
        accuracy = Accuracy(k, n)
        if accuracy.low <= rate <= accuracy.high:
            covered += math.comb(n, k) * rate**k * (1 - rate) ** (n - k)
    assert 0.93 < covered < 0.98


def test_it_prints_like_a_sentence():
    assert str(Accuracy(350, 360)) == "97.2 % (95.0 to 98.5)"
    assert float(Accuracy(1, 4)) == 0.25


def test_counts_by_class():
    accuracy = Accuracy(5, 8, (ClassCount("a", 4, 4), ClassCount("b", 1, 4), ClassCount("c", 0, 0)))
    assert accuracy.classes_seen == 2
    assert accuracy.balanced == (1 + 0.25) / 2
    assert math.isnan(accuracy.per_class[2].value)
    assert math.isnan(Accuracy(5, 8).balanced)


def test_it_survives_json():
    accuracy = Accuracy(5, 8, (ClassCount("a", 4, 4), ClassCount("b", 1, 4)), confidence=0.9, method="exact")
    assert Accuracy.from_dict(json.loads(json.dumps(accuracy.to_dict()))) == accuracy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"correct": 5, "total": 4}, "correct and total"),
        ({"correct": 0, "total": 0}, "correct and total"),
        ({"correct": -1, "total": 4}, "correct and total"),
        ({"correct": 1, "total": 4, "confidence": 95}, "confidence"),
        ({"correct": 1, "total": 4, "method": "normal"}, "method"),
        ({"correct": 1, "total": 4, "per_class": (ClassCount("a", 1, 3),)}, "per_class"),
        ({"correct": 1, "total": 4, "per_class": (ClassCount("a", 2, 4),)}, "per_class"),
    ],
)
def test_counts_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Accuracy(**arguments)
