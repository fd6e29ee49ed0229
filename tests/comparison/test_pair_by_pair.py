"""Exact comparisons of many stores under little memory: the numbers of one pass, two stores at a time."""

from __future__ import annotations

import numpy as np
import pytest

import pyscale as ps
from pyscale.comparison.stored import checkpoint, plan
from tests.comparison.test_compare_stores import BATCH, OPTIONS, SAMPLES, Counting, data, store_of

ROOM = "7MiB"  # for the co-moments of two of the stores


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(plan, "_resident", lambda: 0)


def stores(**ids):
    """Three stores of two layers each."""
    return {
        name: store_of(name, data(seed, a=(60 + seed,), b=(5, 3, 4)), ids.get(name)) for seed, name in enumerate("xyz")
    }


@pytest.mark.parametrize(
    ("room", "options"),
    [
        (ROOM, {"mode": "exact"}),
        (ROOM, {"mode": "exact", "estimator": "biased"}),
        ("4MiB", {"metric": "cca_r2", "features": "pool"}),
        ("4MiB", {"metric": "pwcca", "features": "pool"}),
        (ROOM, {"metric": "procrustes", "max_batches": 4}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*samples")
def test_numbers_are_those_of_one_pass(room, options):
    at_once = ps.compare_many(stores(), memory="1GiB", **OPTIONS, **options)
    few = stores()
    found = ps.compare_many(few, memory=room, **OPTIONS, **options)
    assert list(found) == list(at_once)
    for pair, c in found.items():
        assert (c.rows, c.columns) == (at_once[pair].rows, at_once[pair].columns)
        for name, array in c.arrays().items():
            np.testing.assert_allclose(array, at_once[pair].arrays()[name], rtol=1e-9, atol=1e-11, err_msg=name)
        assert (c.meta["model_x"], c.meta["model_y"]) == pair
    assert at_once["x", "y"].meta["reads"] == 1
    assert found["x", "y"].meta["reads"] == max(layer.read.max() for s in few.values() for layer in s.layers.values())
    assert found["x", "y"].meta["reads"] >= 3


def test_samples_are_matched_by_id(tmp_path):
    ids = tuple(range(SAMPLES))
    straight, turned = stores(**dict.fromkeys("xyz", ids)), stores(**dict.fromkeys("xyz", ids))
    order = np.random.default_rng(0).permutation(SAMPLES)
    moved = {name: layer.x[order] for name, layer in turned["y"].layers.items()}
    turned["y"] = store_of("y", moved, tuple(order.tolist()))
    options = {"mode": "exact", "memory": ROOM, **OPTIONS}
    one, other = ps.compare_many(straight, **options), ps.compare_many(turned, **options)
    for pair in one:
        np.testing.assert_allclose(other[pair].values, one[pair].values, rtol=1e-12)


def test_two_layers_that_do_not_fit_are_named_before_anything_is_read():
    found = stores()
    found["z"] = store_of("z", data(5, wide=(900,), b=(4,)))
    with pytest.raises(ValueError, match=r"co-moments of .*'wide' of z \(900 features\).* where memory allows 7 MiB"):
        ps.compare_many(found, mode="exact", memory=ROOM, **OPTIONS)
    assert not any(layer.read.any() for store in found.values() for layer in store.layers.values())


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_what_was_stopped_goes_on_with_the_pair_it_was_at(tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(checkpoint, "SECONDS", seconds)
    options = {"mode": "exact", "memory": ROOM, "cache": tmp_path / "kept", **OPTIONS}
    whole = ps.compare_many(stores(), **options)
    assert not list((tmp_path / "kept").iterdir()) if seconds == 0 else not (tmp_path / "kept").exists()
    read, found, count = Counting._read, stores(), []

    def stopped(self, start, stop, out):
        count.append(start)
        if len(count) > 14:
            raise KeyboardInterrupt
        read(self, start, stop, out)

    with monkeypatch.context() as patch:
        patch.setattr(Counting, "_read", stopped)
        with pytest.raises(KeyboardInterrupt):
            ps.compare_many(found, **options)
    before = sum(int(layer.read.sum()) for store in found.values() for layer in store.layers.values())
    assert before > 0
    again = ps.compare_many(found, **options)
    after = sum(int(layer.read.sum()) for store in found.values() for layer in store.layers.values())
    complete = stores()
    ps.compare_many(complete, **options)
    in_all = sum(int(layer.read.sum()) for store in complete.values() for layer in store.layers.values())
    assert after < in_all + before  # and not the pairs that were done
    for pair, c in whole.items():
        assert np.array_equal(again[pair].values, c.values)
    assert not list((tmp_path / "kept").iterdir())


def test_data_that_can_not_be_compared_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    found = stores()
    found["z"].layers["a"].x[5 * BATCH + 3, 2] = np.nan
    with pytest.raises(ValueError, match=r"layer 'a' of z in batch .* NaN"):
        ps.compare_many(found, mode="exact", memory=ROOM, cache=tmp_path / "kept", **OPTIONS)
    assert not list((tmp_path / "kept").iterdir())
