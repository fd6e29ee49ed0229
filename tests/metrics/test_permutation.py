"""The permutation null: sums over shuffled samples, p-values that are uniform for unrelated data."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale.metrics import MinibatchCKA, PermutationNull
from pyscale.ops import packed_gram
from tests import oracles
from tests.metrics.samples import correlated


def packed(x):
    gram = packed_gram(torch.from_numpy(x))
    return gram.values[None], gram.constant[None]


def both(batches, permutations, seed=0):
    metric, null = MinibatchCKA(["x"], ["y"]), PermutationNull(permutations, seed)
    for x, y in batches:
        (v, cv), (w, cw) = packed(x), packed(y)
        metric.update_packed(v, w, len(x), cv, cw)
        null.update_packed(v, w, len(x), cv, cw)
    return metric.compute(), null, metric.self_sums()


def test_sums_have_the_distribution_of_shuffled_samples():
    """Mean 0 and the exact variance, and every sum is one that some permutation gives."""
    from itertools import permutations

    x, y = correlated(0, 5, 3, 2)
    U, V = (oracles.u_centred(oracles.kernel_matrix(a)) for a in (x, y))
    every = np.array([np.sum(U * V[np.ix_(order, order)]) for order in permutations(range(5))])
    sums = PermutationNull(400).update_packed(packed(x)[0], packed(y)[0], 5).compute()[:, 0, 0]
    assert np.abs(sums[:, None] - every).min(axis=1).max() < 1e-10 * np.abs(every).max()
    assert abs(sums.mean()) < 4 * every.std() / 20
    assert sums.std() == pytest.approx(every.std(), rel=0.15)


def test_all_layers_share_a_permutation():
    x, y = correlated(1, 12, 4, 4)
    v, w = packed(x)[0], packed(y)[0]
    sums = PermutationNull(6).update_packed(torch.cat([v, 2 * v]), torch.cat([w, w, 3 * w]), 12).compute()
    np.testing.assert_allclose(sums, sums[:, :1, :1] * np.outer([1, 2], [1, 1, 3]), rtol=1e-12)


def test_pvalues_count_the_draws_that_reach_the_value():
    batches = [correlated(t, 10, 3, 4, noise=4.0) for t in range(3)]
    result, null, (xx, yy) = both(batches, 99)
    shuffled = null.compute()[:, 0, 0] / np.sqrt(xx[0] * yy[0])
    expected = (1 + np.sum(shuffled >= result.values[0, 0])) / 100
    assert null.pvalues(result.values, xx, yy)[0, 0] == expected
    assert null.pvalues(np.array([[-2.0]]), xx, yy) == [[1.0]]
    assert null.pvalues(np.array([[2.0]]), xx, yy) == [[0.01]]


def test_pvalues_of_unrelated_data_are_uniform_and_of_related_data_least():
    rng = np.random.default_rng(0)
    pvalues = []
    for seed in range(60):
        batches = [(rng.standard_normal((8, 3)), rng.standard_normal((8, 30))) for _ in range(2)]
        result, null, sums = both(batches, 19, seed)
        pvalues.append(null.pvalues(result.values, *sums)[0, 0])
    assert np.mean(pvalues) == pytest.approx(0.525, abs=4 * 0.29 / np.sqrt(60))
    assert np.mean(np.array(pvalues) <= 0.25) == pytest.approx(0.25, abs=4 * 0.43 / np.sqrt(60))
    result, null, sums = both([correlated(t, 16, 5, 5) for t in range(3)], 19)
    assert null.pvalues(result.values, *sums)[0, 0] == 0.05


def test_permutations_that_change_nothing_are_hits():
    """Four samples in two equal pairs: many permutations give the same sum, up to the order of its addition."""
    x = np.array([[0.1], [0.1], [0.7], [0.7]]) @ np.ones((1, 5)) + 1e-9
    result, null, sums = both([(x, 3 * x)], 200)
    assert null.pvalues(result.values, *sums)[0, 0] == pytest.approx(1 / 3, abs=0.13)


def test_seeds():
    batches = [correlated(t, 9, 3, 4) for t in range(2)]
    sums = [both(batches, 5, seed)[1].compute() for seed in (0, 0, 1)]
    np.testing.assert_array_equal(sums[0], sums[1])
    assert (sums[0] != sums[2]).all()
    state = torch.get_rng_state()
    both(batches, 5)
    assert torch.equal(torch.get_rng_state(), state)
    v, w = packed(batches[0][0])[0], packed(batches[0][1])[0]
    twice = PermutationNull(5).update_packed(v, w, 9)
    first = twice.compute()
    assert (twice.update_packed(v, w, 9).compute() != 2 * first).any()  # the second minibatch is permuted anew


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_constant_minibatches_add_nothing(kernel):
    x, y = correlated(2, 9, 3, 4)
    grams = [packed_gram(torch.from_numpy(a), kernel=kernel) for a in (x, np.full((9, 2), 0.1))]
    (v, cv), (w, cw) = ((g.values[None], g.constant[None]) for g in grams)
    null = PermutationNull(7).update_packed(v, w, 9, cv, cw)
    assert (null.compute() == 0).all()
    assert np.isnan(null.pvalues(np.array([[np.nan]]), np.ones(1), np.zeros(1)))
    assert y.shape == (9, 4)


def test_bad_input():
    v = torch.ones(1, 28)
    with pytest.raises(ValueError, match="permutations is 0; expected at least 1"):
        PermutationNull(0)
    with pytest.raises(ValueError, match="expected rows of 36 for 9 samples"):
        PermutationNull(3).update_packed(v, v, 9)
    null = PermutationNull(3).update_packed(v, v, 8)
    with pytest.raises(ValueError, match=r"v and w are of 2 and 1 layers; earlier ones were of \(1, 1\)"):
        null.update_packed(v.repeat(2, 1), v, 8)
    with pytest.raises(ValueError, match="v is on meta and the null on cpu"):
        null.update_packed(v.to("meta"), v.to("meta"), 8)
    assert null.update_packed(torch.ones(1, 3), torch.ones(1, 3), 3).batches == 1
