"""Which sample a row is: by ids where stores have them, by places where none has, and never by guessing."""

from __future__ import annotations

import numpy as np
import pytest

import pyscale as ps
from tests.comparison.test_compare_stores import OPTIONS, SAMPLES, data, store_of


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def compare_two_of_many(a, b, **options):
    return ps.compare_many({"a": a, "b": b}, **options)["a", "b"]


def test_samples_in_another_order_are_matched_by_id():
    x, y = data(0, a=(20,), b=(3, 4, 4)), data(1, c=(11,))
    ids = [f"img{i}" for i in range(SAMPLES)]
    order = np.random.default_rng(0).permutation(SAMPLES)
    moved = {name: part[order] for name, part in y.items()}
    straight = ps.compare_stores(store_of("x", x, tuple(ids)), store_of("y", y, tuple(ids)), **OPTIONS)
    matched = ps.compare_stores(
        store_of("x", x, tuple(ids)), store_of("y", moved, tuple(ids[i] for i in order)), **OPTIONS
    )
    assert np.array_equal(matched.values, straight.values)


@pytest.mark.parametrize("compare", [ps.compare_stores, compare_two_of_many])
@pytest.mark.parametrize("bare", ["x", "y"])
def test_a_store_without_ids_beside_one_that_has_them_goes_by_places_and_is_named(compare, bare):
    ids = tuple(f"img{i}" for i in range(SAMPLES))
    x, y = data(0, a=(20,)), data(1, c=(11,))
    straight = compare(store_of("x", x, ids), store_of("y", y, ids), **OPTIONS)
    mixed = [store_of(name, arrays, None if name == bare else ids) for name, arrays in (("x", x), ("y", y))]
    other = {"x": "y", "y": "x"}[bare]
    with pytest.warns(UserWarning, match=f"^{bare} has no sample ids, and {other} has: row i is taken") as caught:
        found = compare(*mixed, **OPTIONS)
    assert [warning.filename for warning in caught] == [__file__]
    assert np.array_equal(found.values, straight.values)
    assert (straight.meta["matched_by"], found.meta["matched_by"]) == ("sample ids", "position")


def test_a_store_without_ids_beside_stores_of_two_orders_is_refused():
    ids, x = tuple(range(SAMPLES)), data(0, a=(5,))
    stores = {"x": store_of("x", x, ids), "y": store_of("y", x), "z": store_of("z", x, ids[::-1])}
    with pytest.raises(ValueError, match=r"y has no sample ids, and x and z hold the same samples in different orders"):
        ps.compare_many(stores, **OPTIONS)
    assert len(ps.compare_many({name: stores[name] for name in "xz"}, **OPTIONS)) == 4


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2, 3, 4, 5], [1, 2, 9, 4, 5], "sample 3 is not in y"),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6], "sample 6 is in y only"),
        ([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5], "sample 6 is not in y"),
        ([1, 2, 3, 3, 5], [1, 2, 3, 4, 5], "x has the id 3 twice, at 2 and 3"),
        ([1, 2, 3, 4, 5], [1, 5, 3, 4, 5], "y has the id 5 twice, at 1 and 4"),
        ([1, 2, 3, 4, 5], None, "x has 5 samples and y, which has no sample ids, 4"),
        ([1, 2, 3, 4, 5], ["1", "2", "3", "4", "5"], "sample 1 is not in y"),
    ],
)
def test_samples_that_do_not_match_are_named(x, y, message):
    rng = np.random.default_rng(0)
    left = store_of("x", {"a": rng.standard_normal((len(x), 3))}, tuple(x))
    right = store_of("y", {"a": rng.standard_normal((len(y or [0] * 4), 3))}, None if y is None else tuple(y))
    with pytest.raises(ValueError, match=message):
        ps.compare_stores(left, right, **OPTIONS)
