"""The permutation null of a comparison: small p-values for related layers, uniform ones for unrelated layers."""

from __future__ import annotations

import numpy as np
import torch

import pyscale as ps
from tests.comparison.networks import mlp, vectors


def test_related_layers_get_the_least_p_value_there_is():
    x, y = mlp(6, 20, 4, seed=1), mlp(6, 20, 4, seed=2)
    c = ps.compare(x, y, vectors(24, 24, p=6), permutations=99, progress=False)
    np.testing.assert_allclose(c.pvalues, 0.01)
    assert c.meta["permutations"] == 99


def test_unrelated_layers_get_uniform_p_values_and_standard_zscores():
    model = mlp(6, 5)
    pvalues, zscores = [], []
    for seed in range(60):
        one, two = vectors(16, 12, p=6, seed=seed), vectors(16, 12, p=6, seed=1000 + seed)
        c = ps.compare(model, model, one, loader_y=two, permutations=39, seed=seed, progress=False)
        pvalues.append(c.pvalues[0, 0])
        zscores.append(c.zscores[0, 0])
    # 60 draws of a uniform variable on {1/40, ..., 1}: mean 0.5125, standard deviation 0.2886
    assert abs(np.mean(pvalues) - 0.5125) < 4 * 0.2886 / 60**0.5
    assert abs(np.std(pvalues) - 0.2886) < 0.08
    assert min(pvalues) >= 1 / 40
    assert abs(np.mean(zscores)) < 4 / 60**0.5
    assert 0.6 < np.std(zscores) < 1.5


def test_the_seed_decides():
    x, y = mlp(6, 5, seed=1), mlp(6, 5, seed=2)
    one, two = vectors(8, 8, p=6, seed=1), vectors(8, 8, p=6, seed=2)
    runs = [
        ps.compare(x, y, one, loader_y=two, permutations=50, seed=seed, progress=False).pvalues for seed in (1, 1, 2)
    ]
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_without_permutations_there_are_no_p_values():
    assert ps.compare(mlp(4, 3), mlp(4, 3), vectors(8), progress=False).pvalues is None


def test_a_model_with_itself():
    model = mlp(6, 12, 4)
    c = ps.compare(model, model, vectors(24, 24, p=6), permutations=49, progress=False)
    np.testing.assert_allclose(c.pvalues, 0.02)
    assert torch.equal(torch.from_numpy(c.pvalues), torch.from_numpy(c.pvalues.T))
