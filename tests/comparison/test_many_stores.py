"""Many stores at once, and stores beside models that run: the numbers of live models, and samples that match."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import pyscale as ps
from tests.comparison.networks import InPlaceNet, mlp, pictures, vectors

pytest.importorskip("numcodecs", reason="numcodecs is not installed: pip install 'pyscale[store]'")


def with_ids(batches, order=None):
    """Batches of dicts with ids; in another order of the samples where one is given."""
    samples = torch.cat(batches)
    ids = torch.arange(len(samples)) if order is None else torch.as_tensor(order)
    size = len(batches[0])
    return [{"x": samples[part], "id": part} for part in ids.split(size)]


def call(model, batch):
    return model(batch["x"])


@pytest.fixture
def nets():
    return {"narrow": InPlaceNet(6, seed=1), "wide": InPlaceNet(9, seed=2), "third": InPlaceNet(6, seed=3)}


@pytest.fixture
def stores(nets, tmp_path):
    paths = {}
    for name, net in nets.items():
        paths[name] = tmp_path / f"{name}.zarr"
        ps.extract(net, pictures(16, 16, 11), paths[name], progress=False)
    return paths


def assert_alike(found, live):
    assert list(found) == list(live)
    for key, c in found.items():
        assert (c.rows, c.columns) == (live[key].rows, live[key].columns)
        for name, array in c.arrays().items():
            np.testing.assert_allclose(array, live[key].arrays()[name], rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize(
    "options",
    [{}, {"permutations": 9}, {"mode": "exact", "features": "pool"}, {"metric": "cca_r2", "features": "pool"}],
)
@pytest.mark.filterwarnings("ignore:.*samples")
def test_stores_give_what_live_models_give(nets, stores, options):
    live = ps.compare_many(nets, pictures(16, 16, 11), progress=False, **options)
    assert_alike(ps.compare_many(stores, batch_size=16, progress=False, **options), live)


@pytest.mark.parametrize("options", [{}, {"mode": "exact", "features": "pool"}])
@pytest.mark.filterwarnings("ignore:.*samples")
def test_stores_beside_models_give_what_live_models_give(nets, stores, options):
    live = ps.compare_many(nets, pictures(16, 16, 11), progress=False, **options)
    mixed = {**nets, "wide": stores["wide"]}
    found = ps.compare_many(mixed, pictures(16, 16, 11), progress=False, **options)
    assert_alike(found, live)
    assert found["narrow", "wide"].meta["class_y"] == "InPlaceNet"


def test_samples_are_found_by_id_whatever_their_order(nets, tmp_path):
    batches, order = pictures(16, 16), np.random.default_rng(0).permutation(32)
    ps.extract(nets["wide"], with_ids(batches, order), tmp_path / "w.zarr", forward=call, progress=False)
    mixed = {"narrow": nets["narrow"], "wide": tmp_path / "w.zarr"}
    found = ps.compare_many(mixed, with_ids(batches), forward=call, progress=False)
    live = ps.compare(nets["narrow"], nets["wide"], with_ids(batches), forward=call, progress=False)
    np.testing.assert_allclose(found["narrow", "wide"].values, live.values, atol=1e-6)


@pytest.mark.parametrize("bare", ["batches", "store"])
def test_a_store_or_batches_without_ids_are_warned_of(nets, tmp_path, bare):
    batches = pictures(16, 16)
    stored = with_ids(batches) if bare == "batches" else [{"x": x} for x in batches]
    ps.extract(nets["wide"], stored, tmp_path / "w.zarr", forward=call, progress=False)
    mixed = {"narrow": nets["narrow"], "wide": tmp_path / "w.zarr"}
    seen = [{"x": x} for x in batches] if bare == "batches" else with_ids(batches)
    said = {
        "batches": r"wide \(\S+\) has sample ids, and the batches have none: sample i",
        "store": r"wide \(\S+\) has no sample ids, and the batches have: sample i",
    }
    with pytest.warns(UserWarning, match=said[bare]) as caught:
        found = ps.compare_many(mixed, seen, forward=call, progress=False)
    assert [warning.filename for warning in caught] == [__file__]
    live = ps.compare(nets["narrow"], nets["wide"], batches, progress=False)
    np.testing.assert_allclose(found["narrow", "wide"].values, live.values, atol=1e-6)


def test_batches_of_which_some_have_ids_are_refused(nets, tmp_path):
    batches = with_ids(pictures(16, 16))
    ps.extract(nets["wide"], batches, tmp_path / "w.zarr", forward=call, progress=False)
    mixed = {"narrow": nets["narrow"], "wide": tmp_path / "w.zarr"}
    with pytest.raises(ValueError, match=r"batch 1 has no ids, and those before it have ids: samples of wide"):
        ps.compare_many(mixed, [batches[0], {"x": batches[1]["x"]}], forward=call, progress=False)


def test_a_loader_that_shuffles_beside_a_store_without_ids_is_warned_of(nets, stores):
    loader = DataLoader(torch.cat(pictures(16, 16, 11)), batch_size=16, shuffle=True)
    mixed = {"narrow": nets["narrow"], "wide": stores["wide"]}
    with pytest.warns(UserWarning, match=r"loader shuffles, and wide \(\S+\) has no sample ids") as caught:
        ps.compare_many(mixed, loader, progress=False)
    assert [warning.filename for warning in caught] == [__file__]


def test_samples_that_a_store_lacks_are_named(nets, tmp_path):
    batches = pictures(16, 16)
    ps.extract(nets["wide"], with_ids(batches, range(16)), tmp_path / "w.zarr", forward=call, progress=False)
    mixed = {"narrow": nets["narrow"], "wide": tmp_path / "w.zarr"}
    with pytest.raises(ValueError, match="sample 16 of batch 1 is not in wide"):
        ps.compare_many(mixed, with_ids(batches), forward=call, progress=False)


@pytest.mark.parametrize(
    ("ids", "message"),
    [([*range(31), 3], r"batches 0 and 1 both have sample 3"), ([*range(31), 20], r"batch 1 has the id 20 twice")],
)
def test_samples_that_come_twice_are_named(nets, tmp_path, ids, message):
    batches = pictures(16, 16)
    ps.extract(nets["wide"], with_ids(batches), tmp_path / "w.zarr", forward=call, progress=False)
    mixed = {"narrow": nets["narrow"], "wide": tmp_path / "w.zarr"}
    again = [
        {**batch, "id": torch.tensor(ids[k : k + 16])} for k, batch in zip((0, 16), with_ids(batches), strict=True)
    ]
    with pytest.raises(ValueError, match=message):
        ps.compare_many(mixed, again, forward=call, progress=False)


def test_loaders_and_stores_of_other_lengths_are_refused(nets, stores):
    mixed = {"narrow": nets["narrow"], "wide": stores["wide"]}  # of 43 samples
    with pytest.raises(ValueError, match=r"loader gave 32 samples and wide \(.*\) has 43"):
        ps.compare_many(mixed, pictures(16, 16), progress=False)
    with pytest.raises(ValueError, match=r"loader gives more than the 43 samples of wide"):
        ps.compare_many(mixed, pictures(16, 16, 16), progress=False)
    part = ps.compare_many(mixed, pictures(16, 16, 16), max_batches=2, progress=False)
    live = ps.compare(nets["narrow"], nets["wide"], pictures(16, 16), progress=False)
    np.testing.assert_allclose(part["narrow", "wide"].values, live.values, atol=1e-6)


def test_a_batch_that_is_skipped_is_passed_over_in_the_store_too(nets, tmp_path):
    batches = pictures(16, 2, 16)
    ps.extract(nets["wide"], batches, tmp_path / "w.zarr", progress=False)
    mixed = {"narrow": nets["narrow"], "wide": tmp_path / "w.zarr"}
    with pytest.warns(UserWarning, match="batch 1 has 2 samples") as caught:
        found = ps.compare_many(mixed, batches, progress=False)
    assert len(caught) == 1
    live = ps.compare(nets["narrow"], nets["wide"], [batches[0], batches[2]], progress=False)
    np.testing.assert_allclose(found["narrow", "wide"].values, live.values, atol=1e-6)


def test_stores_of_other_samples_are_refused(stores, nets, tmp_path):
    ps.extract(nets["wide"], pictures(16), tmp_path / "less.zarr", progress=False)
    with pytest.raises(ValueError, match=r"has 43 samples.*16; stores must hold the same samples|other"):
        ps.compare_many({"a": stores["wide"], "b": tmp_path / "less.zarr"}, progress=False)


def test_layers_of_stores_are_chosen_by_name(stores):
    found = ps.compare_many(stores, layers=["conv*", "fc"], batch_size=16, progress=False)
    assert found.layers("wide") == ["conv", "conv2", "fc"]
    with pytest.raises(ValueError, match="layers of 'narrow' asks for 'nothing'"):
        ps.compare_many(stores, layers="nothing", progress=False)


def test_what_makes_no_sense_is_refused(stores, nets):
    with pytest.raises(ValueError, match="loader is given, but no model runs"):
        ps.compare_many(stores, vectors(8), progress=False)
    with pytest.raises(TypeError, match="loader is None; the models"):
        ps.compare_many(nets, progress=False)
    with pytest.raises(FileNotFoundError, match="no store"):
        ps.compare_many({"a": "nowhere.npz.zarr", "b": mlp(4, 3)}, vectors(8), progress=False)
    with pytest.raises(ValueError, match="Gram"):
        ps.compare_many(stores, memory="64KiB", batch_size=16, progress=False)


def test_files_of_others_and_open_stores_are_compared(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 12))
    np.savez(tmp_path / "x.npz", conv=x, relu=np.maximum(x, 0))
    np.save(tmp_path / "y.npy", x @ rng.standard_normal((12, 5)))
    with ps.open_store(tmp_path / "y.npy") as store:
        found = ps.compare_many({"x": tmp_path / "x.npz", "y": store}, batch_size=20, progress=False)
        assert store.layers["y"].rows(0, 1).shape == (1, 5)  # still open
    alone = ps.compare_stores(tmp_path / "x.npz", tmp_path / "y.npy", batch_size=20, progress=False)
    np.testing.assert_allclose(found["x", "y"].values, alone.values, atol=1e-12)
