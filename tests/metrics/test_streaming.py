"""Streaming metrics of two layers: equal to their functional twins on everything at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pyscale as ps
from pyscale.metrics import StreamingCCA, StreamingCKA, StreamingProcrustes, row_buffer, streaming
from tests import oracles
from tests.metrics.samples import correlated, pieces


def streamed(metric, x, y, cuts=(1, 2, 10, 33)):
    for a, b in zip(pieces(x, cuts), pieces(y, cuts), strict=True):
        metric.update(a, b)
    return metric


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
@pytest.mark.parametrize(("p", "q", "offset"), [(5, 3, 0), (1, 1, 5), (70, 40, 1000)])
def test_cka_is_that_of_everything_at_once(estimator, p, q, offset):
    x, y = correlated(p, 50, p, q)
    value = streamed(StreamingCKA(estimator=estimator), x + offset, y - offset).compute()
    assert type(value) is float
    assert value == pytest.approx(oracles.cka(x, y, "linear", estimator), rel=1e-8, abs=1e-10)


def test_cka_in_float32_with_means_of_a_thousand_sigmas():
    x, y = ((a + 1000).astype(np.float32) for a in correlated(1, 400, 20, 10))
    value = streamed(StreamingCKA(), x, y).compute()
    assert value == pytest.approx(oracles.cka(x.astype(np.float64), y.astype(np.float64)), abs=1e-9)


def test_cca_and_its_kin():
    x, y = correlated(2, 60, 8, 5)
    metric = streamed(StreamingCCA(), x + 100, y)
    result, expected = metric.compute(), ps.cca(x, y)
    np.testing.assert_allclose(result.correlations, expected.correlations, atol=1e-10)
    assert (result.mean, result.r2) == pytest.approx((expected.mean, expected.r2), rel=1e-10)
    assert (result.rank_x, result.rank_y, result.chance) == (8, 5, expected.chance)
    for variance in (0.5, 0.9, 0.99):
        truncated = metric.svcca(variance)
        assert truncated.mean == pytest.approx(oracles.svcca(x, y, variance), rel=1e-9)
        assert truncated.rank_x == ps.svcca(x, y, variance=variance).rank_x
    assert metric.svcca().mean == pytest.approx(oracles.svcca(x, y), rel=1e-9)
    for side in ("x", "y"):
        assert metric.pwcca(side) == pytest.approx(oracles.pwcca(x, y, side), rel=1e-9)
    assert metric.pwcca() == metric.pwcca("y")


def test_ridge():
    x, y = correlated(3, 60, 8, 5)
    result = streamed(StreamingCCA(ridge=0.4), x, y).compute()
    np.testing.assert_allclose(result.correlations, oracles.ridge_correlations(x, y, 0.4), atol=1e-10)
    assert result.chance == pytest.approx(ps.cca(x, y, ridge=0.4).chance, rel=1e-10)


def test_rank_deficient_sets_lose_their_empty_directions():
    x, y = correlated(4, 60, 5, 4)
    wide = np.hstack([x, x @ np.ones((5, 3)), np.full((60, 2), 3.3)])
    result = streamed(StreamingCCA(), wide, y).compute()
    assert result.rank_x == 5
    np.testing.assert_allclose(result.correlations, oracles.canonical_correlations(x, y), atol=1e-8)


def test_procrustes():
    x, y = correlated(5, 60, 8, 5)
    value = streamed(StreamingProcrustes(), x - 100, y).compute()
    assert value == pytest.approx(oracles.procrustes(x, y), rel=1e-9)
    assert streamed(StreamingProcrustes(), x, 2 * x).compute() == pytest.approx(1, abs=1e-12)


def test_too_few_samples_warn_with_the_numbers():
    x, y = correlated(6, 8, 6, 5)
    metric = StreamingCCA().update(x, y)
    for call in (metric.compute, metric.pwcca, metric.svcca):
        with pytest.warns(UserWarning, match=r"8 samples are too few for CCA: rank_x \+ rank_y") as caught:
            call()
        assert caught[0].filename == __file__


def test_constant_sets_give_nan_and_a_warning():
    x = np.random.default_rng(0).standard_normal((20, 3))
    constant = np.full((20, 2), 0.1)
    for make, name in ((StreamingCKA, "CKA"), (StreamingProcrustes, "Procrustes similarity")):
        metric = streamed(make(), x, constant)
        with pytest.warns(UserWarning, match=f"^y is constant to rounding over the samples: {name} is NaN") as caught:
            assert np.isnan(metric.compute())
        assert caught[0].filename == __file__
    cca = streamed(StreamingCCA(), constant, x)
    for call in (cca.compute, cca.svcca):
        with pytest.warns(UserWarning, match="^x is constant to rounding") as caught:
            assert np.isnan(call().mean)
        assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="^x is constant to rounding"):
        assert np.isnan(cca.pwcca())
    # constant in each update, but not over all
    steps = StreamingCKA().update(x[:10], constant[:10]).update(x[10:], 2 * constant[10:])
    jump = np.repeat([[0.0], [1.0]], 10, axis=0)
    assert steps.compute() == pytest.approx(oracles.cka(x, jump), rel=1e-9)


def test_bad_updates_change_nothing():
    x, y = correlated(7, 20, 4, 3)
    metric = StreamingCKA().update(x, y)
    before = metric.compute()
    bad = y.copy()
    bad[1, 1] = np.nan
    with pytest.raises(ValueError, match="x has 3 features; earlier updates had 4"):
        metric.update(x[:, :3], y)
    with pytest.raises(ValueError, match="y has 2 features; earlier updates had 3"):
        metric.update(x, y[:, :2])
    with pytest.raises(ValueError, match="values of y hold NaN"):
        metric.update(x, bad)
    with pytest.raises(ValueError, match="float16 overflows beyond 65504"):
        metric.update(x, np.full((20, 3), np.inf, dtype=np.float16))
    with pytest.raises(ValueError, match="x has 20 samples and y has 19"):
        metric.update(x, y[1:])
    with pytest.raises(TypeError, match="x has dtype int64"):
        metric.update(np.ones((20, 4), dtype=np.int64), y)
    assert metric.n == 20
    assert metric.compute() == before


@pytest.mark.parametrize("enough", [1, 10, 26, 1000])
def test_how_many_samples_are_held_is_of_no_account(monkeypatch, enough):
    monkeypatch.setattr(streaming, "ENOUGH_ROWS", enough)
    monkeypatch.setattr(row_buffer, "ENOUGH_ROWS", enough)
    x, y = correlated(11, 60, 5, 4)
    metric = streamed(StreamingCKA(), x + 50, y)
    assert metric.n == 60
    assert metric.compute() == pytest.approx(oracles.cka(x, y), rel=1e-10)
    halves = [streamed(StreamingCCA(), x[rows], y[rows], (3, 20)) for rows in (slice(0, 28), slice(28, None))]
    merged = halves[0].merge_state(halves[1])
    np.testing.assert_allclose(merged.compute().correlations, oracles.canonical_correlations(x, y), atol=1e-10)


def test_held_bytes_are_bounded(monkeypatch):
    monkeypatch.setattr(row_buffer, "MOST_BYTES", 1500)
    x, y = correlated(12, 60, 5, 4)
    metric = StreamingCKA()
    for a, b in zip(np.split(x, 12), np.split(y, 12), strict=True):
        metric.update(a, b)
        assert metric._held.bytes < 1500 + 5 * 9 * 8  # and one update
    assert metric._held.bytes > 0
    assert metric.compute() == pytest.approx(oracles.cka(x, y), rel=1e-10)
    assert metric._held.bytes == 0


@pytest.mark.parametrize("n", [20, 1500])
def test_samples_are_taken_as_they_were_given(n):
    x, y = correlated(13, n, 4, 3)
    a, b = torch.from_numpy(x.copy()), torch.from_numpy(y.copy())
    metric = StreamingCKA().update(a, b)
    a.relu_()
    b.zero_()
    assert metric.compute().item() == pytest.approx(oracles.cka(x, y), rel=1e-10)


def test_updates_of_no_samples_add_nothing():
    x, y = correlated(8, 20, 4, 3)
    metric = StreamingCKA().update(x[:0], y[:0]).update(x, y).update(x[:0], y[:0])
    assert metric.compute() == StreamingCKA().update(x, y).compute()


def test_too_few_samples_for_the_estimator():
    x, y = correlated(9, 3, 2, 2)
    with pytest.raises(ValueError, match="3 samples were seen; at least 4 are needed"):
        StreamingCKA().update(x, y).compute()
    assert StreamingCKA(estimator="biased").update(x, y).compute() == pytest.approx(
        oracles.cka(x, y, "linear", "biased"), rel=1e-10
    )
    with pytest.raises(ValueError, match="1 samples were seen; at least 2"):
        StreamingCCA().update(x[:1], y[:1]).compute()


def test_options_are_checked():
    with pytest.raises(ValueError, match="estimator is 'song'"):
        StreamingCKA(estimator="song")
    with pytest.raises(ValueError, match="ridge is -1"):
        StreamingCCA(ridge=-1)
    with pytest.raises(ValueError, match="rtol is 2"):
        StreamingCCA(rtol=2)
    metric = StreamingCCA().update(*correlated(0, 20, 2, 2))
    with pytest.raises(ValueError, match="variance is 0"):
        metric.svcca(0)
    with pytest.raises(ValueError, match="weight_by is 'z'"):
        metric.pwcca("z")


def test_results_come_in_kind_and_modes_leave_no_trace():
    x, y = (torch.from_numpy(a).float() for a in correlated(10, 20, 4, 3))
    metric = StreamingCKA()
    with torch.inference_mode():
        metric.update(x, y)
    metric.update(x.clone().requires_grad_(), y)
    with torch.inference_mode():
        metric.update(x, y)
    value = metric.compute()
    assert (value.dtype, value.shape, value.requires_grad) == (torch.float64, (), False)
    assert type(StreamingCKA().merge_state(StreamingCKA().update(x.numpy(), y.numpy())).compute()) is float
    result = StreamingCCA().update(x, y).compute()
    assert isinstance(result.correlations, torch.Tensor)
    assert isinstance(StreamingCCA().update(x.numpy(), y.numpy()).compute().correlations, np.ndarray)


@pytest.mark.parametrize("kind", [StreamingCKA, StreamingCCA, StreamingProcrustes])
def test_co_moments_that_do_not_fit_are_a_memory_error(kind):
    p = 6_000_000  # whose co-moments no address space holds: 288 TB
    metric, x = kind(), torch.zeros(4, 1).expand(4, p)
    with pytest.raises(MemoryError, match=f"could not allocate {8 * p**2} bytes .* for the tensors of {kind.__name__}"):
        metric.update(x, x[:, :1])
    assert metric.n == 0
