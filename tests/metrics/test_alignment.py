"""CKA and HSIC of one pair against the definition, their invariances, and what bad input gets."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pyscale as ps
from pyscale.metrics import AllPairsMoments, MinibatchCKA, StreamingCKA
from tests import oracles
from tests.metrics.samples import correlated, quick, rotation, seeds
from tests.tolerances import RELATIVE

KERNELS = ("linear", "rbf")
ESTIMATORS = ("unbiased", "biased")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("n", "p", "q"), [(4, 3, 2), (5, 40, 7), (33, 20, 30), (80, 5, 9), (40, 1, 1)])
def test_agrees_with_the_definition(kernel, estimator, n, p, q):
    x, y = correlated(n * p + q, n, p, q)
    options = {"kernel": kernel, "estimator": estimator, "bandwidth": 0.7}
    assert ps.hsic(x, y, **options) == pytest.approx(oracles.hsic(x, y, kernel, estimator, 0.7), rel=1e-10)
    assert ps.cka(x, y, **options) == pytest.approx(oracles.cka(x, y, kernel, estimator, 0.7), rel=1e-10, abs=1e-12)


def test_song_and_szekely_agree():
    x, y = correlated(0, 20, 6, 8)
    K, L = oracles.kernel_matrix(x), oracles.kernel_matrix(y)
    expected = np.sum(oracles.u_centred(K) * oracles.u_centred(L)) / (20 * 17)
    assert ps.hsic(x, y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("n", [24, 90])  # through Grams, through features
def test_every_dtype_is_held_to_its_tolerance(dtype, n):
    tensors = [torch.from_numpy(a).to(getattr(torch, dtype)) for a in correlated(1, n, 12, 20)]
    rounded = [t.double().numpy() for t in tensors]
    for estimator in ESTIMATORS:
        result = ps.cka(*tensors, estimator=estimator)
        assert result.dtype == (torch.float64 if dtype == "float64" else torch.float32)
        assert result.item() == pytest.approx(oracles.cka(*rounded, "linear", estimator), rel=RELATIVE[dtype])


class Foreign:
    """An array of a library of its own: DLPack and the array API's namespace, nothing else."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, **options):
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()

    def __array_namespace__(self):
        return Foreign

    @staticmethod
    def from_dlpack(other):
        return Foreign(torch.from_dlpack(other))


def test_results_come_in_the_kind_of_the_first_argument():
    x, y = correlated(2, 30, 4, 5)
    expected = oracles.cka(x, y)
    assert type(ps.cka(x, y)) is float
    assert type(ps.hsic(x.astype(np.float32), y)) is float
    tensor = ps.cka(torch.from_numpy(x), y)
    assert isinstance(tensor, torch.Tensor)
    assert tensor.shape == ()
    foreign = ps.cka(Foreign(torch.from_numpy(x)), Foreign(torch.from_numpy(y)))
    assert isinstance(foreign, Foreign)
    assert foreign.tensor.item() == tensor.item() == pytest.approx(expected, rel=1e-12)


def test_layout_in_memory_does_not_matter():
    x, y = (torch.from_numpy(a) for a in correlated(3, 30, 40, 50))
    expected = ps.cka(x, y)
    strided = torch.empty(60, 80, dtype=torch.float64)[::2, ::2].copy_(x)
    assert ps.cka(strided, y.T.contiguous().T) == pytest.approx(expected.item(), rel=1e-13)
    assert ps.cka(x.numpy()[::-1], y.numpy()[::-1]) == pytest.approx(expected.item(), rel=1e-12)


# ---- Invariances ----


@quick
@given(seeds, st.sampled_from(KERNELS), st.sampled_from(ESTIMATORS), st.sampled_from([12, 60]))
def test_invariances(seed, kernel, estimator, n):
    x, y = correlated(seed, n, 7, 9)
    options = {"kernel": kernel, "estimator": estimator}
    expected = ps.cka(x, y, **options)
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    moved = [
        (x @ rotation(seed, 7), y),
        (x, 0.01 * y),
        (x[:, rng.permutation(7)], y),
        (x[order], y[order]),
        (x + rng.standard_normal(7), y - 3),
        (np.hstack([x, np.zeros((n, 5))]), y),
    ]
    for a, b in moved:
        assert ps.cka(a, b, **options) == pytest.approx(expected, rel=1e-8, abs=1e-10)
    assert ps.cka(y, x, **options) == pytest.approx(expected, rel=1e-12)
    stretched = ps.cka(x * np.logspace(0, 2, 7), y, **options)
    assert abs(stretched - expected) > 1e-4  # not under every invertible map: that is CCA's


@quick
@given(seeds, st.sampled_from(KERNELS), st.integers(4, 40), st.integers(1, 30), st.integers(1, 30))
def test_bounded_by_one_and_one_with_itself(seed, kernel, n, p, q):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n, p)), rng.standard_normal((n, q))
    for estimator in ESTIMATORS:
        assert abs(ps.cka(x, y, kernel=kernel, estimator=estimator)) <= 1 + 1e-12
        assert ps.cka(x, x.copy(), kernel=kernel, estimator=estimator) == pytest.approx(1, abs=1e-12)


# ---- Statistics ----


def test_unbiased_is_zero_on_average_for_unrelated_data_and_is_not_clamped():
    rng = np.random.default_rng(0)
    values = [ps.cka(rng.standard_normal((32, 200)), rng.standard_normal((32, 200))) for _ in range(200)]
    error = np.std(values) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * error  # clamped at 0 the mean would be about 0.4 standard deviations: 5.6 errors
    assert min(values) < 0


@pytest.mark.parametrize(("n", "p"), [(64, 4096), (256, 8192)])
def test_unrelated_wide_data(n, p):
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((2, n, p)).astype(np.float32)
    assert abs(ps.cka(x, y)) < 0.1
    assert ps.cka(x, y, estimator="biased") > 0.95
    normed = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert ps.cka(normed, normed.copy()) == pytest.approx(1, abs=1e-6)


def test_subset_translation_reaches_its_limit():
    """Points outside S moved far along one direction: CKA tends to a limit that knows nothing of their shape."""
    rng = np.random.default_rng(1)
    n, p, share = 400, 20, 0.4
    x = rng.standard_normal((n, p))
    x -= x.mean(axis=0)
    inside = np.arange(n) < share * n
    direction = np.zeros(p)
    direction[0] = 1
    moved = x + 1e5 * np.outer(~inside, direction)
    limit = n * share / (1 - share) * np.sum(x[inside].mean(axis=0) ** 2) / np.linalg.norm(x.T @ x)
    assert ps.cka(x, moved, estimator="biased") == pytest.approx(limit, rel=1e-2)


# ---- Hard numbers ----


@pytest.mark.parametrize("offset", [0, 1, 10, 100, 1000])
@pytest.mark.parametrize(("n", "p"), [(64, 200), (600, 50)])
def test_large_means_in_float32(offset, n, p):
    rng = np.random.default_rng(offset)
    x = (rng.standard_normal((n, p)) + offset).astype(np.float32)
    y = (x[:, :40] + rng.standard_normal((n, 40)) + offset).astype(np.float32)
    for kernel in KERNELS if n < 100 else ("linear",):
        assert ps.cka(x, y, kernel=kernel) == pytest.approx(oracles.cka(x, y, kernel), abs=1e-4)


@pytest.mark.parametrize("scale", [1, 0.1, 0.03, 1e-3, 1e-12, 1e-30, 1e25])
@pytest.mark.parametrize("n", [24, 90])
def test_scale_changes_nothing(scale, n):
    x, y = (a.astype(np.float32) for a in correlated(5, n, 12, 20))
    expected = ps.cka(x, y)
    assert ps.cka(np.float32(scale) * x, y) == pytest.approx(expected, rel=1e-5)
    assert ps.cka(np.float32(scale) * x, np.float32(scale) * x) == pytest.approx(1, rel=1e-5)


def test_more_samples_than_a_gram_could_hold():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((80_000, 8)).astype(np.float16)
    y = (x[:, :4] + rng.standard_normal((80_000, 4))).astype(np.float16)
    S = [a.astype(np.float64) - a.astype(np.float64).mean(axis=0) for a in (x, y)]
    expected = np.linalg.norm(S[0].T @ S[1]) ** 2 / np.prod([np.linalg.norm(s.T @ s) for s in S])
    assert ps.cka(x, y, estimator="biased") == pytest.approx(expected, rel=1e-10)
    assert ps.cka(x, y) == pytest.approx(expected, abs=1e-3)


def test_rank_deficient_duplicated_and_nearly_constant_data():
    rng = np.random.default_rng(7)
    x = rng.standard_normal((20, 2)) @ rng.standard_normal((2, 30))
    y = np.repeat(rng.standard_normal((10, 6)), 2, axis=0)
    nearly = np.ones((20, 5)) + 1e-6 * rng.standard_normal((20, 5))
    for a, b in ((x, y), (x, nearly), (y, nearly)):
        assert ps.cka(a, b) == pytest.approx(oracles.cka(a, b), rel=1e-8)
        assert ps.cka(a, b, estimator="biased") == pytest.approx(oracles.cka(a, b, "linear", "biased"), rel=1e-8)


# ---- Derivatives and compilation ----


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("n", "p", "q"), [(7, 5, 4), (12, 3, 2)])
def test_gradients(kernel, estimator, n, p, q):
    x, y = (torch.from_numpy(a).requires_grad_() for a in correlated(8, n, p, q))
    for metric in (ps.cka, ps.hsic):
        torch.autograd.gradcheck(lambda a, b, f=metric: f(a, b, kernel=kernel, estimator=estimator), (x, y))


def test_gradients_reach_narrow_types():
    x, y = (torch.from_numpy(a).to(torch.bfloat16).requires_grad_() for a in correlated(9, 16, 30, 20))
    (1 - ps.cka(x, y)).backward()
    exact = x.detach().double().requires_grad_()
    (1 - ps.cka(exact, y.detach().double())).backward()
    assert x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(x.grad.double(), exact.grad, rtol=0.02, atol=0.02 * exact.grad.abs().max().item())


@pytest.mark.parametrize(
    ("kernel", "n"), [("linear", 8), ("linear", 40), pytest.param("rbf", 8, marks=pytest.mark.slow)]
)
def test_compiles_whole(kernel, n):
    x, y = (torch.from_numpy(a).requires_grad_() for a in correlated(10, n, 6, 5))
    compiled = torch.compile(ps.cka, backend="aot_eager", fullgraph=True)
    value = compiled(x, y, kernel=kernel)
    assert value.item() == pytest.approx(ps.cka(x, y, kernel=kernel).item(), rel=1e-12)
    (gradient,) = torch.autograd.grad(value, x)
    (expected,) = torch.autograd.grad(ps.cka(x, y, kernel=kernel), x)
    torch.testing.assert_close(gradient, expected)
    assert compiled(torch.ones_like(x), y, kernel=kernel).isnan()


# ---- Bad input ----


@pytest.mark.parametrize("metric", [ps.cka, ps.hsic])
def test_bad_arguments(metric):
    x = np.random.default_rng(0).standard_normal((8, 3))
    with pytest.raises(ValueError, match="x has 8 samples and y has 7"):
        metric(x, x[:7])
    with pytest.raises(ValueError, match="x has 3 samples; the unbiased estimator needs at least 4"):
        metric(x[:3], x[:3])
    with pytest.raises(ValueError, match="x has 1 samples; the biased estimator needs at least 2"):
        metric(x[:1], x[:1], estimator="biased")
    with pytest.raises(TypeError, match="y has dtype int64"):
        metric(x, np.ones((8, 3), dtype=np.int64))
    with pytest.raises(TypeError, match="x is a list"):
        metric([[1.0]], x)
    with pytest.raises(ValueError, match=r"y has shape \(8, 3, 1\); expected two dimensions"):
        metric(x, x[:, :, None])
    with pytest.raises(ValueError, match="kernel is 'poly'; expected one of 'linear', 'rbf'"):
        metric(x, x, kernel="poly")
    with pytest.raises(ValueError, match="estimator is 'song'"):
        metric(x, x, estimator="song")
    with pytest.raises(ValueError, match="bandwidth is 0"):
        metric(x, x, kernel="rbf", bandwidth=0)
    with pytest.raises(ValueError, match="x is on cpu and y on meta"):
        metric(torch.ones(8, 3), torch.ones(8, 3, device="meta"))


@pytest.mark.parametrize("metric", [ps.cka, ps.hsic])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n", [8, 40])
def test_non_finite_values_are_named(metric, kernel, n):
    rng = np.random.default_rng(0)
    good, bad = rng.standard_normal((2, n, 5)).astype(np.float32)
    bad[1, 2] = np.nan
    with pytest.raises(ValueError, match="values of y hold NaN"):
        metric(good, bad, kernel=kernel)
    bad[1, 2] = -np.inf
    with pytest.raises(ValueError, match=r"values of x hold infinity$"):
        metric(bad, good, kernel=kernel)
    with pytest.raises(ValueError, match="infinity: float16 overflows beyond 65504; compute activations in float32"):
        metric(good, bad.astype(np.float16), kernel=kernel)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("n", [8, 40])
def test_constant_sets_give_nan_and_a_warning(kernel, estimator, dtype, n):
    good = np.random.default_rng(0).standard_normal((n, 5)).astype(dtype)
    for value in (0, 0.1, 1000.1):
        constant = np.full((n, 3), value, dtype=dtype)
        if value:
            constant[1] = np.nextafter(constant[1], dtype(2000))  # to rounding
        with pytest.warns(UserWarning, match="^y is constant to rounding over the samples: CKA is NaN") as caught:
            assert np.isnan(ps.cka(good, constant, kernel=kernel, estimator=estimator))
        assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="x, y are constant"):
        assert np.isnan(ps.cka(constant, constant.copy(), kernel=kernel, estimator=estimator))


def test_equidistant_samples_leave_the_unbiased_estimator_nothing():
    one_hot = np.eye(9, dtype=np.float32) * 3
    other = np.random.default_rng(0).standard_normal((9, 4))
    with pytest.warns(UserWarning, match="all samples of x are equally far from one another") as caught:
        assert np.isnan(ps.cka(one_hot, other))
    assert caught[0].filename == __file__
    biased = ps.cka(one_hot, other, estimator="biased")
    assert biased == pytest.approx(oracles.cka(one_hot, other, "linear", "biased"), rel=1e-5)


@pytest.mark.parametrize("features", [1, 5, 60, 3000])  # fewer than samples, as many, more
@pytest.mark.parametrize("odd", [0, 3])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_all_samples_but_one_equal_leave_the_unbiased_estimator_nothing(dtype, odd, features):
    """K_ij = f_i + f_j off the diagonal: U(K) is 0 whatever the odd sample, and its computed ratio would be noise."""
    rng = np.random.default_rng(features)
    x = np.full((40, features), 0.3, dtype=dtype)
    x[odd] += rng.standard_normal(features)
    y = rng.standard_normal((40, 7)).astype(dtype)
    for similarity in (
        ps.cka,
        lambda x, y: ps.cka_matrix([x], [y])[0, 0],
        lambda x, y: MinibatchCKA().update([x], [y]).compute().values[0, 0],
        lambda x, y: StreamingCKA().update(x, y).compute(),
        lambda x, y: AllPairsMoments().update([x], [y]).cka()[0, 0],
    ):
        if features < 3000 or similarity is ps.cka:
            with pytest.warns(UserWarning, match="or all but one equal, which leaves the unbiased estimator nothing"):
                assert np.isnan(similarity(x, y))
    assert ps.cka(x, y, estimator="biased") == pytest.approx(oracles.cka(x, y, "linear", "biased"), rel=1e-5)


@pytest.mark.parametrize("features", [3, 50])
@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_values_whose_fourth_powers_leave_float64_are_refused(estimator, features):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, features)), rng.standard_normal((40, 5))
    with pytest.raises(ValueError, match="values of y are too large: their fourth powers leave float64's range"):
        ps.cka(x, 1e80 * y, estimator=estimator)
    if estimator == "biased" or features > 40:
        with pytest.raises(ValueError, match="values of x are too small: their fourth powers leave float64's range"):
            ps.cka(1e-150 * x, y, estimator=estimator)


def test_rbf_without_a_width_says_so():
    x = np.zeros((9, 4))
    x[0] = 1
    with pytest.raises(ValueError, match="more than half of the pairs of samples of x are equal"):
        ps.cka(x, np.random.default_rng(0).standard_normal((9, 4)), kernel="rbf")


def test_good_data_warn_of_nothing():
    x, y = correlated(11, 30, 4, 5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ps.cka(x, y)
    assert not caught
