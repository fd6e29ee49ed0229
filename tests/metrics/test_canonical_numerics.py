"""CCA where directions are missing, nearly so, or tied: in memory, streamed, and of all pairs, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pyscale as ps
from pyscale.metrics import AllPairsMoments, spectra
from tests import oracles
from tests.metrics.samples import rotation

N, P, Q = 300, 12, 9

# What streaming keeps are the squares of σ. A direction of σ = s σ_max has errors of eps / s in memory, eps / s² there.
IN_MEMORY, STREAMED = 1e-11, 1e-9


def correlated_at(rho, p=P, q=Q, seed=0):
    """Return sets of N samples, not centred, whose canonical correlations are ``rho`` and then zeros."""
    rng = np.random.default_rng(seed)
    draws = rng.standard_normal((N, p + q))
    Z = np.linalg.qr(draws - draws.mean(axis=0))[0]
    rho = np.append(rho, np.zeros(q - len(rho)))
    y = Z[:, :q] * rho + Z[:, p:] * np.sqrt(1 - rho**2)
    scales = np.logspace(0, 1.5, p)
    return (Z[:, :p] * scales) @ rotation(seed, p) + 5, y @ rotation(seed + 1, q) - 2


def with_duplicates(distance):
    """Return x with copies of three columns that differ by ``distance`` of their size, and a y that knows how."""
    x, _ = correlated_at(np.linspace(0.9, 0.1, Q))
    x -= x.mean(axis=0)
    rng = np.random.default_rng(7)
    apart = rng.standard_normal((N, 3))
    copies = x[:, :3] + distance * np.linalg.norm(x[:, :3], axis=0) / np.sqrt(N) * apart
    return np.hstack([x, copies]), np.hstack([apart[:, :2] + 0.5 * rng.standard_normal((N, 2)), x[:, 5:8] ** 2])


def rank_deficient():
    x, y = correlated_at(np.linspace(0.95, 0.05, Q))
    return np.hstack([x, x @ np.ones((P, 3)), np.zeros((N, 2)), np.full((N, 1), 7.7)]), np.hstack([y, y[:, :4] * 3])


SETS = {
    "rank-deficient": rank_deficient(),
    "duplicates to 1e-3": with_duplicates(1e-3),
    "duplicates to 1e-9": with_duplicates(1e-9),
    "exact duplicates": with_duplicates(0.0),
    "tied": correlated_at([0.9, 0.9, 0.9, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1]),
    "all tied": correlated_at(np.full(Q, 0.6)),
    "all ones": correlated_at(np.ones(Q)),
    "zeros": correlated_at([0.8, 0.8]),
    "unrelated": correlated_at([]),
}


def tables(x, y):
    """Return mean and R² of all pairs of (x, y) with (y, x), from two updates."""
    moments = AllPairsMoments()
    for part in (slice(0, 110), slice(110, None)):
        moments.update([x[part], y[part]], [y[part], x[part]])
    return moments.cca(), moments.cca_r2()


@pytest.mark.parametrize("name", SETS)
def test_in_memory(name):
    x, y = SETS[name]
    rho = oracles.canonical_correlations(x, y)
    result = ps.cca(x, y)
    assert (result.rank_x, result.rank_y) == tuple(oracles.orthonormal_basis(t).shape[1] for t in (x, y))
    np.testing.assert_allclose(result.correlations, rho, rtol=0, atol=IN_MEMORY)
    assert result.mean == pytest.approx(rho.mean(), abs=IN_MEMORY)
    assert result.r2 == pytest.approx((rho**2).mean(), abs=IN_MEMORY)


@pytest.mark.parametrize("name", SETS)
def test_streamed(name):
    x, y = SETS[name]
    rho = oracles.canonical_correlations(x, y)
    metric = ps.metrics.StreamingCCA()
    for part in (slice(0, 110), slice(110, None)):
        metric.update(x[part], y[part])
    result = metric.compute()
    assert (result.rank_x, result.rank_y) == tuple(oracles.orthonormal_basis(t).shape[1] for t in (x, y))
    np.testing.assert_allclose(result.correlations, rho, rtol=0, atol=1e-7)  # of zeros: the root of rounding
    assert result.mean == pytest.approx(rho.mean(), abs=STREAMED)


@pytest.mark.parametrize("products", [False, True], ids=["eigenvalues", "products"])
@pytest.mark.parametrize("name", SETS)
def test_all_pairs(monkeypatch, name, products):
    if products:
        monkeypatch.setattr(spectra, "_decomposed", lambda M: False)
    x, y = SETS[name]
    pairs = [[oracles.canonical_correlations(a, b) for b in (y, x)] for a in (x, y)]
    mean, r2 = tables(x, y)
    np.testing.assert_allclose(mean, [[rho.mean() for rho in row] for row in pairs], rtol=0, atol=STREAMED)
    np.testing.assert_allclose(r2, [[(rho**2).mean() for rho in row] for row in pairs], rtol=0, atol=STREAMED)


def test_what_is_nearly_dropped_keeps_the_digits_that_squares_hold():
    """σ = 3e-6 σ_max, just above rtol: eleven digits in memory; streamed, where its square stands, five."""
    x, y = with_duplicates(2e-5)
    sigma = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    assert 1e-6 < sigma[-1] / sigma[0] < 1e-5
    rho = oracles.canonical_correlations(x, y)
    np.testing.assert_allclose(ps.cca(x, y).correlations, rho, rtol=0, atol=1e-11)
    streamed = ps.metrics.StreamingCCA().update(x, y).compute()
    assert streamed.rank_x == len(sigma)
    np.testing.assert_allclose(streamed.correlations, rho, rtol=0, atol=1e-5)
    np.testing.assert_allclose(tables(x, y)[0][0, 0], rho.mean(), rtol=0, atol=1e-6)


def test_whether_a_near_duplicate_counts_is_rtols_to_say():
    x, y = with_duplicates(1e-4)
    for rtol, rank in ((1e-7, P + 3), (1e-4, P)):
        assert oracles.orthonormal_basis(x, rtol).shape[1] == rank
        assert ps.cca(x, y, rtol=rtol).rank_x == rank
        assert ps.metrics.StreamingCCA(rtol=rtol).update(x, y).compute().rank_x == rank


def test_projection_weights_of_tied_correlations_are_of_no_account_where_all_are_tied():
    x, y = SETS["all tied"]
    assert ps.pwcca(x, y) == pytest.approx(0.6, abs=1e-12)
    np.testing.assert_allclose(AllPairsMoments().update([x], [y]).pwcca(), [[0.6]], atol=1e-11)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_that_share_decompositions_change_nothing(threads):
    """Wide enough that threads are started."""
    rng = np.random.default_rng(0)
    x = {str(i): torch.from_numpy(rng.standard_normal((400, 70)) @ rng.standard_normal((70, 70))) for i in range(6)}
    moments = AllPairsMoments().update(x)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = moments.cca(), moments.procrustes(), moments.pwcca()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for i, a in enumerate(x.values()):
        for j, b in enumerate(x.values()):
            pair = a.numpy(), b.numpy()
            expected = (
                oracles.canonical_correlations(*pair).mean(),
                oracles.procrustes(*pair),
                oracles.pwcca(*pair, "x"),
            )
            assert [table[i, j] for table in found] == pytest.approx(expected, abs=1e-8)
