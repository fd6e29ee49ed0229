"""What a comparison warns of reaches both whoever runs a study and whoever reads it."""

from __future__ import annotations

import pytest

from pyscale.studies.similarity import compare_layers
from pyscale.studies.trained_networks import build_seeded
from pyscale.train import digits


@pytest.fixture(scope="module")
def networks():
    return [build_seeded("cifar_resnet8", seed, in_channels=1, image_size=8).eval() for seed in (0, 1)]


def test_too_few_pictures_for_cca_are_warned_of_and_noted(networks):
    with pytest.warns(UserWarning, match="too few for CCA"):
        similarity = compare_layers(*networks, digits().subset(100, test=40), "cca_r2", batch_size=10)
    assert "too few for CCA" in similarity.notes[0]


def test_enough_pictures_leave_no_note(networks):
    assert compare_layers(*networks, digits().subset(100, test=40), "cka", batch_size=10).notes == ()


def test_key_layers_choose_rows_by_pattern(networks):
    data = digits().subset(100, test=40)
    similarity = compare_layers(*networks, data, "cka", key_layers=("relu", "*.relu#1"), batch_size=10)
    names = [similarity.comparison.rows[i] for i in similarity.key_rows]
    assert names == ["relu", "layer1.0.relu#1", "layer2.0.relu#1", "layer3.0.relu#1"]


def test_key_layers_that_match_nothing_are_an_error(networks):
    with pytest.raises(ValueError, match=r"key_layers must match some layers.*'nope'"):
        compare_layers(*networks, digits().subset(100, test=40), "cka", key_layers=("nope",), batch_size=10)
