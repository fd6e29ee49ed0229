"""Trained networks as folders."""

from __future__ import annotations

import pytest
import torch

from pyscale.models import Scaling
from pyscale.studies.trained_networks import build_seeded, is_trained, keep_recipe, open_trained


def kept(folder, **options):
    network = build_seeded("cifar_resnet8", 3, in_channels=1, **options).eval()
    keep_recipe(network, folder)
    torch.save(network.state_dict(), folder / "weights.pt")
    return network


def test_a_folder_gives_the_network_back(tmp_path):
    network = kept(tmp_path, scaling=Scaling(width=1.5), num_classes=7, image_size=12)
    again = open_trained(tmp_path)
    assert again.recipe == network.recipe
    assert not again.training
    images = torch.rand(2, 1, 12, 12)
    with torch.no_grad():
        assert torch.equal(again(images), network(images))


def test_the_seed_alone_decides_first_weights():
    before = torch.random.get_rng_state()
    one, two, other = (build_seeded("cifar_resnet8", seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.linear.weight, two.linear.weight)
    assert not torch.equal(one.linear.weight, other.linear.weight)


def test_what_is_no_training_is_said_to_be_none(tmp_path):
    assert not is_trained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no model\.json"):
        open_trained(tmp_path)


def test_an_unfinished_training_is_named(tmp_path):
    kept(tmp_path)
    (tmp_path / "weights.pt").unlink()
    with pytest.raises(FileNotFoundError, match="not finished"):
        open_trained(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "cifar_resnet8"}', '{"name": 3}'])
def test_a_damaged_recipe_is_named(tmp_path, text):
    kept(tmp_path)
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        open_trained(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path):
    kept(tmp_path)
    torch.save(build_seeded("cifar_resnet14", 0, in_channels=1).state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="does not fit"):
        open_trained(tmp_path)


def test_a_network_without_recipe_cannot_be_kept(tmp_path):
    network = build_seeded("cifar_resnet8", 0)
    network.recipe = None
    with pytest.raises(ValueError, match="no recipe"):
        keep_recipe(network, tmp_path)
