"""Procrustes similarity against the nuclear norm, its invariances and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given

import pyscale as ps
from tests import oracles
from tests.metrics.samples import correlated, quick, rotation, seeds


@pytest.mark.parametrize(("n", "p", "q"), [(2, 1, 1), (30, 4, 7), (10, 40, 30), (10, 40, 3), (10, 10, 12)])
def test_agrees_with_the_definition(n, p, q):
    x, y = correlated(n, n, p, q)
    assert ps.procrustes(x, y) == pytest.approx(oracles.procrustes(x, y), rel=1e-12)
    assert ps.procrustes(x + 1000, y) == pytest.approx(oracles.procrustes(x, y), rel=1e-9)


@quick
@given(seeds)
def test_invariances_and_bounds(seed):
    x, y = correlated(seed, 20, 5, 6)
    expected = ps.procrustes(x, y)
    assert 0 <= expected <= 1
    order = np.random.default_rng(seed).permutation(20)
    for a, b in ((x @ rotation(seed, 5), y), (0.01 * x, y + 3), (x[order], y[order]), (x[:, ::-1], y), (y, x)):
        assert ps.procrustes(a, b) == pytest.approx(expected, rel=1e-9)
    assert ps.procrustes(x, -2 * x @ rotation(seed, 5)) == pytest.approx(1, abs=1e-12)
    assert ps.procrustes(x * np.logspace(0, 2, 5), x) < 1 - 1e-6


@pytest.mark.parametrize(("n", "p", "q"), [(8, 3, 4), (5, 9, 7)])
def test_gradients(n, p, q):
    x, y = (torch.from_numpy(a).requires_grad_() for a in correlated(1, n, p, q))
    torch.autograd.gradcheck(ps.procrustes, (x, y))


def test_compiles_whole():
    x, y = (torch.from_numpy(a) for a in correlated(3, 12, 4, 3))
    compiled = torch.compile(ps.procrustes, backend="aot_eager", fullgraph=True)
    assert compiled(x, y).item() == pytest.approx(ps.procrustes(x, y).item(), rel=1e-12)


def test_results_come_in_kind():
    x, y = correlated(2, 20, 3, 4)
    assert type(ps.procrustes(x, y)) is float
    narrow = ps.procrustes(torch.from_numpy(x).bfloat16(), torch.from_numpy(y).float())
    assert (narrow.dtype, narrow.shape) == (torch.float32, ())


def test_bad_input():
    x = np.random.default_rng(0).standard_normal((8, 3))
    with pytest.warns(UserWarning, match="^y is constant to rounding") as caught:
        assert np.isnan(ps.procrustes(x, np.full((8, 2), 0.1)))
    assert caught[0].filename == __file__
    bad = x.copy()
    bad[0, 0] = np.inf
    with pytest.raises(ValueError, match="values of x hold infinity"):
        ps.procrustes(bad, x)
    with pytest.raises(ValueError, match="x has 8 samples and y has 7"):
        ps.procrustes(x, x[:7])
    with pytest.raises(ValueError, match="x has 1 samples; Procrustes similarity needs at least 2"):
        ps.procrustes(x[:1], x[:1])
