"""Exact similarities of all pairs of layers: every entry is that of its pair, whatever way the data came in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

import pyscale as ps
from pyscale.metrics import AllPairsMoments, bytes_needed
from tests.metrics.samples import correlated

CUTS = (0, 1, 2, 9, 40, 60)

FUNCTIONS = {
    "cka": ps.cka,
    "cca": lambda x, y: ps.cca(x, y).mean,
    "cca_r2": lambda x, y: ps.cca(x, y).r2,
    "svcca": lambda x, y: ps.svcca(x, y).mean,
    "pwcca": ps.pwcca,
    "procrustes": ps.procrustes,
    "chance_cka": ps.chance,
    "chance_cca_r2": lambda x, y: ps.chance(x, y, metric="cca_r2"),
    "zscores": lambda x, y: ps.cka(x, y) * np.sqrt(len(x) * (len(x) - 3) / 2),
}


def layers():
    x, y = correlated(0, 60, 7, 5)
    return {"conv": x + 300, "relu": np.maximum(x, 0), "pool": x[:, :3] ** 2}, {"head": y, "norm": y[:, :4] * x[:, :4]}


def batches(side):
    return [{name: x[a:b] for name, x in side.items()} for a, b in pairwise(CUTS)]


def expected(function, rows, columns):
    return np.array([[function(x, y) for y in columns.values()] for x in rows.values()])


@pytest.fixture(scope="module")
def two_sets():
    rows, columns = layers()
    moments = AllPairsMoments()
    for xs, ys in zip(batches(rows), batches(columns), strict=True):
        moments.update(xs, ys)
    return moments


@pytest.fixture(scope="module")
def one_set():
    rows, _ = layers()
    moments = AllPairsMoments()
    for xs in batches(rows):
        moments.update(xs)
    return moments


@pytest.mark.parametrize("method", FUNCTIONS)
def test_every_entry_is_that_of_its_pair(two_sets, one_set, method):
    rows, columns = layers()
    table = getattr(two_sets, method)()
    assert table.dtype == np.float64
    np.testing.assert_allclose(table, expected(FUNCTIONS[method], rows, columns), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(
        getattr(one_set, method)(), expected(FUNCTIONS[method], rows, rows), rtol=1e-8, atol=1e-10
    )


def test_options_reach_the_pairs(two_sets):
    rows, columns = layers()
    for table, function in (
        (two_sets.cka("biased"), lambda x, y: ps.cka(x, y, estimator="biased")),
        (two_sets.chance_cka("biased"), lambda x, y: ps.chance(x, y, estimator="biased")),
        (two_sets.cca(ridge=0.3), lambda x, y: ps.cca(x, y, ridge=0.3).mean),
        (two_sets.cca_r2(ridge=0.3), lambda x, y: ps.cca(x, y, ridge=0.3).r2),
        (two_sets.chance_cca_r2(ridge=0.3), lambda x, y: ps.cca(x, y, ridge=0.3).chance),
        (two_sets.svcca(variance=0.6), lambda x, y: ps.svcca(x, y, variance=0.6).mean),
        (two_sets.pwcca(weight_by="x"), lambda x, y: ps.pwcca(x, y, weight_by="x")),
        (two_sets.pwcca(weight_by="y"), lambda x, y: ps.pwcca(x, y, weight_by="y")),
    ):
        np.testing.assert_allclose(table, expected(function, rows, columns), rtol=1e-8)
    for estimator in ("song", None):
        with pytest.raises(ValueError, match="estimator is"):
            two_sets.cka(estimator)
    with pytest.raises(ValueError, match="weight_by is 'z'"):
        two_sets.pwcca(weight_by="z")


def test_a_set_with_itself_is_symmetric_with_ones(one_set):
    for method in ("cka", "cca", "svcca", "procrustes"):
        table = getattr(one_set, method)()
        np.testing.assert_array_equal(table, table.T)
        np.testing.assert_allclose(np.diag(table), 1, atol=1e-12)


def test_columns_one_at_a_time(two_sets):
    rows, columns = layers()
    moments = AllPairsMoments(list(rows), list(columns))
    for xs, ys in zip(batches(rows), batches(columns), strict=True):
        xs, ys = ({name: torch.from_numpy(x) for name, x in side.items()} for side in (xs, ys))
        moments.update_rows(xs)
        for name in reversed(ys):
            moments.update_column(name, ys[name], xs)
    np.testing.assert_allclose(moments.cka(), two_sets.cka(), rtol=1e-12)
    assert moments.batches == two_sets.batches == 5


def test_columns_are_awaited():
    rows, columns = layers()
    xs, ys = ({name: torch.from_numpy(x) for name, x in side.items()} for side in (rows, columns))
    with pytest.raises(ValueError, match="update_rows needs the names of the layers"):
        AllPairsMoments().update_rows(xs)
    moments = AllPairsMoments(list(rows), list(columns))
    with pytest.raises(ValueError, match="no column 'head' is awaited"):
        moments.update_column("head", ys["head"], xs)
    moments.update_rows(xs).update_column("head", ys["head"], xs)
    with pytest.raises(ValueError, match=r"no column 'head' is awaited in this minibatch; awaited are \['norm'\]"):
        moments.update_column("head", ys["head"], xs)
    for call in (moments.cka, moments.state_dict, lambda: moments.update_rows(xs)):
        with pytest.raises(ValueError, match="batch 0 lacks 'norm': call update_column"):
            call()
    with pytest.raises(ValueError, match="activations of layer 'norm' in batch 0 hold NaN"):
        moments.update_column("norm", ys["norm"] * torch.nan, xs)
    moments.update_column("norm", ys["norm"], xs)
    np.testing.assert_allclose(moments.cka(), expected(ps.cka, rows, columns), rtol=1e-9)


def test_pairs_with_different_numbers_of_rows():
    """Grids of positions that differ: such pairs are NaN, all others unharmed."""
    rows, columns = layers()
    columns["half"] = columns["head"][::2]
    with pytest.raises(ValueError, match="layer 'conv' has 60 samples and layer 'half' has 30"):
        AllPairsMoments().update(rows, columns)
    moments = AllPairsMoments(unequal="nan").update(rows, columns).update(rows, columns)
    for method in ("cka", "cca", "pwcca", "procrustes"):
        with pytest.warns(
            UserWarning, match="3 pairs of layers have different numbers of rows, such as 'conv'"
        ) as caught:
            table = getattr(moments, method)()
        assert caught[0].filename == __file__
        assert np.isnan(table).tolist() == [[False, False, True]] * 3
    with pytest.warns(UserWarning, match="different numbers of rows"):
        np.testing.assert_allclose(
            moments.cca()[:, :2], expected(FUNCTIONS["cca"], rows, {k: columns[k] for k in ("head", "norm")}), rtol=1e-9
        )


def test_constant_layers_are_named():
    rows, columns = layers()
    rows["dead"] = np.full((60, 4), 0.1)
    moments = AllPairsMoments()
    for xs, ys in zip(batches(rows), batches(columns), strict=True):
        moments.update(xs, ys)
    for method in ("cka", "cca", "svcca", "pwcca", "procrustes", "zscores"):
        with pytest.warns(UserWarning, match="^layer 'dead' is constant to rounding"):
            table = getattr(moments, method)()
        assert np.isnan(table[3]).all()
        assert np.isfinite(table[:3]).all()
    with pytest.warns(UserWarning, match="layer 'dead' is constant") as caught:
        moments.cka()
    assert caught[0].filename == __file__


def test_too_few_samples_warn_once_with_the_worst_numbers():
    x, y = correlated(1, 12, 8, 7)
    moments = AllPairsMoments().update({"a": x, "b": x[:, :2]}, {"c": y})
    with pytest.warns(
        UserWarning, match=r"1 of 2 pairs .* 'a' with 'c': rank_x \+ rank_y = 8 \+ 7 > n - 1 = 11"
    ) as caught:
        moments.cca()
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_bad_updates_change_nothing():
    rows, columns = layers()
    moments = AllPairsMoments().update(rows, columns)
    before = moments.cka()
    with pytest.raises(ValueError, match="layer 'norm' has 2 features; earlier updates had 4"):
        moments.update(rows, {**columns, "norm": columns["norm"][:, :2]})
    bad = columns["norm"].copy()
    bad[5, 1] = np.inf
    with pytest.raises(ValueError, match="activations of layer 'norm' in batch 1 hold infinity"):
        moments.update(rows, {**columns, "norm": bad})
    with pytest.raises(ValueError, match=r"ys has layers \['norm'\]; expected \['head', 'norm'\]"):
        moments.update(rows, {"norm": bad})
    with pytest.raises(ValueError, match="this update compares one set with itself"):
        moments.update(rows)
    with pytest.raises(ValueError, match="unequal is 'skip'"):
        AllPairsMoments(unequal="skip")
    assert moments.batches == 1
    np.testing.assert_array_equal(moments.cka(), before)


def test_too_few_samples():
    rows, columns = layers()
    three = AllPairsMoments().update(*({k: x[:3] for k, x in side.items()} for side in (rows, columns)))
    with pytest.raises(ValueError, match="3 samples were seen; at least 4 are needed"):
        three.cka()
    np.testing.assert_allclose(
        three.procrustes(),
        expected(ps.procrustes, {k: x[:3] for k, x in rows.items()}, {k: y[:3] for k, y in columns.items()}),
        rtol=1e-8,
    )


def held_bytes(metric):
    def size(value):
        if isinstance(value, torch.Tensor):
            return value.nbytes
        if isinstance(value, dict):
            return sum(map(size, value.values()))
        return sum(map(size, value)) if isinstance(value, list) else 0

    return size(metric.state_dict()["state"])


def test_the_estimate_of_memory_covers_the_state():
    rng = np.random.default_rng(0)
    rows = {str(p): rng.standard_normal((8, p)) for p in (100, 150, 220)}
    columns = {str(p): rng.standard_normal((8, p)) for p in (90, 260)}
    for metric, estimate in (
        (AllPairsMoments().update(rows, columns), bytes_needed([100, 150, 220], [90, 260])),
        (AllPairsMoments().update(rows), bytes_needed([100, 150, 220])),
    ):
        assert held_bytes(metric) <= estimate <= 2.2 * held_bytes(metric)
