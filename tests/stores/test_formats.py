"""Every format gives the numbers that were stored: whole, in part, in any order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import pyscale as ps
from pyscale.stores import DamagedStoreError
from tests.stores.samples import CONV, HEAD, IDS, NAMES, SAMPLES, WRITERS

UNHURRIED = settings(deadline=None)
KINDS = ["npz", "npy", "hdf5", "zarr", "safetensors"]


def write_arrays(path, kind, arrays):
    """Write arrays by name in a format, and return the path."""
    import h5py

    if kind == "npz":
        np.savez(path, **arrays)
    elif kind == "npy":
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    elif kind == "zarr":
        group = zarr.open_group(path, mode="w", zarr_format=3)
        for name, array in arrays.items():
            group.create_array(name, data=array)
    else:
        save_file({name: torch.tensor(array) for name, array in arrays.items()}, path)
    return path


@pytest.fixture(params=WRITERS, scope="module")
def store(request, tmp_path_factory):
    path = WRITERS[request.param](tmp_path_factory.mktemp("format"))
    with ps.open_store(path) as opened:
        yield opened


def test_layers_have_names_shapes_and_types(store):
    assert set(store.layers) == {"conv", "head"}
    assert store.samples == SAMPLES
    for name, truth in (("conv", CONV), ("head", HEAD)):
        layer = store.layers[name]
        assert (layer.name, layer.shape, layer.features) == (name, truth.shape, truth[0].size)
        assert layer.dtype == torch.from_numpy(truth).dtype


@UNHURRIED
@given(st.integers(0, SAMPLES), st.integers(0, SAMPLES))
def test_rows_are_those_that_were_stored(store, i, j):
    start, stop = min(i, j), max(i, j)
    for name, truth in (("conv", CONV), ("head", HEAD)):
        assert np.array_equal(store.layers[name].rows(start, stop).numpy(), truth[start:stop])


@UNHURRIED
@given(st.lists(st.integers(0, SAMPLES - 1), max_size=12))
def test_samples_are_taken_in_any_order(store, places):
    for name, truth in (("conv", CONV), ("head", HEAD)):
        assert np.array_equal(store.layers[name].take(places).numpy(), truth[places])


def test_rows_go_into_memory_that_is_given(store):
    out = torch.full((7, *CONV.shape[1:]), torch.nan)
    assert store.layers["conv"].rows(3, 10, out=out) is out
    assert np.array_equal(out.numpy(), CONV[3:10])
    with pytest.raises(ValueError, match=r"out is \(6"):
        store.layers["conv"].rows(3, 10, out=torch.empty(6, *CONV.shape[1:]))


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (0, SAMPLES + 1), (5, 4)])
def test_samples_that_are_not_there_are_an_error(store, start, stop):
    with pytest.raises(IndexError, match="21 samples"):
        store.layers["conv"].rows(start, stop)
    with pytest.raises(IndexError, match="21 samples"):
        store.layers["conv"].take([SAMPLES])


def test_ids_are_found(store):
    assert list(store.ids) in (IDS, NAMES)


def test_a_store_knows_that_it_has_not_changed(store):
    store.check_unchanged()


def test_one_npy_file_is_a_layer_named_as_it_is(tmp_path):
    np.save(tmp_path / "fc.npy", HEAD.astype(np.float16))
    store = ps.open_store(tmp_path / "fc.npy")
    assert store.ids is None
    assert np.array_equal(store.layers["fc"].rows(0, SAMPLES).numpy(), HEAD.astype(np.float16))


def test_bfloat16_comes_as_bfloat16(tmp_path):
    x = torch.from_numpy(CONV).bfloat16()
    save_file({"conv": x}, tmp_path / "x.safetensors")
    assert torch.equal(ps.open_store(tmp_path / "x.safetensors").layers["conv"].rows(0, SAMPLES), x)


def test_ids_of_an_hdf5_file_may_be_strings(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["conv"], file["ids"] = CONV, NAMES
    with ps.open_store(tmp_path / "x.hdf5") as store:
        assert list(store.ids) == NAMES


@pytest.mark.parametrize(
    "ids",
    [
        np.arange(SAMPLES - 1),
        np.arange(SAMPLES)[:, None],
        np.array(3),
        np.arange(SAMPLES) > 3,
        np.arange(SAMPLES).astype(np.complex64),
        np.arange(SAMPLES).astype(np.float32),
        np.arange(SAMPLES).astype(np.float64),
        CONV,
    ],
    ids=["few", "column", "one", "bool", "complex64", "float32", "float64", "activations"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_ids_that_are_none_are_refused(tmp_path, kind, ids):
    """Samples that silently went by their places would be compared with others than they are."""
    path = write_arrays(tmp_path / f"x.{kind}", kind, {"conv": CONV, "ids": ids})
    with ps.open_store(path) as store:
        assert list(store.layers) == ["conv"]
        with pytest.raises(ValueError, match=r"sample ids of .* have shape .*; expected a whole number or"):
            _ = store.ids


@pytest.mark.parametrize("kind", KINDS)
def test_two_arrays_that_are_called_as_ids_are_refused(tmp_path, kind):
    arrays = {"conv": CONV, "ids": np.arange(SAMPLES), "sample_ids": np.arange(SAMPLES)[::-1].copy()}
    said = r"holds '(sample_)?ids' and '(sample_)?ids', each of which is called"
    with (
        ps.open_store(write_arrays(tmp_path / f"x.{kind}", kind, arrays)) as store,
        pytest.raises(ValueError, match=said),
    ):
        _ = store.ids


@pytest.mark.filterwarnings("ignore:.*does not have a Zarr V3 specification")
def test_text_in_a_zarr_is_no_layer_and_no_ids(tmp_path):
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=3)
    group.create_array("conv", data=CONV)
    group.create_array("names", data=np.array(NAMES))
    assert list(ps.open_store(tmp_path / "x.zarr").layers) == ["conv"]
    group.create_array("ids", data=np.array(NAMES))
    with pytest.raises(ValueError, match=r"sample ids of .* type .*fixed_length_utf32"):
        _ = ps.open_store(tmp_path / "x.zarr").ids


def test_a_file_or_folder_may_be_called_as_ids_are(tmp_path):
    np.save(tmp_path / "ids.npy", HEAD)
    zarr.save_array(tmp_path / "id.zarr", HEAD, zarr_format=3)
    assert list(ps.open_store(tmp_path / "ids.npy").layers) == ["ids"]
    assert list(ps.open_store(tmp_path / "id.zarr").layers) == ["id"]


def test_what_would_be_passed_over_silently_is_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["conv"], file["head"] = CONV, HEAD.astype(">f8")
    with pytest.raises(ValueError, match="'head' holds big-endian numbers"):
        ps.open_store(tmp_path / "x.h5")
    zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2).create_array("conv", data=CONV)
    with pytest.raises(ValueError, match=r"x\.zarr is a Zarr of format 2 \(it has a \.zgroup\); format 3 is read"):
        ps.open_store(tmp_path / "x.zarr")


def test_paths_begin_at_home_where_they_say_so(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "x.npy", HEAD)
    np.save(tmp_path / "~x.npy", CONV)
    assert ps.open_store("~/x.npy").layers["x"].shape == HEAD.shape
    assert ps.open_store("~x.npy").layers["~x"].shape == CONV.shape
    with pytest.raises(TypeError, match="address is 3; expected a path"):
        ps.open_store(3)


def test_file_names_of_other_pictures_are_refused(tmp_path):
    path = WRITERS["thingsvision"](tmp_path)
    (path / "file_names.txt").write_text("one.jpg\ntwo.jpg\n")
    with pytest.raises(ValueError, match=r"file_names\.txt of .* has 2 lines; expected one for each of 21 samples"):
        _ = ps.open_store(path).ids


@pytest.mark.parametrize("kind", ["int8", "uint16", "int32", "uint64"])
def test_ids_are_numbers_of_any_width(tmp_path, kind):
    ids = np.arange(SAMPLES, dtype=kind)[::-1].copy()
    save_file({"conv": torch.from_numpy(CONV), "ids": torch.from_numpy(ids)}, tmp_path / "x.safetensors")
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=3)
    group.create_array("conv", data=CONV)
    group.create_array("ids", data=ids)
    for name in ("x.safetensors", "x.zarr"):
        assert ps.open_store(tmp_path / name).ids == tuple(ids.tolist())


@pytest.mark.parametrize("name", WRITERS)
def test_a_change_while_it_is_read_is_noticed(name, tmp_path):
    path = WRITERS[name](tmp_path)
    with ps.open_store(path) as store:
        file = path if path.is_file() else next(p for p in sorted(path.rglob("*")) if p.is_file())
        file.write_bytes(file.read_bytes() + b" ")
        with pytest.raises(DamagedStoreError, match=r"was changed while it was read: .* has changed"):
            store.check_unchanged()


def test_layers_of_unequal_samples_are_an_error(tmp_path):
    np.savez(tmp_path / "x.npz", a=CONV, b=CONV[:5])
    with pytest.raises(DamagedStoreError, match="'a' has 21 and 'b' has 5"):
        ps.open_store(tmp_path / "x.npz")


def test_nothing_to_compare_is_an_error(tmp_path):
    np.savez(tmp_path / "x.npz", labels=np.arange(4))
    with pytest.raises(ValueError, match="holds no layer"):
        ps.open_store(tmp_path / "x.npz")


def test_what_is_not_there_or_unknown_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no store"):
        ps.open_store(tmp_path / "x.zarr")
    (tmp_path / "x.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no known format; expected .*\.safetensors"):
        ps.open_store(tmp_path / "x.pkl")
    with pytest.raises(TypeError, match="expected a path"):
        ps.open_store("")


def test_missing_pieces_are_named(tmp_path):
    (tmp_path / "conv").mkdir()
    np.save(tmp_path / "conv/features_0-16.npy", CONV[:16])
    np.save(tmp_path / "conv/features_18-21.npy", CONV[18:])
    with pytest.raises(
        DamagedStoreError, match=r"'conv' lacks pieces: there are features_0-16.npy, features_18-21.npy"
    ):
        ps.open_store(tmp_path)


def test_duplicate_ids_are_named(tmp_path):
    np.savez(tmp_path / "x.npz", a=HEAD, ids=np.array([5, *IDS[1:10], 5, *IDS[11:]]))
    with pytest.raises(ValueError, match="the id 5 twice, at 0 and 10"):
        _ = ps.open_store(tmp_path / "x.npz").ids


def test_big_endian_numbers_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", HEAD.astype(">f8"))
    with pytest.raises(ValueError, match="big-endian"):
        ps.open_store(tmp_path / "x.npy")
