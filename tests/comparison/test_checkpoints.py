"""States of comparisons that were stopped: taken up to the same bits, and not kept where nobody could."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

import pyscale as ps
from pyscale.comparison.stored import checkpoint, engine, plan
from pyscale.stores import DamagedStoreError
from tests.comparison.test_compare_stores import BATCH, OPTIONS, SAMPLES, Counting, data, store_of


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_nan_names_layer_store_and_batch_and_leaves_nothing_to_take_up(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    x = data(0, a=(4,), b=(4,))
    broken = {name: part.copy() for name, part in x.items()}
    broken["b"][5 * BATCH + 1, 2] = np.nan
    np.savez(tmp_path / "x.npz", **x)
    np.savez(tmp_path / "y.npz", **broken)
    with pytest.raises(ValueError, match=r"activations of layer 'b' of \S+y\.npz in batch 5 hold NaN"):
        ps.compare_stores(tmp_path / "x.npz", tmp_path / "y.npz", cache=tmp_path / "kept", **OPTIONS)
    assert not list((tmp_path / "kept").iterdir())


@pytest.mark.parametrize(
    ("options", "samples", "stops_at"),
    [({"permutations": 5}, SAMPLES, 3 * BATCH), ({"mode": "exact"}, 2500, 1024), ({"metric": "cca"}, 2500, 2048)],
)
def test_an_interrupted_comparison_goes_on_to_the_same_bits(tmp_path, options, samples, stops_at):
    rng = np.random.default_rng(0)
    stores = [store_of(name, {"a": rng.standard_normal((samples, 6)), "b": rng.standard_normal((samples, 4))})
              for name in ("x", "y")]  # fmt: skip
    whole = ps.compare_stores(*stores, cache=tmp_path, **OPTIONS, **options)
    read, layer = Counting._read, stores[0].layers["a"]

    def interrupted(self, start, stop, out):
        if start >= stops_at:
            raise KeyboardInterrupt
        read(self, start, stop, out)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Counting, "_read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ps.compare_stores(*stores, cache=tmp_path, **OPTIONS, **options)
    assert len(list(tmp_path.glob("*.state"))) == 1
    layer.read[:] = 0
    again = ps.compare_stores(*stores, cache=tmp_path, **OPTIONS, **options)
    assert (layer.read[:stops_at].max(), layer.read[stops_at:].min()) == (0, 1)
    for name, array in whole.arrays().items():
        assert np.array_equal(again.arrays()[name], array, equal_nan=True), name
    assert not list(tmp_path.glob("*.state"))


def test_a_damaged_state_is_said_and_not_used(tmp_path, monkeypatch):
    stores = store_of("x", data(0, a=(20,))), store_of("y", data(1, c=(11,)))
    whole = ps.compare_stores(*stores, cache=tmp_path, **OPTIONS)
    saved = []
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoint.Checkpoint, "remove", lambda self: saved.append(self.path))
    ps.compare_stores(*stores, cache=tmp_path, **OPTIONS)
    saved[0].write_bytes(saved[0].read_bytes()[:200])
    with pytest.warns(UserWarning, match="can't be read, so the comparison begins anew"):
        again = ps.compare_stores(*stores, cache=tmp_path, **OPTIONS)
    assert np.array_equal(again.values, whole.values)


def test_a_state_that_can_not_be_written_is_said_once(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    (tmp_path / "file").write_text("")
    stores = store_of("x", data(0, a=(20,))), store_of("y", data(1, c=(11,)))
    with pytest.warns(UserWarning, match=r"can't be written \(.*\): the comparison goes on") as caught:
        ps.compare_stores(*stores, cache=tmp_path / "file", **OPTIONS)
    assert len(caught) == 1


def test_a_cache_that_is_no_folder_costs_no_result(tmp_path):
    (tmp_path / "file").write_text("")
    stores = store_of("x", data(0, a=(20,))), store_of("y", data(1, c=(11,)))
    found = ps.compare_stores(*stores, cache=tmp_path / "file", **OPTIONS)
    assert np.array_equal(found.values, ps.compare_stores(*stores, **OPTIONS).values)


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(5, "no disk"), DamagedStoreError("a chunk"), MemoryError()]
)
def test_what_may_go_on_stays(tmp_path, error):
    stores = store_of("x", data(0, a=(20,))), store_of("y", data(1, c=(11,)))
    read = Counting._read

    def failing(self, start, stop, out):
        if start >= 3 * BATCH:
            raise error
        read(self, start, stop, out)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Counting, "_read", failing)
        with pytest.raises(type(error)):
            ps.compare_stores(*stores, cache=tmp_path / "kept", **OPTIONS)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    ps.compare_stores(*stores, cache=tmp_path / "kept", **OPTIONS)
    assert not list((tmp_path / "kept").iterdir())


def compared(call, *paths, **options):
    if call == "two":
        return ps.compare_stores(*paths, **options)
    return ps.compare_many(dict(zip("ab", paths, strict=True)), **options)


@pytest.mark.parametrize("call", ["two", "many"])
def test_the_state_of_a_store_that_changed_while_it_was_read_is_not_kept(tmp_path, monkeypatch, call):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    paths = [tmp_path / name for name in ("x.npy", "y.npy")]
    for path in paths:
        np.save(path, np.random.default_rng(0).standard_normal((SAMPLES, 4)))
    over = engine.StoredRun.over

    def meddling(self, **options):
        found = over(self, **options)
        paths[0].touch()
        return found

    monkeypatch.setattr(engine.StoredRun, "over", meddling)
    with pytest.raises(DamagedStoreError, match="was changed while it was read"):
        compared(call, *paths, cache=tmp_path / "kept", **OPTIONS)
    assert not list((tmp_path / "kept").iterdir())


def test_states_of_blocks_before_the_one_that_fails_for_good_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "_resident", lambda: 0)
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    x, y = data(0, a=(40,), b=(80,), c=(30,), d=(60,), e=(60,)), data(1, f=(60,), g=(90,))
    y["g"][150, 3] = np.nan
    with pytest.raises(ValueError, match="layer 'g' of y in batch 0 hold NaN"):
        ps.compare_stores(
            store_of("x", x), store_of("y", y), mode="exact", memory="5MiB", cache=tmp_path / "kept", **OPTIONS
        )
    assert (tmp_path / "kept").exists()  # where the state of the first block was, which is without g
    assert not list((tmp_path / "kept").iterdir())


def test_old_states_are_removed_and_nothing_of_others(tmp_path):
    stores = store_of("x", data(0, a=(20,))), store_of("y", data(1, c=(11,)))
    digest, old, new = "0123456789abcdef" * 2, time.time() - 31 * 86400, time.time() - 29 * 86400
    ages = {
        f"{digest}.state": old,
        f".{digest}.state.x1": old,
        f"{digest[::-1]}.state": new,
        "mine.state": old,
        f"{digest}.npz": old,
    }
    for name, age in ages.items():
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (age, age))
    ps.compare_stores(*stores, cache=tmp_path, **OPTIONS)
    assert {path.name for path in tmp_path.iterdir()} == {f"{digest[::-1]}.state", "mine.state", f"{digest}.npz"}
