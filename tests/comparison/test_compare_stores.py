"""Comparing stores gives what comparing the models gives, whatever the memory, the order and the format."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import pyscale as ps
from pyscale.comparison.options import resolve_options
from pyscale.comparison.stored import checkpoint, engine, plan
from pyscale.comparison.stored.sides import StoredSide
from pyscale.stores import DamagedStoreError, StoredLayer

SAMPLES, BATCH = 203, 32
OPTIONS = {"batch_size": BATCH, "progress": False}


def network(channels, seed):
    torch.manual_seed(seed)
    head = nn.Linear(channels * 49, 4)
    return nn.Sequential(nn.Conv2d(3, channels, 3), nn.ReLU(inplace=True), nn.Flatten(), head)


@pytest.fixture(scope="module")
def loader():
    return DataLoader(torch.randn(SAMPLES, 3, 9, 9, generator=torch.Generator().manual_seed(5)), batch_size=BATCH)


@pytest.fixture(scope="module")
def models():
    return network(5, 0), network(9, 1)


@pytest.fixture(scope="module")
def stores(models, loader, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    paths = [folder / name for name in ("x.zarr", "y.zarr")]
    for model, path in zip(models, paths, strict=True):
        ps.extract(model, loader, path, sample_ids=range(SAMPLES), progress=False)
    return paths


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": "rbf"},
        {"features": "pool"},
        {"permutations": 19, "seed": 3},
        {"max_batches": 3},
        {"layers": "[01]", "layers_y": "3"},
    ],
)
def test_minibatches_give_the_very_bits_of_the_models(models, loader, stores, options):
    live = ps.compare(*models, loader, progress=False, **options)
    stored = ps.compare_stores(*stores, **OPTIONS, **options)
    assert (stored.rows, stored.columns) == (live.rows, live.columns)
    for name, array in live.arrays().items():
        assert np.array_equal(stored.arrays()[name], array, equal_nan=True), name
    assert (stored.meta["samples"], stored.meta["batches"]) == (live.meta["samples"], live.meta["batches"])


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "exact", "features": "pool"},
        {"estimator": "biased", "features": "positions", "layers": "[01]"},
        {"metric": "cca", "features": "pool"},
        {"metric": "cca_r2", "features": "positions", "layers": "[01]"},
        {"metric": "svcca", "features": "pool"},
        {"metric": "pwcca", "features": "pool"},
        {"metric": "procrustes"},
    ],
)
@pytest.mark.parametrize("other", [0, 1])
def test_exact_mode_gives_what_the_models_give(models, loader, stores, options, other):
    live = ps.compare(models[0], models[other], loader, progress=False, **options)
    stored = ps.compare_stores(stores[0], stores[other], **OPTIONS, **options)
    for name, array in live.arrays().items():
        np.testing.assert_allclose(stored.arrays()[name], array, rtol=1e-9, atol=1e-12)


def test_provenance_says_what_was_read(stores):
    meta = ps.compare_stores(*stores, **OPTIONS).meta
    assert (meta["compared"], meta["reads"], meta["matched_by"]) == ("stores", 1, "sample ids")
    assert (meta["store_x"], meta["store_y"]) == tuple(map(str, stores))
    assert (meta["model_x"], meta["memory"]) == ("Sequential", 2**31)


class Counting(StoredLayer):
    """A layer in memory that counts how often its samples are read."""

    def __init__(self, name, x):
        super().__init__(name, x.shape, x.dtype)
        self.x, self.read = x, np.zeros(len(x), dtype=int)

    def _read(self, start, stop, out):
        self.read[start:stop] += 1
        out.copy_(self.x[start:stop])


def store_of(name, arrays, ids=None):
    layers = {key: Counting(key, torch.as_tensor(x)) for key, x in arrays.items()}
    return ps.stores.Store(name, layers, ids=lambda: ids)


def data(seed, **shapes):
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((SAMPLES, 6))
    return {
        key: (shared @ rng.standard_normal((6, int(np.prod(shape))))).reshape(SAMPLES, *shape)
        + rng.standard_normal((SAMPLES, *shape))
        for key, shape in shapes.items()
    }


def test_every_layer_is_read_once_for_any_number_of_pairs():
    stores = [store_of(f"s{i}", data(i, a=(20,), b=(3, 4, 4))) for i in range(4)]
    options = resolve_options(
        metric="cka", mode=None, kernel="linear", estimator="unbiased", bandwidth=1.0, features="flatten",
        permutations=0, seed=0, max_batches=None, memory=None,
    )  # fmt: skip
    sides = [StoredSide(store.address, store, list(store.layers.values())) for store in stores]
    pairs = [(i, j) for i in range(4) for j in range(i, 4)]
    run = engine.run_stores(
        sides, pairs, options, batch_size=BATCH, budget=2**27, checkpoint=checkpoint.Checkpoint(None, "x", resume=False)
    )
    scores = run.over(progress=False)
    assert all((layer.read == 1).all() for store in stores for layer in store.layers.values())
    for i, j in pairs:
        alone = ps.compare_stores(stores[i], stores[j], **OPTIONS)
        np.testing.assert_allclose(scores[i, j].values, alone.values, rtol=1e-12)
        np.testing.assert_allclose(scores[i, j].stderr, alone.stderr, rtol=1e-12)


def test_one_batch_of_everything_is_the_cka_matrix():
    x, y = data(0, a=(20,), b=(3, 4, 4)), data(1, c=(11,))
    found = ps.compare_stores(store_of("x", x), store_of("y", y), batch_size=SAMPLES, progress=False)
    flat = [{name: part.reshape(SAMPLES, -1) for name, part in side.items()} for side in (x, y)]
    np.testing.assert_allclose(found.values, ps.cka_matrix(*flat), rtol=1e-12)


@pytest.mark.parametrize("features", ["flatten", "pool"])
def test_layers_too_wide_for_memory_are_read_in_parts(monkeypatch, features):
    monkeypatch.setattr(plan, "_resident", lambda: 0)
    x, y = data(0, wide=(40, 50, 50), narrow=(7,)), data(1, wide=(3, 90, 90))
    whole = ps.compare_stores(store_of("x", x), store_of("y", y), features=features, **OPTIONS)
    stores = store_of("x", x), store_of("y", y)
    tight = ps.compare_stores(*stores, features=features, memory="9MiB", **OPTIONS)
    np.testing.assert_allclose(tight.values, whole.values, rtol=1e-12)
    np.testing.assert_allclose(tight.stderr, whole.stderr, rtol=1e-9)
    assert whole.meta["reads"] == 1
    most = max(layer.read.max() for store in stores for layer in store.layers.values())
    assert tight.meta["reads"] == most == (1 if features == "pool" else 7)
    assert stores[0].layers["narrow"].read.max() == 1


def test_memory_that_is_not_enough_is_an_error_that_names_the_layer(monkeypatch):
    monkeypatch.setattr(plan, "_resident", lambda: 0)
    store = store_of("x", data(0, wide=(40, 50, 50), narrow=(7,)))
    with pytest.raises(ValueError, match=r"layer 'wide' \(100000 features\).*memory leaves 9 MiB; use a smaller batch"):
        ps.compare_stores(store, store, kernel="rbf", memory="9MiB", **OPTIONS)
    with pytest.raises(ValueError, match=r"'wide' of x \(100000 features\) take .* where memory allows 64 MiB"):
        ps.compare_stores(store, store, metric="cca", memory="64MiB", **OPTIONS)


@pytest.mark.parametrize("metric", ["cka", "cca_r2", "pwcca"])
@pytest.mark.parametrize("same", [False, True])
def test_exact_mode_goes_block_by_block_where_memory_is_small(monkeypatch, metric, same):
    monkeypatch.setattr(plan, "_resident", lambda: 0)
    x, y = data(0, a=(40,), b=(80,), c=(30,), d=(60,), e=(60,)), data(1, f=(60,), g=(90,))
    stores = store_of("x", x), store_of("y", y)
    stores = (stores[0], stores[0]) if same else stores
    options = {"metric": metric, "mode": "exact", **OPTIONS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few samples
        whole = ps.compare_stores(*stores, **options)
        tight = ps.compare_stores(*stores, memory="5MiB", **options)
    np.testing.assert_allclose(tight.values, whole.values, rtol=1e-9)
    np.testing.assert_allclose(tight.chance, whole.chance, rtol=1e-9)
    assert tight.meta["reads"] > whole.meta["reads"] == 1


def test_what_is_no_store_is_named(stores):
    with pytest.raises(TypeError, match="a is None; expected the path or address of a store"):
        ps.compare_stores(None, stores[1], progress=False)
    with pytest.raises(TypeError, match="b is 5; expected the path or address of a store"):
        ps.compare_stores(stores[0], 5, progress=False)
    with pytest.raises(FileNotFoundError, match=r"there is no Zarr at memory://nope\.zarr"):
        ps.compare_stores(stores[0], "memory://nope.zarr", progress=False)


def test_layers_are_chosen_by_name_and_pattern():
    store = store_of("x", data(0, conv1=(3,), conv2=(3,), fc=(3,)))
    assert ps.compare_stores(store, store, layers="conv*", layers_y=["fc", "conv1"], **OPTIONS).columns == [
        "conv1",
        "fc",
    ]
    with pytest.raises(ValueError, match=r"layers asks for 'conv3', but x has no such layer; it has 'conv"):
        ps.compare_stores(store, store, layers=["conv3"], **OPTIONS)
    with pytest.raises(TypeError, match="a store knows its layers by name"):
        ps.compare_stores(store, store, layers=nn.Conv2d, **OPTIONS)
    with pytest.raises(ValueError, match="layers is empty"):
        ps.compare_stores(store, store, layers=[], **OPTIONS)


@pytest.mark.parametrize("metric", ["cca", "procrustes"])
def test_max_batches_counts_batches_of_the_size_asked_for(metric):
    x, y = (np.random.default_rng(seed).normal(size=(90, 4)) for seed in (0, 1))
    stores, parts = (
        (store_of("x", {"a": x}), store_of("y", {"a": y})),
        (store_of("x", {"a": x[:24]}), store_of("y", {"a": y[:24]})),
    )
    found = ps.compare_stores(*stores, metric=metric, batch_size=12, max_batches=2, progress=False)
    assert found.meta["samples"] == 24
    expected = ps.compare_stores(*parts, metric=metric, progress=False)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-12)


@pytest.mark.parametrize(
    "compared",
    [
        lambda store: ps.compare_stores(store, store, batch_size=32, progress=False),
        lambda store: ps.compare_many({"x": store}, batch_size=32, progress=False),
    ],
)
def test_a_last_batch_that_is_too_small_is_said_to_who_called(compared):
    store = store_of("x", {"a": np.random.default_rng(0).normal(size=(35, 4))})
    with pytest.warns(UserWarning, match="the last batch has 3 samples") as caught:
        compared(store)
    assert caught[0].filename == __file__


def test_a_store_that_changes_while_it_is_read_is_an_error(stores, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(stores[0], tmp_path / "x.zarr")
    read = engine.StoredRun.over

    def meddling(self, **options):
        found = read(self, **options)
        path = next((tmp_path / "x.zarr").glob("layers/0/c.*"))
        path.write_bytes(path.read_bytes())
        return found

    monkeypatch.setattr(engine.StoredRun, "over", meddling)
    with pytest.raises(DamagedStoreError, match=r"was changed while it was read: layers/0/c\.\S+ has changed; let its"):
        ps.compare_stores(tmp_path / "x.zarr", stores[1], **OPTIONS)


@pytest.mark.parametrize("damage", [lambda d: d[:-9], lambda d: d[:50] + b"!" + d[51:], lambda d: d[:60]])
def test_a_damaged_chunk_is_named(stores, tmp_path, damage):
    import shutil

    shutil.copytree(stores[0], tmp_path / "x.zarr")
    path = tmp_path / "x.zarr/layers/0/c.0.0.0.0"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        DamagedStoreError, match=r"x\.zarr: chunk c\.0\.0\.0\.0 of layer '0' \(samples 0 to \d+\) is damaged: .*copy"
    ):
        ps.compare_stores(tmp_path / "x.zarr", stores[1], **OPTIONS)


def test_too_few_samples_are_an_error():
    store = store_of("x", {"a": np.ones((3, 2))})
    with pytest.raises(
        ValueError, match=r"no batch has the 4 samples that .* cka: batch_size is 32, and the stores have 3"
    ):
        ps.compare_stores(store, store, **OPTIONS)
    for wrong in (0, 2.5, True):
        with pytest.raises(ValueError, match="batch_size is"):
            ps.compare_stores(store, store, batch_size=wrong, progress=False)
        with pytest.raises(ValueError, match="batch_size is"):
            ps.compare_many({"x": store}, batch_size=wrong, progress=False)


def test_positions_need_the_shape(models, loader, tmp_path):
    ps.extract(models[0], loader, tmp_path / "x.zarr", features="pool", progress=False)
    with pytest.raises(ValueError, match=r"features is 'positions', but .* was extracted with features='pool'"):
        ps.compare_stores(tmp_path / "x.zarr", tmp_path / "x.zarr", features="positions", **OPTIONS)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"layers": 5}, "names or glob patterns"),
        ({"layers_y": 5}, "names or glob patterns"),
        ({"cache": 5}, "the path of a folder"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_of_the_wrong_type(stores, options, expected):
    with pytest.raises(TypeError, match=rf"^{next(iter(options))} is .*; expected {expected}"):
        ps.compare_stores(*stores, **OPTIONS, **options)


def test_batches_are_no_larger_than_the_stores():
    """Of the memory that batches would take only what the samples that there are take is asked for."""
    store = store_of("x", {"a": np.random.default_rng(0).normal(size=(64, 500))})
    options = {"memory": "600KiB", "progress": False}
    assert ps.compare_stores(store, store, batch_size=np.int64(4096), **options).values == pytest.approx(1)
    with pytest.raises(ValueError, match="batches of 64 samples of 1 layers take"):
        ps.compare_stores(store, store, kernel="rbf", batch_size=4096, memory="100KiB", progress=False)
