"""Where a study's pictures come from: Hugging Face's data sets on disk, other normalisations, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyscale.studies import Source
from pyscale.studies.documents.reading import parse_study
from pyscale.train import digits, from_hugging_face
from pyscale.train.saved_datasets import is_saved_dataset

datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install 'pyscale[hub]'")
STUDY = "title: t\nfamily: cifar_resnet8\nimage_size: 8\ndata: {data}\n"


def split(n, seed, image="image"):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
    features = datasets.Features({image: datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    from PIL import Image

    content = {image: [Image.fromarray(picture) for picture in pixels], "label": [i % 2 for i in range(n)]}
    return datasets.Dataset.from_dict(content, features=features)


@pytest.fixture
def saved(tmp_path):
    datasets.DatasetDict(train=split(12, 0), test=split(6, 1)).save_to_disk(tmp_path / "pets")
    return tmp_path / "pets"


def pictures(data):
    return torch.stack([data.test[i][0] for i in range(len(data.test))])


def test_a_saved_data_set_is_opened_by_its_folder(saved):
    assert is_saved_dataset(saved)
    data = from_hugging_face(saved)
    assert repr(data) == "Data('pets', train=12, test=6, num_classes=2, channels=3, image_size=8)"
    held = datasets.load_from_disk(saved)
    assert torch.equal(pictures(data), pictures(from_hugging_face(held)))


def test_one_saved_split_is_held_out_from(tmp_path):
    split(10, 0).save_to_disk(tmp_path / "one")
    data = from_hugging_face(tmp_path / "one")
    assert (len(data.train), len(data.test)) == (8, 2)


def test_a_folder_of_parquet_files_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "files").mkdir()
    split(12, 0).to_parquet(tmp_path / "files" / "train.parquet")
    split(6, 1).to_parquet(tmp_path / "files" / "test.parquet")
    data = from_hugging_face(tmp_path / "files")
    assert (data.name, len(data.train), len(data.test)) == ("files", 12, 6)


def test_a_study_names_it(saved):
    study = parse_study(STUDY.replace("{data}", f"{{kind: hugging_face, path: {saved}, test: 4}}"))
    assert (study.data.name, len(study.data.test)) == ("pets", 4)
    assert parse_study(study.to_yaml()).source == study.source


def test_columns_and_normalisation_are_said_in_the_file(tmp_path):
    datasets.DatasetDict(train=split(12, 0, "img"), test=split(6, 1, "img")).save_to_disk(tmp_path / "pets")
    keys = f"kind: hugging_face, path: {tmp_path / 'pets'}, image: img, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25]"
    study = parse_study(STUDY.replace("{data}", f"{{{keys}}}"))
    assert (study.data.mean, study.data.std) == ((0.5,) * 3, (0.25,) * 3)
    assert parse_study(study.to_yaml()).source == study.source
    batch, _ = next(iter(study.data.loader("test", 6)))
    assert torch.allclose(batch, (pictures(study.data).float() / 255 - 0.5) / 0.25, atol=1e-6)


def test_what_does_not_go_together_is_refused(saved, tmp_path):
    with pytest.raises(ValueError, match="image: only data sets of Hugging Face have one, not 'digits'"):
        Source(image="img")
    with pytest.raises(ValueError, match="path: 'hugging_face' needs one"):
        Source(kind="hugging_face")
    with pytest.raises(ValueError, match="mean and std go together"):
        Source(mean=(0.5,))
    with pytest.raises(ValueError, match="std must be positive"):
        digits().normalised_by([0.5], [0.0])
    with pytest.raises(ValueError, match=r"mean must have one number a channel, 1, got 3"):
        digits().normalised_by([0.5] * 3, [0.5])
    with pytest.raises(ValueError, match="was saved to disk as it is, got 'other'"):
        from_hugging_face(saved, config="other")
    with pytest.raises(ValueError, match="config is 'other', but dataset is no address"):
        from_hugging_face({"train": split(4, 0)}, config="other")
    (saved / "test" / "state.json").write_text("{")
    with pytest.raises(ValueError, match="is no whole data set"):
        from_hugging_face(saved)
    with pytest.raises(ValueError, match=r"line 4: data: only|line 4: data: label: only"):
        parse_study(STUDY.replace("{data}", "{label: fine}"))
