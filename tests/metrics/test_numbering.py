"""Minibatches that are numbered: who saw them, and in which order, changes no error bar and no permutation."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyscale.metrics import MinibatchCKA, PermutationNull
from pyscale.ops import packed_gram
from tests.metrics.samples import correlated, quick

N = 150  # more than twice the blocks there may be


def minibatch(number):
    return correlated(number, 6, 4, 3)


WHOLE = MinibatchCKA()
for t in range(N):
    x, y = minibatch(t)
    WHOLE.update({"a": x}, {"b": y})


@quick
@given(st.integers(1, 7), st.randoms(use_true_random=False))
def test_shares_in_any_order_have_the_errors_of_the_whole(ranks, random):
    numbers = list(range(N))
    random.shuffle(numbers)
    metrics = []
    for rank in range(ranks):
        metric = MinibatchCKA()
        for number in numbers[rank::ranks]:
            x, y = minibatch(number)
            metric.update({"a": x}, {"b": y}, number=number)
        metrics.append(metric)
    random.shuffle(metrics)
    merged = MinibatchCKA().merge_state(metrics).compute()
    expected = WHOLE.compute()
    for name in ("values", "stderr", "zscores"):
        np.testing.assert_allclose(getattr(merged, name), getattr(expected, name), rtol=1e-10)


def test_metrics_without_numbers_are_appended():
    parts = [MinibatchCKA() for _ in range(2)]
    for number in range(20):
        x, y = minibatch(number)
        parts[number // 10].update({"a": x}, {"b": y})
    whole = MinibatchCKA()
    for number in range(20):
        whole.update(*({name: a} for name, a in zip("ab", minibatch(number), strict=True)))
    merged = parts[0].merge_state(parts[1])
    np.testing.assert_allclose(merged.compute().stderr, whole.compute().stderr, rtol=1e-10)


def test_a_minibatch_is_permuted_by_its_number():
    def null(numbers):
        found = PermutationNull(5, seed=3)
        for number in numbers:
            v, w = (packed_gram(torch.from_numpy(a)).values[None] for a in minibatch(number))
            found.update_packed(v, w, 6, number=number)
        return found

    merged = null([5, 1]).merge_state([null([0, 4]), null([3, 2])]).compute()
    np.testing.assert_allclose(merged, null(range(6)).compute(), rtol=1e-12)
