"""Exact similarities of all pairs of layers: every entry is that of its pair, whatever way the data came in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

import pyscale as ps
from pyscale.metrics import AllPairsMoments, arrivals, bytes_needed, pair_gathering, pair_products, row_buffer, spectra
from tests.metrics.samples import correlated, rotation

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


@pytest.mark.parametrize("method", ["cca", "cca_r2", "svcca", "procrustes"])
def test_matrix_products_give_what_decompositions_do(two_sets, one_set, monkeypatch, method):
    """The way of GPUs: polar iterations, ranks filled up with zeros, in batches of any size."""
    expected = [getattr(moments, method)() for moments in (two_sets, one_set)]
    monkeypatch.setattr(spectra, "_decomposed", lambda M: False)
    for batch, waiting in ((1, 1), (100, 10), (1 << 21, 1 << 24)):
        monkeypatch.setattr(pair_products, "BATCH", batch)
        monkeypatch.setattr(pair_products, "WAITING", waiting)
        for moments, table in zip((two_sets, one_set), expected, strict=True):
            np.testing.assert_allclose(getattr(moments, method)(), table, rtol=0, atol=1e-11)


def test_rank_deficient_and_tied_layers_by_matrix_products(monkeypatch):
    x, y = correlated(5, 60, 6, 4)
    rows = {"wide": np.hstack([x, x @ np.ones((6, 5))]), "part": x[:, :2]}  # ranks 6 of 11 and 2
    columns = {"same": x @ rotation(0, 6), "other": np.hstack([y, y[:, :1]])}  # correlations of 1, tied
    moments = AllPairsMoments().update(rows, columns)
    monkeypatch.setattr(spectra, "_decomposed", lambda M: False)
    for method in ("cca", "cca_r2", "procrustes"):
        truth = expected(FUNCTIONS[method], rows, columns)
        np.testing.assert_allclose(getattr(moments, method)(), truth, rtol=0, atol=1e-10)
    np.testing.assert_allclose(moments.cca()[:, 0], 1, atol=1e-11)


def test_layers_are_whitened_anew_after_more_samples(two_sets):
    rows, columns = layers()
    moments = AllPairsMoments().update(*(batches(side)[4] for side in (rows, columns)))
    moments.cca_r2()
    before = moments.chance_cca_r2()
    for xs, ys in zip(batches(rows)[:4], batches(columns)[:4], strict=True):
        moments.update(xs, ys)
    np.testing.assert_allclose(moments.cca_r2(), two_sets.cca_r2(), rtol=1e-10)
    assert (moments.chance_cca_r2() < before).all()
    np.testing.assert_allclose(moments.cca_r2(ridge=0.3), two_sets.cca_r2(ridge=0.3), rtol=1e-10)


def test_columns_one_at_a_time(two_sets):
    rows, columns = layers()
    moments = AllPairsMoments(list(rows), list(columns))
    for xs, ys in zip(batches(rows), batches(columns), strict=True):
        xs, ys = ({name: torch.from_numpy(x) for name, x in side.items()} for side in (xs, ys))
        moments.update_rows(xs)
        for name in reversed(ys):
            moments.update_column(name, ys[name])
    np.testing.assert_allclose(moments.cka(), two_sets.cka(), rtol=1e-12)
    assert moments.batches == two_sets.batches == 5


def test_columns_are_awaited():
    rows, columns = layers()
    xs, ys = ({name: torch.from_numpy(x) for name, x in side.items()} for side in (rows, columns))
    with pytest.raises(ValueError, match="update_rows needs the names of the layers"):
        AllPairsMoments().update_rows(xs)
    moments = AllPairsMoments(list(rows), list(columns))
    with pytest.raises(ValueError, match="no column 'head' is awaited"):
        moments.update_column("head", ys["head"])
    moments.update_rows(xs).update_column("head", ys["head"])
    with pytest.raises(ValueError, match=r"no column 'head' is awaited in this minibatch; awaited are \['norm'\]"):
        moments.update_column("head", ys["head"])
    for call in (moments.cka, moments.state_dict, lambda: moments.update_rows(xs)):
        with pytest.raises(ValueError, match="batch 0 lacks 'norm': call update_column"):
            call()
    with pytest.raises(ValueError, match="activations of layer 'norm' in batch 0 hold NaN"):
        moments.update_column("norm", ys["norm"] * torch.nan)
    moments.update_column("norm", ys["norm"])
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


@pytest.mark.parametrize("enough", [1, 8, 25, 1000])
def test_how_many_rows_are_held_is_of_no_account(monkeypatch, enough):
    """Grids that differ, change between batches and part ways for good; columns at once and one at a time."""
    for module in (pair_gathering, arrivals):
        monkeypatch.setattr(module, "ENOUGH_ROWS", enough)
    monkeypatch.setattr(row_buffer, "ENOUGH_ROWS", enough)
    rng = np.random.default_rng(0)
    counts = {"a": (9, 30, 7, 12), "b": (9, 30, 7, 12), "c": (4, 10, 3, 12), "d": (9, 10, 7, 12)}  # d leaves a and b
    xs, ys = ({name: [rng.standard_normal((n, p)) + 5 for n in ns] for name, ns in counts.items()} for p in (3, 4))
    alike = np.array([[counts[i] == counts[j] for j in counts] for i in counts])
    both, single = AllPairsMoments(unequal="nan"), AllPairsMoments([*xs], [*ys], unequal="nan")
    one, merged = AllPairsMoments(unequal="nan"), AllPairsMoments(unequal="nan")
    for t in range(4):
        x, y = ({name: torch.from_numpy(parts[t]) for name, parts in side.items()} for side in (xs, ys))
        both.update(x, y)
        one.update(x)
        merged.merge_state(AllPairsMoments(unequal="nan").update(x, y))
        single.update_rows(x)
        for name in ("c", "a", "d", "b"):
            single.update_column(name, y[name])
    whole_x, whole_y = ({name: np.concatenate(parts) for name, parts in side.items()} for side in (xs, ys))
    for moments, columns in ((both, whole_y), (single, whole_y), (merged, whole_y), (one, whole_x)):
        for method in ("cka", "cca"):
            with pytest.warns(UserWarning, match="different numbers of rows"):
                table = getattr(moments, method)()
            np.testing.assert_array_equal(np.isnan(table), ~alike)
            for i, j in np.argwhere(alike):
                x, y = list(whole_x.values())[i], list(columns.values())[j]
                assert table[i, j] == pytest.approx(FUNCTIONS[method](x, y), rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("n", [8, 1500])
def test_samples_are_taken_as_they_were_given(n):
    """An activation may be overwritten in place as soon as it has been taken."""
    x, y = (torch.from_numpy(a) for a in correlated(3, n, 4, 3))
    expected = AllPairsMoments().update([x.clone()], [y.clone()]).cka()
    for moments in (AllPairsMoments(), AllPairsMoments(["0"], ["0"])):
        a, b = x.clone(), y.clone()
        if moments.rows is None:
            moments.update([a], [b])
        else:
            moments.update_rows({"0": a}).update_column("0", b)
        a.relu_()
        b.zero_()
        np.testing.assert_array_equal(moments.cka(), expected)


def test_rows_in_types_of_their_own_are_held_together():
    x, y = (torch.from_numpy(a) for a in correlated(3, 60, 4, 3))
    types = (torch.float64, torch.bfloat16, torch.float16, torch.float32)
    parts = [(a.to(dtype), b.float()) for a, b, dtype in zip(x.split(15), y.split(15), types, strict=True)]
    moments = AllPairsMoments()
    for a, b in parts:
        moments.update([a], [b])
    a, b = (torch.cat([t.double() for t in side]).numpy() for side in zip(*parts, strict=True))
    np.testing.assert_allclose(moments.cka(), [[ps.cka(a, b)]], rtol=1e-10)
    # what is constant to bfloat16's rounding alone is so whatever other types came with it
    moments = AllPairsMoments()
    for a in (torch.full((5, 2), 1.0), torch.full((5, 2), 1.01).bfloat16()):
        moments.update([a], [torch.randn(5, 2, generator=torch.Generator().manual_seed(0))])
    with pytest.warns(UserWarning, match="layer '0' is constant"):
        moments.cka()


def test_no_pair_with_equal_numbers_of_rows():
    x, y = correlated(0, 40, 3, 2)
    moments = AllPairsMoments(unequal="nan").update({"a": x, "b": x[:30]}, {"c": y[:20]})
    for method in ("cka", "cca", "cca_r2", "svcca", "pwcca", "procrustes"):
        with pytest.warns(UserWarning, match="2 pairs of layers have different numbers of rows, such as 'a' with 'c'"):
            assert np.isnan(getattr(moments, method)()).all()
    for method in ("chance_cka", "chance_cca_r2"):
        assert np.isnan(getattr(moments, method)()).all()


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


def test_the_estimate_of_memory_covers_what_is_held():
    """The state, and the 1023 rows of float32 that wait before it is asked for."""
    rng = np.random.default_rng(0)
    xs, ys = (100, 150, 220), (90, 260)
    rows, columns = ({str(p): rng.standard_normal((1023, p)).astype(np.float32) for p in side} for side in (xs, ys))
    waiting = [sum(x.nbytes for side in sides for x in side.values()) for sides in ((rows, columns), (rows,))]
    for metric, held, estimate in (
        (AllPairsMoments().update(rows, columns), waiting[0], bytes_needed(xs, ys)),
        (AllPairsMoments().update(rows), waiting[1], bytes_needed(xs)),
    ):
        held += held_bytes(metric)
        assert held < estimate < 6 * held


def test_the_estimate_of_memory_is_of_co_moments_where_they_are_most_of_it():
    wide = [3000] * 10
    assert 1 < bytes_needed(wide, wide) / (8 * sum(wide) ** 2) < 2
