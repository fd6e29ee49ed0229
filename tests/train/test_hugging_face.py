from __future__ import annotations

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pyscale.train import evaluate, fit, from_hugging_face
from tests.train.networks import small_resnet

datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install 'pyscale[hub]'")

CLASSES = ["cat", "dog"]


def pixels(split, index, size=(8, 6)):
    """Noise that says which picture it is."""
    rng = np.random.default_rng([("train", "test", "validation").index(split), index])
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8)


def rows(split, n, *, size=(8, 6), names=CLASSES, image="image", label="label", **columns):
    features = {image: datasets.Image(), label: datasets.ClassLabel(names=names)}
    pictures = [Image.fromarray(pixels(split, index, size)) for index in range(n)]
    content = {image: pictures, label: [index % 2 for index in range(n)], **columns}
    features |= {column: datasets.Value("string") for column in columns}
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


def expected(split, n):
    return torch.from_numpy(np.stack([pixels(split, index) for index in range(n)])).permute(0, 3, 1, 2)


def contents(dataset):
    return torch.stack([dataset[i][0] for i in range(len(dataset))])


@pytest.fixture
def pets():
    return datasets.DatasetDict(train=rows("train", 10), test=rows("test", 4), validation=rows("validation", 2))


@pytest.mark.parametrize("memory", [0, 2**20], ids=["decoded-at-access", "in-memory"])
def test_every_picture_arrives_with_its_class(pets, memory):
    data = from_hugging_face(pets, memory=memory, name="pets")
    assert repr(data) == "Data('pets', train=10, test=4, val=2, num_classes=2, channels=3, image_size=(8, 6))"
    assert data.class_names == ("cat", "dog")
    for split, source in (("train", "train"), ("test", "test"), ("val", "validation")):
        held = data.split(split)
        assert torch.equal(contents(held), expected(source, len(held)))
        assert data.labels(split).tolist() == [index % 2 for index in range(len(held))]
        assert [int(held[i][1]) for i in range(len(held))] == data.labels(split).tolist()
    reference = expected("train", 10).double() / 255
    assert data.mean == pytest.approx(reference.mean((0, 2, 3)).tolist())
    assert data.std == pytest.approx(reference.std((0, 2, 3), correction=0).tolist())


def test_labels_and_parts_decode_no_picture(pets, monkeypatch):
    del pets["validation"]
    data = from_hugging_face(pets)

    def refuse(*_, **__):
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(datasets.Image, "decode_example", refuse)
    part = data.resized(4).subset(4, test=2).holding_out(0.5)
    assert sorted(part.labels("train").tolist() + part.labels("val").tolist()) == [0, 0, 1, 1]
    with pytest.raises(AssertionError, match="a picture was decoded"):
        part.train[0]


def test_other_columns_are_not_read(pets):
    pets["train"] = rows("train", 10, caption=["a pet"] * 10)
    assert from_hugging_face(pets).train.rows.column_names == ["image"]


def test_columns_bear_any_name():
    hub = {split: rows(split, 4, image="img", label="fine") for split in ("train", "test")}
    data = from_hugging_face(hub, image="img", label="fine")
    assert torch.equal(contents(data.train), expected("train", 4))


def test_from_disk_and_in_other_processes(pets, tmp_path):
    pets.save_to_disk(tmp_path / "pets")
    data = from_hugging_face(datasets.load_from_disk(tmp_path / "pets"))
    assert torch.equal(contents(data.train), expected("train", 10))
    assert torch.equal(pickle.loads(pickle.dumps(data.train))[3][0], data.train[3][0])
    images, labels = next(iter(data.loader("train", 10, workers=2)))
    assert labels.tolist() == data.labels("train").tolist()
    assert torch.equal(images, next(iter(data.loader("train", 10)))[0])


def test_a_short_fit_runs(pets):
    data = from_hugging_face(pets, 8, channels=1)
    trained = fit(small_resnet(width=4, classes=2), data, epochs=2, progress=False, threads=1)
    assert trained.accuracy.total == 4
    assert trained.accuracy.value == evaluate(trained.model, data).value


def test_any_resolution_is_made_from_the_stored_picture(pets):
    small = from_hugging_face(pets, 4)
    again = small.resized((8, 6))
    assert (small.image_size, again.image_size) == (4, (8, 6))
    assert torch.equal(contents(again.train), expected("train", 10))
    reference = Image.fromarray(pixels("train", 0)).resize((4, 4), Image.Resampling.BILINEAR)
    assert torch.equal(small.train[0][0], torch.from_numpy(np.array(reference)).permute(2, 0, 1))


def test_sizes_must_agree_unless_one_is_given(pets):
    odd = datasets.concatenate_datasets([pets["train"], rows("train", 1, size=(8, 9))])
    with pytest.raises(ValueError, match="dataset: row 10 of train measures 8 x 9 pixels, others 8 x 6; give image_si"):
        from_hugging_face({"train": odd, "test": pets["test"]})
    with pytest.raises(ValueError, match=r"dataset: test pictures measure \(7, 7\), train's \(8, 6\); give image_size"):
        from_hugging_face({"train": pets["train"], "test": rows("test", 4, size=(7, 7))})
    assert contents(from_hugging_face({"train": odd, "test": pets["test"]}, 5).train).shape == (11, 3, 5, 5)


def test_what_is_held_out(pets):
    del pets["test"]
    held = from_hugging_face(pets)
    assert held.val is None
    assert torch.equal(contents(held.test), expected("validation", 2))
    alone = from_hugging_face({"train": pets["train"]}, test_fraction=0.4, seed=2)
    assert np.bincount(alone.labels("test")).tolist() == [2, 2]
    everything = torch.cat([contents(alone.train), contents(alone.test)]).flatten(1).tolist()
    assert sorted(everything) == sorted(expected("train", 10).flatten(1).tolist())
    numbers = np.concatenate([alone.labels("train"), alone.labels("test")])
    where = [expected("train", 10).flatten(1).tolist().index(picture) for picture in everything]
    assert [index % 2 for index in where] == numbers.tolist()


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3)])
def test_arrays_are_pictures_too(shape):
    arrays = np.random.default_rng(0).integers(0, 256, (6, *shape), dtype=np.uint8)
    split = datasets.Dataset.from_dict({"image": arrays.tolist(), "label": [0, 1, 2] * 2})
    data = from_hugging_face({"train": split, "test": split})
    reference = np.broadcast_to(arrays.reshape(6, 4, 5, -1), (6, 4, 5, 3))
    assert torch.equal(contents(data.train), torch.from_numpy(reference.copy()).permute(0, 3, 1, 2))
    assert data.class_names == ("0", "1", "2")
    assert from_hugging_face({"train": split, "test": split}, class_names="xyz").class_names == ("x", "y", "z")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([[0.5]], "got float"),
        ([[256]], r"must hold 0\.\.255, got 256\.\.256"),
        ([[[1, 2]]], r"\(H, W, C\) arrays, got shape \(1, 1, 2\)"),
        ("a.png", "pictures or arrays of integers"),
    ],
)
def test_other_things_than_pictures_are_refused(image, message):
    split = datasets.Dataset.from_dict({"image": [image] * 2, "label": [0, 1]})
    with pytest.raises(
        ValueError, match=r"dataset: row 0 of train is not a readable picture: image='image'.*" + message
    ):
        from_hugging_face({"train": split, "test": split})


def test_a_damaged_picture_is_named(pets):
    damaged = [{"bytes": b"no picture", "path": None}] * 2
    features = pets["test"].features
    pets["test"] = datasets.Dataset.from_dict({"image": damaged, "label": [0, 1]}, features=features)
    with pytest.raises(ValueError, match="dataset: row 0 of test is not a readable picture: of no known format"):
        from_hugging_face(pets)


def test_missing_columns_and_splits_are_named(pets):
    with pytest.raises(ValueError, match=r"image='img' is no column of train, which has \['image', 'label'\]"):
        from_hugging_face(pets, image="img")
    pets["test"] = pets["test"].remove_columns("label")
    with pytest.raises(ValueError, match=r"label='label' is no column of test, which has \['image'\]"):
        from_hugging_face(pets)
    with pytest.raises(ValueError, match=r"'train', and 'test' or 'validation', got \['train', 'valid'\]"):
        from_hugging_face({"train": pets["train"], "valid": pets["validation"]})
    with pytest.raises(ValueError, match=r"got \['test'\]"):
        from_hugging_face({"test": pets["validation"]})


def test_other_labels_are_refused(pets):
    def with_labels(labels):
        plain = pets["train"].remove_columns("label")
        return {"train": plain.select(range(len(labels))).add_column("label", labels)}

    with pytest.raises(ValueError, match="label='label' must hold integers, got string in train: call class_encode"):
        from_hugging_face(with_labels(["cat", "dog"]))
    with pytest.raises(ValueError, match=r"must hold 0\.\.1 for 2 classes, got -1\.\.1 in train"):
        from_hugging_face(with_labels([-1, 1]))
    with pytest.raises(ValueError, match=r"must hold a class for every picture, got None at row 1"):
        from_hugging_face(with_labels([0, None]))
    with pytest.raises(ValueError, match=r"test names its classes \['dog', 'cat'\], train \['cat', 'dog'\]"):
        from_hugging_face({"train": pets["train"], "test": rows("test", 4, names=CLASSES[::-1])})


def test_other_data_sets_are_refused(pets):
    with pytest.raises(TypeError, match=r"dataset must be a datasets.DatasetDict or a mapping of splits.*got Dataset"):
        from_hugging_face(pets["train"])
    with pytest.raises(TypeError, match=r"dataset\['train'\] must be a datasets.Dataset, got IterableDataset"):
        from_hugging_face({"train": pets["train"].to_iterable_dataset(), "test": pets["test"]})
    with pytest.raises(ValueError, match=r"dataset\['validation'\] is empty"):
        from_hugging_face({**pets, "validation": pets["test"].select([])})
    with pytest.raises(ValueError, match=r"dataset\['test'\] must have no transform"):
        from_hugging_face({**pets, "test": pets["test"].with_transform(dict)})
    with pytest.raises(ValueError, match="channels must be 1 or 3, got 2"):
        from_hugging_face(pets, channels=2)


def test_a_missing_library_names_its_extra(pets, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'pyscale\[hub\]'"):
        from_hugging_face(pets)


@pytest.mark.parametrize("address", ["./nowhere", "~/nowhere at all", Path("nowhere")], ids=str)
def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(address, monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(FileNotFoundError, match=r"path: no such folder: .*nowhere"):
        from_hugging_face(address)
