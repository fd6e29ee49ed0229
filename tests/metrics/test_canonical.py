"""CCA, SVCCA and PWCCA against plain bases and singular values, and where they are undefined or worthless."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pyscale as ps
from tests import oracles
from tests.metrics.samples import correlated, quick, rotation, seeds


@pytest.mark.parametrize(("n", "p", "q"), [(30, 4, 7), (200, 20, 11), (25, 1, 5), (12, 3, 3)])
def test_cca_agrees_with_the_definition(n, p, q):
    x, y = correlated(n + p, n, p, q)
    result = ps.cca(x, y)
    expected = oracles.canonical_correlations(x, y)
    np.testing.assert_allclose(result.correlations, expected, rtol=0, atol=1e-12)
    assert result.mean == pytest.approx(expected.mean(), rel=1e-12)
    assert result.r2 == pytest.approx((expected**2).mean(), rel=1e-12)
    assert (result.rank_x, result.rank_y) == (p, q)
    assert np.all(np.diff(result.correlations) <= 0)
    assert 0 <= result.correlations[-1] <= result.correlations[0] <= 1


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 3.0])
def test_ridge_adds_to_the_diagonal(ridge):
    x, y = correlated(1, 40, 6, 9)
    result = ps.cca(x, y, ridge=ridge)
    np.testing.assert_allclose(result.correlations, oracles.ridge_correlations(x, y, ridge), atol=1e-12)
    assert result.mean < ps.cca(x, y).mean


def test_ridge_makes_wide_data_comparable():
    x, y = correlated(2, 20, 40, 30)
    result = ps.cca(x, y, ridge=0.5)  # no warning: nothing is 1 whatever the data
    expected = oracles.ridge_correlations(x, y, 0.5)[:19]
    np.testing.assert_allclose(result.correlations, expected, atol=1e-10)


@quick
@given(seeds)
def test_cca_knows_no_invertible_map(seed):
    x, y = correlated(seed, 50, 6, 4)
    rng = np.random.default_rng(seed)
    maps = (rotation(seed, 6) * np.logspace(0, 2, 6)) @ rotation(seed + 1, 6)
    expected = ps.cca(x, y, rtol=1e-9)
    order = rng.permutation(50)
    for a, b in ((x @ maps + 100, y), (x, 1e-3 * y), (x[order], y[order]), (x[:, ::-1], y)):
        correlations = ps.cca(a, b, rtol=1e-9).correlations  # of condition numbers up to 1e7
        np.testing.assert_allclose(correlations, expected.correlations, atol=1e-8)
    np.testing.assert_allclose(ps.cca(x, x @ maps).correlations, 1, atol=1e-9)


@pytest.mark.parametrize("variance", [0.3, 0.8, 0.99, 1.0])
def test_svcca_agrees_with_the_definition(variance):
    x, y = correlated(3, 60, 12, 9)
    result = ps.svcca(x, y, variance=variance)
    expected = oracles.canonical_correlations(oracles.truncated(x, variance), oracles.truncated(y, variance))
    np.testing.assert_allclose(result.correlations, expected, atol=1e-12)
    assert result.rank_x == oracles.orthonormal_basis(oracles.truncated(x, variance)).shape[1]


def test_svcca_knows_no_scale_nor_constant():
    x, y = correlated(4, 60, 12, 9)
    expected = ps.svcca(x, y).mean
    assert ps.svcca(1e4 * x + 50, 1e-4 * y - 3).mean == pytest.approx(expected, rel=1e-9)
    assert ps.svcca(x @ rotation(0, 12), y).mean == pytest.approx(expected, rel=1e-9)
    assert ps.svcca(x, x).mean == pytest.approx(1, abs=1e-12)


def test_pwcca_agrees_with_the_definition_from_every_side():
    x, y = correlated(5, 80, 9, 6)
    for side in ("x", "y"):
        assert ps.pwcca(x, y, weight_by=side) == pytest.approx(oracles.pwcca(x, y, side), rel=1e-12)
    assert ps.pwcca(x, y) == ps.pwcca(x, y, weight_by="y")  # y is the narrower
    assert ps.pwcca(y, x) == pytest.approx(ps.pwcca(x, y), rel=1e-12)
    x, y = correlated(6, 80, 5, 5)
    assert ps.pwcca(x, y) == pytest.approx(oracles.pwcca(x, y, "x"), rel=1e-12)  # a tie: x


def test_pwcca_knows_no_constant_and_is_its_own_correlation():
    x, y = correlated(6, 80, 9, 6)
    assert ps.pwcca(x + 100, y - 7) == pytest.approx(ps.pwcca(x, y), rel=1e-9)
    assert ps.pwcca(x, x) == pytest.approx(1, abs=1e-12)


def test_rank_deficient_sets_lose_their_empty_directions():
    x, y = correlated(7, 50, 5, 4)
    expected = ps.cca(x, y).correlations
    wide = np.hstack([x, x @ np.ones((5, 3)), np.zeros((50, 2)), np.full((50, 1), 7.7)])
    result = ps.cca(wide, y)
    assert result.rank_x == 5
    np.testing.assert_allclose(result.correlations, expected, atol=1e-10)


def test_rtol_drops_small_directions():
    x, y = correlated(8, 50, 4, 4)
    x = x * [1, 1, 1, 1e-4]
    assert ps.cca(x, y).rank_x == 4
    assert ps.cca(x, y, rtol=1e-2).rank_x == 3


# ---- Chance and too few samples ----


@pytest.mark.parametrize(
    ("n", "p", "q", "expected"), [(200, 20, 20, 0.1005), (200, 20, 100, 0.5025), (101, 3, 97, 0.97)]
)
def test_chance_is_what_unrelated_data_get(n, p, q, expected):
    rng = np.random.default_rng(n + q)
    draws = [ps.cca(rng.standard_normal((n, p)), rng.standard_normal((n, q))) for _ in range(6)]
    assert draws[0].chance == pytest.approx(expected, abs=1e-4)
    assert np.mean([draw.r2 for draw in draws]) == pytest.approx(expected, abs=0.02)


def test_chance_under_a_ridge_is_the_mean_over_permutations():
    x, y = correlated(9, 6, 2, 3)
    rng = np.random.default_rng(0)
    shuffled = [ps.cca(x, y[rng.permutation(6)], ridge=0.3).r2 for _ in range(600)]
    assert ps.cca(x, y, ridge=0.3).chance == pytest.approx(np.mean(shuffled), abs=4 * np.std(shuffled) / np.sqrt(600))


def test_too_few_samples_warn_with_the_numbers():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((12, 7)), rng.standard_normal((12, 6))
    with pytest.warns(UserWarning, match=r"rank_x \+ rank_y = 7 \+ 6 > n - 1 = 11, so at least 2 of 6") as caught:
        result = ps.cca(x, y)
    assert caught[0].filename == __file__
    np.testing.assert_allclose(result.correlations[:2], 1, atol=1e-12)
    assert result.correlations[2] < 0.9999
    with pytest.warns(UserWarning, match="too few for CCA"):
        assert ps.pwcca(x, y) > 0.5
    with pytest.warns(UserWarning, match=r"11 \+ 11 > n - 1 = 11, so at least 11 of 11"):
        wide = ps.cca(rng.standard_normal((12, 300)), rng.standard_normal((12, 40)))
    assert wide.mean == pytest.approx(1, abs=1e-12)
    assert wide.chance == 1
    with pytest.warns(UserWarning, match="too few"):
        ps.svcca(x, y)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 + 0.1])
def test_constant_sets_give_nan_and_a_warning(value):
    x = np.random.default_rng(0).standard_normal((20, 4))
    constant = np.full((20, 3), value)
    for function in (ps.cca, ps.svcca):
        with pytest.warns(UserWarning, match="^y is constant to rounding") as caught:
            result = function(x, constant)
        assert caught[0].filename == __file__
        assert result.rank_y == len(result.correlations) == 0
        assert np.isnan([result.mean, result.r2, result.chance]).all()
    with pytest.warns(UserWarning, match="^x is constant to rounding"):
        assert np.isnan(ps.pwcca(constant, x))


def test_bad_arguments():
    x = np.random.default_rng(0).standard_normal((20, 4))
    bad = x.copy()
    bad[3, 1] = np.nan
    for function in (ps.cca, ps.svcca, ps.pwcca):
        with pytest.raises(ValueError, match="values of y hold NaN"):
            function(x, bad)
        with pytest.raises(ValueError, match="x has 1 samples; CCA needs at least 2"):
            function(x[:1], x[:1])
        with pytest.raises(ValueError, match="x has 20 samples and y has 19"):
            function(x, x[1:])
        with pytest.raises(ValueError, match="rtol is -1"):
            function(x, x, rtol=-1)
        with pytest.raises(TypeError, match="rtol is 'a'; expected a number"):
            function(x, x, rtol="a")
        with pytest.raises(TypeError, match="x has dtype int64"):
            function(np.ones((20, 4), dtype=np.int64), x)
    with pytest.raises(ValueError, match="ridge is -0"):
        ps.cca(x, x, ridge=-0.5)
    with pytest.raises(TypeError, match="ridge is None"):
        ps.cca(x, x, ridge=None)
    with pytest.raises(TypeError, match=r"variance is '0\.9'"):
        ps.svcca(x, x, variance="0.9")
    with pytest.raises(ValueError, match=r"variance is 1.5; expected a share in \(0, 1\]"):
        ps.svcca(x, x, variance=1.5)
    with pytest.raises(ValueError, match="weight_by is 'z'"):
        ps.pwcca(x, x, weight_by="z")


@pytest.mark.parametrize("function", [ps.cca, ps.pwcca, ps.procrustes], ids=lambda function: function.__name__)
def test_memory_that_is_not_to_be_had_is_named(function):
    x = torch.ones(1).expand(1 << 23, 1 << 23)
    with pytest.raises(MemoryError, match=rf"could not allocate \d+ bytes .* for the tensors of {function.__name__}"):
        function(x, x)


def test_results_come_in_kind():
    x, y = correlated(10, 30, 4, 5)
    result = ps.cca(x, y)
    assert isinstance(result.correlations, np.ndarray)
    assert type(result.mean) is type(result.r2) is type(result.chance) is float
    tensors = torch.from_numpy(x).float(), torch.from_numpy(y).half()
    narrow = ps.cca(*tensors)
    assert narrow.correlations.dtype == narrow.mean.dtype == torch.float32
    assert narrow.mean.item() == pytest.approx(oracles.canonical_correlations(*(t.numpy() for t in tensors)).mean())
    assert type(ps.pwcca(x, y)) is float
    with pytest.raises(AttributeError):
        result.mean = 0.0


# ---- Derivatives ----


@settings(quick, max_examples=5)
@given(seeds, st.sampled_from([0.7, 0.9, 1.0]))
def test_gradients(seed, variance):
    x, y = (torch.from_numpy(a).requires_grad_() for a in correlated(seed, 9, 4, 3))
    torch.autograd.gradcheck(lambda a, b: ps.svcca(a, b, variance=variance).mean, (x, y), atol=1e-4)


def test_gradients_under_a_ridge_and_with_empty_and_tied_directions():
    x, y = (torch.from_numpy(a).requires_grad_() for a in correlated(11, 9, 4, 3))
    torch.autograd.gradcheck(lambda a, b: ps.cca(a, b, ridge=0.2).r2, (x, y))
    basis = torch.from_numpy(oracles.orthonormal_basis(np.random.default_rng(0).standard_normal((30, 4))))
    tied = (basis @ torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0], dtype=torch.float64))).requires_grad_()
    target = torch.from_numpy(np.random.default_rng(1).standard_normal((30, 3)))
    torch.autograd.gradcheck(lambda a: ps.cca(a, target).mean, (tied,))
    # columns of zeros, and a wide set: directions of σ = 0, where the derivative of the SVD itself is NaN
    wide = torch.cat([tied.detach(), torch.zeros(30, 40, dtype=torch.float64)], dim=1).requires_grad_()
    ps.svcca(wide, target).mean.backward()
    ps.svcca(tied, target).mean.backward()
    torch.testing.assert_close(wide.grad[:, :4], tied.grad)
    assert torch.isfinite(wide.grad).all()


@pytest.mark.parametrize(
    ("similarity", "options"), [(ps.svcca, {"variance": 0.6}), (ps.svcca, {}), (ps.cca, {"ridge": 0.2})]
)
def test_compiles_whole(similarity, options):
    """Though how many directions are kept, and so the sizes inside, depends on the data."""
    x, y = (torch.from_numpy(a).requires_grad_() for a in correlated(3, 30, 6, 5))
    compiled = torch.compile(similarity, backend="aot_eager", fullgraph=True)
    result, expected = compiled(x, y, **options), similarity(x, y, **options)
    torch.testing.assert_close(result.correlations, expected.correlations)
    assert (int(result.rank_x), int(result.rank_y)) == (expected.rank_x, expected.rank_y)
    assert float(result.chance) == pytest.approx(expected.chance, rel=1e-12)
    for summary in ("mean", "r2"):
        gradients = torch.autograd.grad(getattr(result, summary), (x, y), retain_graph=True)
        torch.testing.assert_close(
            gradients, torch.autograd.grad(getattr(expected, summary), (x, y), retain_graph=True)
        )
    with pytest.warns(UserWarning, match="x is constant to rounding over the samples: CCA is NaN"):
        assert compiled(torch.ones_like(x), y, **options).mean.isnan()
    with pytest.raises(ValueError, match="values of x hold NaN"):
        compiled(x * torch.nan, y, **options)


def test_the_op_of_compiled_graphs_keeps_the_rules_of_ops():
    x, y = (torch.from_numpy(a).requires_grad_() for a in correlated(4, 20, 4, 3))
    torch.library.opcheck(torch.ops.pyscale.canonical, (x, y, 0.9, 0.0, 1e-6))
