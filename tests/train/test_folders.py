from __future__ import annotations

import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from pyscale.train import image_folder

CLASSES = ("cat", "dog")


def colour(split, label, index):
    """A flat picture whose colour says which one it is."""
    return ("train", "test", "val").index(split) * 80, label * 100, index * 20


def draw(path, rgb, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1], rgb).save(path)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "pets"
    for split, n in (("train", 4), ("test", 2)):
        for label, name in enumerate(CLASSES):
            for index in range(n):
                draw(root / split / name / f"{index}.png", colour(split, label, index))
    return root


def zipped(tree, prefix):
    path = tree.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(tree.rglob("*.png"), reverse=True):
            archive.write(file, f"{prefix}{file.relative_to(tree).as_posix()}")
    return path


def expected(split, n):
    return torch.tensor([colour(split, label, index) for label in (0, 1) for index in range(n)], dtype=torch.uint8)


def contents(dataset):
    return torch.stack([dataset[i][0] for i in range(len(dataset))])[:, :, 3, 3]


@pytest.mark.parametrize("form", ["folder", "outer-folder", "zip", "zip-outer"])
@pytest.mark.parametrize("memory", [2**30, 0], ids=["in-memory", "on-disk"])
def test_every_picture_arrives_with_its_class(tree, form, memory):
    path = {
        "folder": lambda: tree,
        "outer-folder": lambda: tree.parent,
        "zip": lambda: zipped(tree, ""),
        "zip-outer": lambda: zipped(tree, "a/b/"),
    }[form]()
    data = image_folder(path, memory=memory)
    assert data.class_names == CLASSES
    assert (data.channels, data.image_size, len(data.train), len(data.test)) == (3, 8, 8, 4)
    assert torch.equal(contents(data.train), expected("train", 4))
    assert torch.equal(contents(data.test), expected("test", 2))
    assert data.labels("train").tolist() == [0] * 4 + [1] * 4
    reference = expected("train", 4).double() / 255
    assert data.mean == pytest.approx(reference.mean(0).tolist())
    assert data.std == pytest.approx([s or 1.0 for s in reference.std(0, correction=0).tolist()])


def test_pictures_on_disk_make_the_same_batches(tree):
    held, read = (image_folder(tree, memory=memory) for memory in (2**30, 0))
    for split in ("train", "test"):
        for (a, labels), (b, same) in zip(held.loader(split, 3), read.loader(split, 3), strict=True):
            assert torch.equal(labels, same)
            assert a == pytest.approx(b, abs=1e-6)
    assert next(iter(read.resized(5).subset(4).loader("train", 4)))[0].shape == (4, 3, 5, 5)


def test_a_zip_is_read_from_several_processes(tree):
    data = image_folder(zipped(tree, ""), memory=0)
    images, _ = next(iter(data.loader("train", 8, workers=2)))
    assert images == pytest.approx(next(iter(data.loader("train", 8)))[0])
    assert torch.equal(pickle.loads(pickle.dumps(data.train))[0][0], data.train[0][0])


def test_one_folder_is_split_by_class(tree):
    shutil.rmtree(tree / "test")
    data = image_folder(tree / "train", test_fraction=0.5, seed=3)
    assert data.labels("train").tolist() == data.labels("test").tolist() == [0, 0, 1, 1]
    everything = torch.cat([contents(data.train), contents(data.test)]).tolist()
    assert sorted(everything) == sorted(expected("train", 4).tolist())
    only_train = image_folder(tree, test_fraction=0.5, seed=3)
    assert torch.equal(contents(only_train.test), contents(data.test))


def test_a_validation_folder_is_measured_too(tree):
    for name in CLASSES:
        draw(tree / "val" / name / "0.jpg", (1, 2, 3))
    assert len(image_folder(tree).val) == 2


def test_other_files_are_passed_over(tree):
    (tree / "README.txt").write_text("pictures of pets")
    (tree / "train" / "cat" / ".hidden.png").write_bytes(b"no picture")
    (tree / "train" / "cat" / "notes.csv").write_text("1,2")
    draw(tree / "cover.png", (9, 9, 9))
    assert len(image_folder(tree).train) == 8


def test_grey_and_resized(tree):
    data = image_folder(tree, image_size=(4, 6), channels=1)
    assert data.train.images.shape == (8, 1, 4, 6)
    luma = np.round(expected("train", 4).numpy() @ np.array([0.299, 0.587, 0.114]))
    assert np.abs(data.train.images[:, 0, 0, 0].numpy() - luma).max() <= 1


def test_a_damaged_picture_is_named(tree):
    path = tree / "train" / "dog" / "2.png"
    lazy = image_folder(tree, memory=0).train
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"train/dog/2\.png in .* is not a readable picture"):
        image_folder(tree)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"train/dog/2\.png in .* is not a readable picture: of no known format"):
        lazy[6]


def test_a_damaged_zip_member_is_named(tree):
    path = zipped(tree, "")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("train/dog/2.png")
        start = info.header_offset + 30 + len(info.filename)
    content[start + 10 : start + 30] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"train/dog/2\.png in .* is not a readable picture"):
        image_folder(path)


def test_sizes_must_agree_unless_one_is_given(tree):
    draw(tree / "train" / "dog" / "2.png", (0, 0, 0), size=(8, 9))
    with pytest.raises(
        ValueError, match=r"train/dog/2\.png in .* measures 8 x 9 pixels, others 8 x 8; give image_size"
    ):
        image_folder(tree)
    assert image_folder(tree, image_size=8).image_size == 8


@pytest.mark.parametrize("memory", [2**30, 0], ids=["in-memory", "on-disk"])
def test_test_pictures_must_be_of_the_same_size(tree, memory):
    for name in CLASSES:
        for index in range(2):
            draw(tree / "test" / name / f"{index}.png", (0, 0, 0), size=(7, 7))
    with pytest.raises(ValueError, match="path: test pictures measure"):
        image_folder(tree, memory=memory)


def test_empty_folders_are_named(tree):
    (tree / "train" / "emu").mkdir()
    with pytest.raises(ValueError, match=r"class folder .*emu holds no pictures"):
        image_folder(tree)
    (tree / "train" / "emu").rmdir()
    (tree / "val").mkdir()
    with pytest.raises(ValueError, match=r"folder .*val holds no class folders with pictures"):
        image_folder(tree)


def test_an_unknown_test_class_is_named(tree):
    draw(tree / "test" / "emu" / "0.png", (0, 0, 0))
    with pytest.raises(ValueError, match="test classes that train has not: emu"):
        image_folder(tree)


def test_places_without_pictures_are_refused(tmp_path, tree):
    with pytest.raises(FileNotFoundError, match="no such folder or zip file"):
        image_folder(tmp_path / "nowhere")
    with pytest.raises(TypeError, match="path must be that of a folder or zip file, got 5"):
        image_folder(5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures in"):
        image_folder(tmp_path / "empty")
    with pytest.raises(ValueError, match="neither a folder nor a zip file"):
        image_folder(tree / "train" / "cat" / "0.png")
    with pytest.raises(ValueError, match="must hold train/<class>/"):
        image_folder(tree / "train" / "cat")
    with pytest.raises(ValueError, match="channels must be 1 or 3, got 2"):
        image_folder(tree, channels=2)
