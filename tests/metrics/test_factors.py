"""Orthonormal bases without an SVD: where all directions are certainly kept, and to how many digits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pyscale as ps
from pyscale.metrics.factors import factored, orthonormal_basis
from tests import oracles
from tests.metrics.samples import correlated, quick, rotation, seeds


def steep(seed, n, p, steepness):
    """Return U and x = U diag(σ) Vᵀ (n, p), the columns about 0, whose σ fall from 7 to ``steepness`` of that."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, p))
    U = np.linalg.qr(x - x.mean(axis=0))[0]
    return U, (U * np.geomspace(7, 7 * steepness, p)) @ rotation(seed, p).T


@pytest.mark.parametrize("p", [1, 2, 9])
@pytest.mark.parametrize("steepness", [1.0, 0.3, 1e-2, 1e-3, 1e-5, 3e-6])
def test_all_directions_that_count_are_in_the_basis(p, steepness):
    U, x = steep(p, 50, p, steepness)
    W = orthonormal_basis(torch.from_numpy(x + 3), constant=False, rtol=1e-6).coordinates.numpy()
    np.testing.assert_allclose(W.T @ W, np.eye(p), atol=1e-11)
    np.testing.assert_allclose(W @ W.T, U @ U.T, atol=1e-11 + 1e-15 / steepness)


@pytest.mark.parametrize("p", [2, 9])
@pytest.mark.parametrize("steepness", [1.0, 1e-2, 1e-4, 1e-5, 3e-7, 1e-9])
@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 0.0])
def test_no_direction_that_may_have_to_go_is_kept_unseen(p, steepness, rtol):
    found = factored(torch.from_numpy(steep(p, 50, p, steepness)[1]), constant=False, rtol=rtol)
    if steepness <= max(rtol, 1e-6):
        assert found is None
    if steepness > p * max(rtol, 1e-6):  # the bound is off by no more than the norms are
        assert found is not None
        assert found.rank == p


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("steepness", "way"), [(0.5, "exact"), (1e-2, "by type"), (1e-5, "QR"), (1e-9, "SVD")])
def test_every_way_gives_the_correlations_of_the_definition(steepness, way, dtype):
    x = torch.from_numpy(steep(3, 300, 8, steepness)[1] + 3).to(dtype)
    y = (x.double() @ torch.from_numpy(rotation(1, 8)[:, :5]) + torch.randn(300, 5, dtype=torch.float64)).to(dtype)
    found = factored(x, constant=False, rtol=1e-6)
    assert (found is None) == (way == "SVD")
    if found is not None:
        assert found.exact == {"exact": True, "by type": dtype == torch.float32, "QR": False}[way]
    result = ps.cca(x, y)
    expected = oracles.canonical_correlations(x.numpy(), y.numpy())
    assert result.rank_x == len(oracles.orthonormal_basis(x.numpy()).T)
    error = np.abs(result.correlations.numpy() - expected).max()
    assert error < (1e-12 + 1e-15 / steepness if dtype == torch.float64 else 1e-7)


@quick
@given(seeds, st.floats(-6, 6), st.floats(-3, 3), st.integers(0, 3))
def test_neither_units_of_features_nor_means_nor_dead_features_matter(seed, spread, mean, dead):
    x, y = correlated(seed, 90, 6, 4)
    expected = oracles.canonical_correlations(x, y)
    units = 10.0 ** np.linspace(-spread / 2, spread / 2, 6)
    x = np.insert((x + 10.0**mean) * units, [1] * dead, 0.1 * units.max(), axis=1)
    result = ps.cca(x, y, rtol=1e-9)
    assert result.rank_x == 6
    np.testing.assert_allclose(result.correlations, expected, rtol=0, atol=1e-9)


def test_dead_features_and_uneven_units_need_no_svd(monkeypatch):
    x, y = (torch.from_numpy(side) for side in correlated(0, 90, 6, 4))
    x = torch.cat([x * torch.logspace(-2, 2, 6, dtype=torch.float64), torch.zeros(90, 3, dtype=torch.float64)], dim=1)
    expected = oracles.canonical_correlations(x.numpy(), y.numpy())
    found = factored(x, constant=False, rtol=1e-6)
    assert found is not None
    assert found.exact, "rounding is relative to each feature's own variance"
    assert found.rank == 6
    monkeypatch.delattr(torch.linalg, "svd")
    np.testing.assert_allclose(ps.cca(x, y).correlations, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("steepness", [0.5, 1e-2, 1e-5, 1e-9])
@pytest.mark.parametrize("ridge", [1e-6, 1e-2, 3.0])
def test_a_ridge_needs_no_svd_either_and_counts_dead_features(steepness, ridge):
    x, y = steep(3, 300, 8, steepness)[1] + 3, correlated(1, 300, 5, 1)[0]
    y += x[:, :5]
    x = np.insert(x, 4, 2.0, axis=1)
    expected = oracles.ridge_correlations(x, y, ridge)
    result = ps.cca(x, y, ridge=ridge, rtol=1e-12)
    assert result.rank_x == 8
    np.testing.assert_allclose(result.correlations, expected[:5], rtol=0, atol=1e-9)
    side_x, side_y = (factored(torch.from_numpy(s), constant=False, rtol=1e-6, ridge=ridge) for s in (x, y))
    assert side_y is not None
    assert (side_x is None) == (steepness < 1e-6)
    for found, samples in ((side_x, x), (side_y, y)):
        if found is not None:
            squares = np.linalg.svd(samples - samples.mean(axis=0), compute_uv=False) ** 2
            total = (squares / (squares + ridge * squares.sum() / samples.shape[1])).sum()
            assert found.total == pytest.approx(total, rel=1e-9)
            assert found.shrunk


@pytest.mark.parametrize("steepness", [0.5, 1e-5])
def test_a_set_is_all_its_own(steepness):
    x = steep(0, 60, 7, steepness)[1]
    result = ps.cca(x, x)
    np.testing.assert_allclose(result.correlations, 1, rtol=0, atol=1e-12)
    assert (result.rank_x, result.rank_y) == (7, 7)


def test_values_do_not_change_where_derivatives_are_asked_for():
    x, y = (torch.from_numpy(side) for side in correlated(0, 60, 5, 4))
    plain, watched = ps.cca(x, y), ps.cca(x.clone().requires_grad_(), y)
    torch.testing.assert_close(watched.correlations.detach(), plain.correlations, rtol=0, atol=1e-13)
    assert watched.mean.requires_grad
    assert not plain.mean.requires_grad
