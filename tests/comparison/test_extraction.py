"""What `extract` writes: exactly the activations, in stores that say what they are and go on where they stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import zarr
from torch import nn
from torch.utils.data import DataLoader

import pyscale as ps
from tests.comparison.killed import tree
from tests.comparison.networks import mlp, vectors

SAMPLES = 50


class Network(nn.Module):
    """Convolution, in-place activation used twice, and layers of other types."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.relu = nn.Conv2d(3, 6, 3, dtype=dtype), nn.ReLU(inplace=True)
        self.head = nn.Linear(6, 4, dtype=dtype)

    def forward(self, x):
        x = self.relu(self.conv(x.to(self.conv.weight.dtype)))
        return self.relu(self.head(x.mean((2, 3))))


def images(seed=0):
    return torch.randn(SAMPLES, 3, 9, 9, generator=torch.Generator().manual_seed(seed))


def batches(size=16, seed=0):
    return DataLoader(images(seed), batch_size=size)


def expected(model, loader):
    """Activations by plain code: every call's output, before anything overwrites it."""
    rows = {"conv": [], "relu": [], "head": [], "relu#1": []}
    with torch.inference_mode():
        for x in loader:
            conv = model.conv(x.to(model.conv.weight.dtype))
            rows["conv"].append(conv.clone())
            relu = conv.clamp_min(0)
            rows["relu"].append(relu)
            head = model.head(relu.mean((2, 3)))
            rows["head"].append(head.clone())
            rows["relu#1"].append(head.clamp_min(0))
    return {name: torch.cat(parts) for name, parts in rows.items()}


def extract(path, model=None, loader=None, **options):
    return ps.extract(model or Network(), loader or batches(), path, progress=False, **options)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [16, 7, 50, 1])
def test_every_number_is_kept_exactly(tmp_path, dtype, size):
    model, loader = Network(dtype), batches(size)
    store = extract(tmp_path / "x.zarr", model, loader)
    truth = expected(model, loader)
    assert list(store.layers) == list(truth)
    for name, values in truth.items():
        assert store.layers[name].dtype == dtype
        assert torch.equal(store.layers[name].rows(0, SAMPLES), values)


def test_zarr_itself_reads_the_same(tmp_path):
    model = Network()
    extract(tmp_path / "x.zarr", model)
    group = zarr.open_group(tmp_path / "x.zarr", mode="r")
    for name, values in expected(model, batches()).items():
        array = group["layers"][name.replace("#", "%23")]
        assert array.shape == tuple(values.shape)
        assert np.array_equal(array[:], values.numpy())
        assert array.attrs["layer"] == name


def test_bfloat16_is_kept_as_its_16_bits(tmp_path):
    model = Network(torch.bfloat16)
    extract(tmp_path / "x.zarr", model)
    array = zarr.open_group(tmp_path / "x.zarr", mode="r")["layers/conv"]
    assert (array.dtype, array.attrs["dtype"]) == (np.uint16, "bfloat16")
    assert np.array_equal(array[:], expected(model, batches())["conv"].view(torch.uint16).numpy())


def test_pooled_activations_are_means(tmp_path):
    model = Network()
    store = extract(tmp_path / "x.zarr", model, features="pool")
    means = expected(model, batches())["conv"].mean((2, 3))
    assert store.layers["conv"].shape == (SAMPLES, 6)
    torch.testing.assert_close(store.layers["conv"].rows(0, SAMPLES), means)
    with pytest.raises(ValueError, match="features is 'positions', which a store need not be made for"):
        extract(tmp_path / "y.zarr", model, features="positions")


@pytest.mark.parametrize("address", ["memory://tests/{}/x.zarr", "file://{}/y.zarr"])
def test_addresses_of_fsspec_are_taken(tmp_path, address):
    model, path = Network(), address.format(tmp_path)
    store = extract(path, model)
    again = extract(path, model)
    for opened in (store, again, ps.open_store(path)):
        assert torch.equal(opened.layers["conv"].rows(3, 40), expected(model, batches())["conv"][3:40])


def test_attributes_say_where_it_came_from(tmp_path):
    store = extract(tmp_path / "x.zarr", sample_ids=[f"img{i}" for i in range(SAMPLES)])
    found = store.attributes
    assert (found["model"], found["features"], found["samples"]) == ("Network", "flatten", SAMPLES)
    assert found["layers"] == ["conv", "relu", "head", "relu#1"]
    assert found["versions"] == {"pyscale": ps.__version__, "torch": torch.__version__}
    assert store.ids == tuple(f"img{i}" for i in range(SAMPLES))
    assert len(found["ids"]) == 32


def test_ids_come_with_the_batches(tmp_path):
    x, ids = images(), torch.arange(SAMPLES).flip(0) * 3
    loader = [{"x": x[i : i + 16], "id": ids[i : i + 16]} for i in range(0, SAMPLES, 16)]
    assert extract(tmp_path / "x.zarr", loader=loader).ids == tuple(ids.tolist())
    loader[1]["id"] = loader[0]["id"]
    with pytest.raises(ValueError, match=r"batches 0 and 1 both have the id 147; every sample needs its own"):
        extract(tmp_path / "y.zarr", loader=loader)


def test_ids_are_whole_numbers_or_strings_once_each(tmp_path):
    with pytest.raises(ValueError, match="the id 1 twice"):
        extract(tmp_path / "x.zarr", sample_ids=[1, 1])
    with pytest.raises(TypeError, match=r"sample_ids\[0\] is 1.5"):
        extract(tmp_path / "x.zarr", sample_ids=[1.5])


def test_a_shuffling_loader_without_ids_is_warned_about(tmp_path):
    loader = DataLoader(images(), batch_size=16, shuffle=True)
    with pytest.warns(UserWarning, match="loader shuffles and its batches have no ids") as caught:
        ps.extract(Network(), loader, tmp_path / "x.zarr", progress=False)
    assert caught[0].filename == __file__


def test_the_model_is_left_as_it_was(tmp_path):
    model = Network().train()
    extract(tmp_path / "x.zarr", model)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_the_same_call_again_returns_the_store_without_running(tmp_path):
    extract(tmp_path / "x.zarr")
    before = tree(tmp_path / "x.zarr")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "forward", None)
        extract(tmp_path / "x.zarr")
    assert tree(tmp_path / "x.zarr") == before


def test_a_finished_store_of_other_settings_is_never_overwritten(tmp_path):
    path = tmp_path / "x.zarr"
    extract(path, sample_ids=range(SAMPLES))
    before = tree(path)
    other = Network()
    nn.init.zeros_(other.head.bias)
    differing = {
        "other model's parameters": {"model": other},
        "other layers: conv, relu, head there, conv asked for": {"layers": "conv"},
        "other features: flatten there, pool asked for": {"features": "pool"},
        "other forward": {"forward": lambda model, batch: model(batch)},
        "other max_batches": {"max_batches": 2, "sample_ids": range(32)},
        "other sample_ids": {"sample_ids": range(1, SAMPLES + 1)},
        "first batch is another one": {"loader": batches(seed=1)},
        "a complete store of 4 batches, and loader has 5": {"loader": batches(size=10)},
    }
    for message, options in differing.items():
        with pytest.raises(ValueError, match=message):
            extract(path, **{"sample_ids": range(SAMPLES), **options})
    assert tree(path) == before


def test_metadata_that_is_gone_is_named(tmp_path):
    for lost, subject in (("layers/conv", "layer 'conv'"), ("sample_ids", "sample_ids")):
        path = tmp_path / lost.replace("/", "-")
        extract(path, sample_ids=range(SAMPLES))
        (path / lost / "zarr.json").unlink()
        with pytest.raises(ps.stores.DamagedStoreError, match=rf"{subject} lacks {lost}/zarr\.json"):
            _ = ps.open_store(path).ids


def test_other_files_are_never_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="a folder with other files in it"):
        extract(tmp_path)
    with pytest.raises(FileExistsError, match="is a file"):
        extract(tmp_path / "notes.txt")
    zarr.open_group(tmp_path / "z.zarr", mode="w", zarr_format=3)
    with pytest.raises(FileExistsError, match="something else wrote"):
        extract(tmp_path / "z.zarr")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_other_files_at_an_address_are_never_removed():
    place = ps.stores.places.place_of("memory://others")
    place.write("table.csv", b"mine")
    with pytest.raises(
        FileExistsError, match=r"memory://others is a folder with other files in it, such as table\.csv"
    ):
        extract("memory://others")
    assert place.read("table.csv") == b"mine"


def test_hidden_files_of_others_stay_where_they_are(tmp_path):
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id").write_text("mine")
    (tmp_path / ".profile.part").write_text("mine")
    extract(tmp_path)
    assert [(tmp_path / name).read_text() for name in (".ssh/id", ".profile.part")] == ["mine", "mine"]


def test_chunks_take_a_part_of_a_batch_or_several(tmp_path):
    wide = nn.Sequential(nn.Linear(4, 300_000), nn.Linear(300_000, 2))
    store = ps.extract(wide, [torch.randn(12, 4) for _ in range(3)], tmp_path / "x.zarr", progress=False)
    assert store.layers["0"].rows_at_once == 3  # of 12, at most 4 MiB
    assert store.layers["1"].rows_at_once == 1020  # of many batches, of which all are held
    meta = json.loads((tmp_path / "x.zarr/layers/0/zarr.json").read_text())
    assert [codec["name"] for codec in meta["codecs"]] == ["bytes", "blosc", "crc32c"]


def test_noise_is_not_compressed(tmp_path):
    noise = torch.rand(64, 4096, dtype=torch.float64, generator=torch.manual_seed(0)) - 0.5
    noise = torch.exp2(1800 * noise) * noise.sign() * (1 + noise)
    ps.extract(nn.Sequential(nn.Identity()), [noise], tmp_path / "x.zarr", layers="0", progress=False)
    meta = json.loads((tmp_path / "x.zarr/layers/0/zarr.json").read_text())
    assert [codec["name"] for codec in meta["codecs"]] == ["bytes", "crc32c"]


@pytest.mark.parametrize("name", ["a.npz", "A.NPY", "a.safetensors", "memory://a.h5"])
def test_no_store_takes_the_name_of_another_format(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"path is .*, and what is written is a Zarr"):
        extract(name)
    assert not list(tmp_path.iterdir())


def test_where_to_write_is_named(tmp_path):
    for wrong in (5, None, ""):
        with pytest.raises(TypeError, match=f"path is {wrong!r}; expected where to write"):
            ps.extract(mlp(4, 3), vectors(8), wrong, progress=False)
    with pytest.raises(TypeError, match="forward is 5; expected a function"):
        ps.extract(mlp(4, 3), vectors(8), tmp_path / "x.zarr", forward=5, progress=False)
    with pytest.raises(TypeError, match=r"max_batches is 1.5; expected an integer"):
        ps.extract(mlp(4, 3), vectors(8), tmp_path / "x.zarr", max_batches=1.5, progress=False)
    store = ps.extract(mlp(4, 3), vectors(8, 8), tmp_path / "x.zarr", max_batches=np.int64(1), progress=False)
    assert store.samples == 8


@pytest.mark.parametrize("ids", [5, "abc"])
def test_ids_are_one_for_each_sample(ids, tmp_path):
    with pytest.raises(TypeError, match=f"sample_ids is {ids!r}; expected a whole number or a string for every sample"):
        extract(tmp_path / "x.zarr", sample_ids=ids)
