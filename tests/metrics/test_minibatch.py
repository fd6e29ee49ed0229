"""Minibatch CKA against sums of HSICs written out, its errors and z-scores, and what bad minibatches get."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pyscale as ps
from pyscale.metrics import AllPairsMoments, MinibatchCKA
from pyscale.ops import packed_gram
from tests import oracles
from tests.metrics.samples import correlated, quick, seeds


def minibatches(sizes, seed=0):
    """Return [(xs, ys), ...] of two and three layers for the given batch sizes."""
    batches = []
    for t, n in enumerate(sizes):
        x, y = correlated(seed * 1000 + t, n, 6, 8)
        batches.append(({"conv": x, "relu": np.maximum(x, 0)}, {"a": y + 10, "b": x[:, :2] - y[:, :2], "c": y**2}))
    return batches


def gathered(batches, **options):
    metric = MinibatchCKA(**options)
    for xs, ys in batches:
        metric.update(xs, ys)
    return metric


def oracle_values(batches, kernel="linear", bandwidth=1.0):
    rows, columns = batches[0]
    return np.array(
        [
            [oracles.minibatch_cka([(xs[r], ys[c]) for xs, ys in batches], kernel, bandwidth) for c in columns]
            for r in rows
        ]
    )


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_unequal_minibatches_weigh_by_their_information(kernel):
    batches = minibatches([16, 16, 5, 40, 4])
    result = gathered(batches, kernel=kernel, bandwidth=0.6).compute()
    np.testing.assert_allclose(result.values, oracle_values(batches, kernel, 0.6), rtol=1e-10)
    assert (result.chance == 0).all()


@quick
@given(seeds, st.integers(4, 40))
def test_one_minibatch_is_the_cka_of_its_data(seed, n):
    ((xs, ys),) = minibatches([n], seed % 1000)
    result = MinibatchCKA().update(xs, ys).compute()
    np.testing.assert_allclose(result.values, ps.cka_matrix(xs, ys), rtol=1e-9, atol=1e-12)
    # one minibatch is exact mode, whose z-score has a closed form
    np.testing.assert_allclose(result.zscores, result.values * np.sqrt(n * (n - 3) / 2), rtol=1e-10)
    assert np.isnan(result.stderr).all()


def test_the_size_of_minibatches_does_not_bias():
    """Means of the estimator for n = 16 and n = 128 agree within their errors; the biased one's would not."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4096, 50)).astype(np.float32)
    y = (x @ rng.standard_normal((50, 30)) + 20 * rng.standard_normal((4096, 30))).astype(np.float32)
    results = []
    for n in (16, 128):
        metric = MinibatchCKA()
        for i in range(0, 4096, n):
            metric.update([x[i : i + n]], [y[i : i + n]])
        results.append(metric.compute())
    small, large = (r.values[0, 0] for r in results)
    assert abs(small - large) < 4 * np.hypot(results[0].stderr[0, 0], results[1].stderr[0, 0])
    assert large == pytest.approx(ps.cka(x, y), abs=0.02)


def test_a_set_with_itself():
    batches = minibatches([12, 9])
    expected = gathered([(xs, dict(xs)) for xs, _ in batches]).compute()
    for arguments in (lambda xs: (xs,), lambda xs: (xs, xs)):
        metric = MinibatchCKA()
        for xs, _ in batches:
            metric.update(*arguments(xs))
        result = metric.compute()
        assert (np.diag(result.values) == 1).all()
        np.testing.assert_allclose(result.values, expected.values, rtol=1e-12)
        np.testing.assert_allclose(result.zscores, expected.zscores, rtol=1e-12)


def test_zscores_are_exact_over_all_permutations():
    from itertools import permutations

    x, y = correlated(3, 5, 3, 2)
    U, V = (oracles.u_centred(oracles.kernel_matrix(a)) for a in (x, y))
    every = [np.sum(U * V[np.ix_(order, order)]) for order in permutations(range(5))]
    result = MinibatchCKA().update([x], [y]).compute()
    assert np.mean(every) == pytest.approx(0, abs=1e-12 * np.std(every))
    assert result.zscores[0, 0] == pytest.approx(np.sum(U * V) / np.std(every), rel=1e-10)


def test_zscores_of_unrelated_data_are_standard():
    rng = np.random.default_rng(0)
    z = []
    for _ in range(100):
        metric = MinibatchCKA()
        for n in (8, 16, 24):
            metric.update([rng.standard_normal((n, 5))], [rng.standard_normal((n, 60))])
        z.append(metric.compute().zscores[0, 0])
    assert abs(np.mean(z)) < 0.4
    assert 0.75 < np.std(z) < 1.3


def jackknife(numerators, xx, yy):
    left_out = [
        np.delete(numerators, t).sum() / np.sqrt(np.delete(xx, t).sum() * np.delete(yy, t).sum())
        for t in range(len(numerators))
    ]
    B = len(numerators)
    return np.sqrt((B - 1) / B * np.sum((left_out - np.mean(left_out)) ** 2))


def block_sums(batches, size):
    """Return sums of <U, U> of the pair (conv, a) over blocks of ``size`` minibatches."""
    sums = []
    for xs, ys in batches:
        U, V = (oracles.u_centred(oracles.kernel_matrix(a)) for a in (xs["conv"], ys["a"]))
        sums.append([np.sum(U * V), np.sum(U * U), np.sum(V * V)])
    return np.array([np.sum(sums[i : i + size], axis=0) for i in range(0, len(sums), size)]).T


@pytest.mark.parametrize(("batches", "size"), [(2, 1), (7, 1), (64, 1), (65, 2), (128, 2), (129, 4)])
def test_stderr_is_the_jackknife_over_at_most_64_blocks(batches, size):
    data = minibatches([4 + t % 3 for t in range(batches)])
    result = gathered(data).compute()
    assert result.stderr[0, 0] == pytest.approx(jackknife(*block_sums(data, size)), rel=1e-9)


def test_merged_metrics_keep_their_blocks_in_order():
    data = minibatches([6] * 100)
    merged = gathered(data[:40]).merge_state([gathered(data[40:60]), gathered(data[60:])])
    # 40 + 20 + 40 blocks of one: neighbours merge once the third has joined
    assert merged.compute().stderr[0, 0] == pytest.approx(jackknife(*block_sums(data, 2)), rel=1e-9)
    np.testing.assert_allclose(merged.compute().values, gathered(data).compute().values, rtol=1e-12)


# ---- Packed Grams ----


def test_packed_grams_are_what_update_makes():
    batches = minibatches([12, 9])
    expected = gathered(batches).compute()
    metric = MinibatchCKA(["conv", "relu"], ["a", "b", "c"])
    for xs, ys in batches:
        grams = [[packed_gram(torch.from_numpy(x)) for x in side.values()] for side in (xs, ys)]
        (v, cv), (w, cw) = (
            (torch.stack([g.values for g in side]), torch.stack([g.constant for g in side])) for side in grams
        )
        metric.update_packed(v, w, len(xs["conv"]), cv, cw)
    np.testing.assert_array_equal(metric.compute().values, expected.values)
    xx, yy = metric.self_sums()
    np.testing.assert_allclose([xx[0], yy[0]], block_sums(batches, 2)[1:, 0], rtol=1e-10)


def test_packed_grams_are_checked():
    flags = torch.zeros(1, dtype=torch.bool)
    v = torch.ones(1, 28)
    with pytest.raises(ValueError, match="update_packed needs the names of the layers"):
        MinibatchCKA().update_packed(v, v, 8, flags, flags)
    metric = MinibatchCKA(["x"], ["y"])
    with pytest.raises(ValueError, match=r"v has shape \(1, 28\); expected \(1, 36\), for 1 layers and 9 samples"):
        metric.update_packed(v, v.clone(), 9, flags, flags)
    with pytest.raises(ValueError, match="activations of layer 'y' in batch 0 hold NaN or infinity"):
        metric.update_packed(v, v * torch.nan, 8, flags, flags)
    assert metric.batches == 0


def test_sums_are_looked_at_unless_the_caller_knows_them_to_be_finite():
    metric = MinibatchCKA(["x"], ["y"])
    flags, v = torch.zeros(1, dtype=torch.bool), torch.rand(1, 28)
    with pytest.raises(ValueError, match="activations of layer 'x' in batch 0 hold NaN or infinity"):
        metric.update_packed(v / 0, v, 8, flags, flags)
    metric.update_packed(v, 2 * v, 8, flags, flags, check=False)
    assert metric.compute().values[0, 0] == pytest.approx(1, rel=1e-6)


# ---- Bad minibatches ----


def test_small_minibatches_are_skipped_counted_and_warned_of_once():
    batches = minibatches([12, 3, 1, 12, 2])
    metric = MinibatchCKA().update(*batches[0])
    with pytest.warns(UserWarning, match="batch 1 has fewer than 4 samples"):
        metric.update(*batches[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for batch in batches[2:]:
            metric.update(*batch)
    assert (metric.batches, metric.skipped) == (5, 3)
    expected = gathered([batches[0], batches[3]]).compute()
    np.testing.assert_array_equal(metric.compute().values, expected.values)


def test_only_small_minibatches():
    metric = MinibatchCKA()
    with pytest.warns(UserWarning, match="fewer than 4"):
        metric.update(*minibatches([3])[0])
    with pytest.raises(
        ValueError, match="no minibatch of at least 4 samples was seen, and 1 smaller ones were skipped"
    ):
        metric.compute()


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_layers_constant_in_every_minibatch_are_named(kernel):
    batches = minibatches([12, 9])
    for xs, ys in batches:
        xs["dead"] = np.full((len(xs["conv"]), 5), 0.1)
        ys["b"] = np.full_like(ys["b"], 1e6)
    metric = gathered(batches, kernel=kernel)
    with pytest.warns(UserWarning, match="layer 'dead', layer 'b' are constant to rounding") as caught:
        result = metric.compute()
    assert caught[0].filename == __file__
    undefined = [[False, True, False], [False, True, False], [True] * 3]
    for array in (result.values, result.stderr, result.zscores):
        assert np.isnan(array).tolist() == undefined
    expected = oracles.minibatch_cka([(xs["conv"], ys["a"]) for xs, ys in batches], kernel)
    assert result.values[0, 0] == pytest.approx(expected, rel=1e-10)


def test_messages_say_which_set_a_layer_is_of():
    ((xs, ys),) = minibatches([12])
    dead = np.ones((12, 3))
    metric = MinibatchCKA(sets=("the teacher", "the student")).update({**xs, "fc": dead}, {**ys, "fc": dead})
    with pytest.warns(UserWarning, match="^layer 'fc' of the teacher, layer 'fc' of the student are constant"):
        metric.compute()
    with pytest.raises(ValueError, match="activations of layer 'a' of the student in batch 1 hold NaN"):
        metric.update({**xs, "fc": dead}, {**ys, "a": np.full((12, 2), np.nan), "fc": dead})
    itself = MinibatchCKA(sets=("the teacher", "the student")).update({**xs, "fc": np.eye(12)})
    with pytest.warns(UserWarning, match="^all samples of layer 'fc' of the teacher are equally far"):
        itself.compute()


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_a_constant_minibatch_adds_nothing(kernel):
    """Its U(K) is zero; the noise of rounding at 1e6 would outweigh a real signal of 1e-3."""
    batches = minibatches([12, 9])
    for t, (xs, _) in enumerate(batches):
        n = len(xs["conv"])
        xs["conv"] = (np.full((n, 6), 1e6 + 0.1) if t else 1e-3 * xs["conv"]).astype(np.float32)
        if t:
            xs["conv"][3] = np.nextafter(xs["conv"][3], np.float32(2e6))
    result = gathered(batches, kernel=kernel).compute()
    (xs, ys), (_, others) = batches
    U, V, W = (oracles.u_centred(oracles.kernel_matrix(a, kernel)) for a in (xs["conv"], ys["a"], others["a"]))
    expected = np.sum(U * V) / np.sqrt(np.sum(U * U) * (np.sum(V * V) + np.sum(W * W)))
    assert result.values[0, 0] == pytest.approx(expected, rel=1e-5)


def test_non_finite_activations_name_layer_and_batch_and_change_nothing():
    batches = minibatches([12, 12, 12])
    metric = gathered(batches[:2])
    before = metric.compute()
    xs, ys = ({name: x.astype(np.float32) for name, x in side.items()} for side in batches[2])
    ys["b"][2, 1] = np.nan
    with pytest.raises(ValueError, match="activations of layer 'b' in batch 2 hold NaN"):
        metric.update(xs, ys)
    ys["b"][2, 1] = np.inf
    with pytest.raises(ValueError, match="activations of layer 'b' in batch 2 hold infinity"):
        metric.update(xs, ys)
    ys["b"] = ys["b"].astype(np.float16)
    with pytest.raises(ValueError, match="layer 'b' in batch 2 hold infinity: float16 overflows beyond 65504"):
        metric.update(xs, ys)
    assert metric.batches == 2
    np.testing.assert_array_equal(metric.compute().values, before.values)


@pytest.mark.parametrize("scale", [1e25, 1e-3, 1e-25])
def test_values_beyond_float32_products_are_packed_in_float64(scale):
    ((xs, ys),) = minibatches([12])
    scaled = {name: (x * scale).astype(np.float32) for name, x in xs.items()}
    values = MinibatchCKA().update(scaled, ys).compute().values
    np.testing.assert_allclose(values, ps.cka_matrix(xs, ys), rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_layers_of_equidistant_samples_are_named(dtype):
    metric = MinibatchCKA()
    for xs, _ in minibatches([8, 11]):
        metric.update({**xs, "one-hot": 0.3 * np.eye(12, dtype=dtype)[: len(xs["conv"])]})
    with pytest.warns(UserWarning, match="all samples of layer 'one-hot' are equally far from one another"):
        result = metric.compute()
    assert np.isnan(result.values[2]).all()
    assert np.isfinite(result.values[:2, :2]).all()


def test_names_and_shapes_are_checked():
    (xs, ys), (later_xs, later_ys) = minibatches([12, 12])
    metric = MinibatchCKA().update(xs, ys)
    assert (metric.rows, metric.columns) == (["conv", "relu"], ["a", "b", "c"])
    with pytest.raises(ValueError, match=r"xs has layers \['conv'\]; expected \['conv', 'relu'\]"):
        metric.update({"conv": later_xs["conv"]}, later_ys)
    with pytest.raises(ValueError, match="ys has 2 layers; expected 3"):
        metric.update(later_xs, list(later_ys.values())[:2])
    with pytest.raises(ValueError, match="layer 'conv' has 12 samples and layer 'b' has 5"):
        metric.update(later_xs, {**later_ys, "b": later_ys["b"][:5]})
    with pytest.raises(ValueError, match="this update compares one set with itself; earlier ones compared two sets"):
        metric.update(later_xs)
    with pytest.raises(TypeError, match=r"xs\['relu'\] has dtype int64"):
        metric.update({**later_xs, "relu": np.ones((12, 2), dtype=np.int64)}, later_ys)
    with pytest.raises(ValueError, match="kernel is 'poly'"):
        MinibatchCKA(kernel="poly")
    reordered = dict(reversed(later_xs.items()))
    by_name = metric.update(reordered, later_ys).compute().values
    expected = gathered([(xs, ys), (later_xs, later_ys)]).compute().values
    np.testing.assert_array_equal(by_name, expected)


@pytest.mark.parametrize("argument", ["rows", "columns"])
def test_given_names_are_checked(argument):
    for metric in (MinibatchCKA, AllPairsMoments):
        for wrong in ("conv", 5):
            with pytest.raises(TypeError, match=f"{argument} is {wrong!r}; expected a list of layers' names, or None"):
                metric(**{argument: wrong})
        with pytest.raises(ValueError, match=f"{argument} is empty; expected at least one layer"):
            metric(**{argument: []})
        with pytest.raises(ValueError, match=f"{argument} holds 'a' 2 times; every layer needs a name of its own"):
            metric(**{argument: ["a", "b", "a"]})


def test_lists_and_given_names():
    ((xs, ys),) = minibatches([12])
    metric = MinibatchCKA(["r0", "r1"], ["c0", "c1", "c2"]).update(list(xs.values()), list(ys.values()))
    assert metric.rows == ["r0", "r1"]
    np.testing.assert_array_equal(metric.compute().values, MinibatchCKA().update(xs, ys).compute().values)
    assert metric.reset().rows == ["r0", "r1"]
    assert MinibatchCKA().update([xs["conv"]]).reset().rows is None


def test_gradients_and_inference_mode_leave_no_trace():
    x = torch.randn(8, 3, requires_grad=True)
    metric = MinibatchCKA()
    with torch.inference_mode():
        metric.update([torch.randn(8, 3)])
    metric.update([x])
    with torch.inference_mode():
        metric.update([torch.randn(8, 3)])
    state = metric.state_dict()["state"]["sums"]
    assert not any(t.requires_grad or t.is_inference() for t in state.values() if isinstance(t, torch.Tensor))
    assert metric.compute().values == [[1.0]]
