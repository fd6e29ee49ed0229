"""Sums of singular values by matrix products alone, against LAPACK and against what was put in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale.metrics import spectra
from pyscale.metrics.spectra import correlation_sums, nuclear_norms, polar_nuclear_norms, scales

R, S = 40, 48

SPECTRA = {
    "all ones": np.ones(R),
    "spread evenly": np.linspace(0.01, 1, R),
    "over twenty decades": np.logspace(-20, 0, R),
    "over eight decades": np.logspace(-8, 0, R),
    "ties": np.repeat([1.0, 0.3, 0.02, 1e-7], R // 4),
    "rank-deficient": np.repeat([1.0, 0.5, 0.0, 0.0], R // 4),
    # these hardly move the trace until they are nearly converged, when they make up most of a digit that counts
    "one and tiny ones": np.append(np.full(R - 1, 1e-9), 1.0),
    "one and many at the limit": np.append(np.full(R - 1, 2e-13), 1.0),
    "zero": np.zeros(R),
}


def matrices(sigma, count=3, rows=R, columns=S, seed=0):
    """Return matrices (count, rows, columns) of the given singular values, in random bases."""
    rng = np.random.default_rng(seed)
    bases = [np.linalg.qr(rng.standard_normal((count, n, len(sigma))))[0] for n in (rows, columns)]
    return torch.from_numpy((bases[0] * sigma) @ bases[1].transpose(0, 2, 1))


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("scale", [1.0, 1e-170, 1e160])
def test_nuclear_norms_of_any_spectrum(name, scale):
    sigma = SPECTRA[name] * scale
    M = matrices(sigma)
    for norms in (polar_nuclear_norms(M), polar_nuclear_norms(M.mT), nuclear_norms(M)):
        np.testing.assert_allclose(norms, np.full(3, sigma.sum()), rtol=2e-11)


@pytest.mark.parametrize(("r", "s"), [(1, 1), (1, 7), (5, 3), (64, 64), (130, 200)])
def test_nuclear_norms_are_lapacks(r, s):
    M = torch.from_numpy(np.random.default_rng(r).standard_normal((4, r, s)))
    np.testing.assert_allclose(polar_nuclear_norms(M), np.linalg.svd(M, compute_uv=False).sum(axis=-1), rtol=1e-12)


def test_zeros_around_a_matrix_change_nothing():
    M = matrices(SPECTRA["over eight decades"])
    padded = torch.nn.functional.pad(M, (0, 5, 0, 9))
    np.testing.assert_allclose(polar_nuclear_norms(padded), polar_nuclear_norms(M), rtol=1e-13)


@pytest.mark.parametrize("least", [1e-14, 1e-11, 1e-3, 0.5])
def test_what_steps_leave_undone_is_worth_less_than_the_limit(least):
    """A step maps each singular value by itself, so the loss of any matrix is that of its numbers."""
    sigma = np.append(np.logspace(-30, 0, 20_001), 0)
    reached = sigma
    for rho in scales(least):
        reached = 1.5 * rho * reached - 0.5 * (rho * reached) ** 3
        assert reached[sigma >= 0.9].min() > 0.05  # lower, and rounding would turn the largest directions
    assert reached.min() >= 0
    assert reached.max() <= 1 + 1e-14
    np.testing.assert_allclose(reached[sigma >= least], 1, atol=2e-14)
    assert (sigma * (1 - reached)).max() <= least


def test_a_stop_where_the_trace_stands_still_would_lose_digits():
    """Why the number of steps is fixed: plain steps move this trace by less than rounding from the first on."""
    sigma = np.append(np.full(R - 1, 1e-9), 1.0)
    first = 1.5 * sigma - 0.5 * sigma**3
    second = 1.5 * first - 0.5 * first**3
    assert sigma @ second - sigma @ first <= 2**-52
    assert sigma.sum() - sigma @ second > 3e-8


def test_no_matrices_and_empty_ones():
    for shape in ((0, 3, 4), (2, 0, 4), (2, 3, 0)):
        M = torch.zeros(shape, dtype=torch.float64)
        for norms in (polar_nuclear_norms(M), nuclear_norms(M), correlation_sums(M, squares=True)):
            assert norms.tolist() == [0.0] * shape[0]


@pytest.mark.parametrize("squares", [False, True])
@pytest.mark.parametrize("polar", [False, True])
def test_correlations_over_one_count_as_one(monkeypatch, squares, polar):
    if polar:
        monkeypatch.setattr(spectra, "_decomposed", lambda M: False)
    sound, over = np.linspace(0, 1, R), np.linspace(0, 1 + 1e-5, R)
    C = torch.cat([matrices(sound), matrices(over), matrices(np.ones(R))])
    power = 2 if squares else 1
    expected = np.repeat([(np.minimum(sigma, 1) ** power).sum() for sigma in (sound, over, np.ones(R))], 3)
    np.testing.assert_allclose(correlation_sums(C, squares=squares), expected, rtol=1e-11)
    np.testing.assert_allclose(correlation_sums(C.mT, squares=squares), expected, rtol=1e-11)


@pytest.mark.parametrize("name", SPECTRA)
def test_eigenvalues_are_taken_where_they_hold_the_digits_and_singular_values_where_not(monkeypatch, name):
    sigma = SPECTRA[name]
    C = matrices(sigma)
    np.testing.assert_allclose(correlation_sums(C, squares=False), np.full(3, sigma.sum()), rtol=1e-11)
    svdvals, calls = torch.linalg.svdvals, []
    monkeypatch.setattr(torch.linalg, "svdvals", lambda M: (calls.append(len(M)), svdvals(M))[1])
    sums = correlation_sums(torch.cat([C, matrices(np.linspace(0.1, 1, R))]), squares=False)
    np.testing.assert_allclose(sums, np.repeat([sigma.sum(), np.linspace(0.1, 1, R).sum()], 3), rtol=1e-11)
    needless = name in ("all ones", "spread evenly", "zero")
    assert sum(calls) == (0 if needless else 3)
