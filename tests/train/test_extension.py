"""A finished run goes on to more epochs where, and only where, that is the same as having asked for them at once."""

from __future__ import annotations

import json

import pytest
import torch

from pyscale.train import digits, fit
from tests.train.networks import small_resnet

OPEN = {"schedule": "constant", "warmup": 0.0, "seed": 3, "progress": False, "threads": 1, "device": "cpu", "lr": 0.05}


def few():
    return digits().subset(128, test=40)


def network():
    torch.manual_seed(0)
    return small_resnet(width=4, dropout=0.3)


@pytest.fixture
def two_epochs(tmp_path):
    fit(network(), few(), epochs=2, out=tmp_path, **OPEN)
    return tmp_path


def test_a_run_that_is_gone_on_with_ends_as_one_of_that_length(two_epochs):
    extended = fit(network(), few(), epochs=5, out=two_epochs, **OPEN)
    at_once = fit(network(), few(), epochs=5, **OPEN)
    assert (extended.resumed_at, at_once.resumed_at) == (2, 0)
    for name, tensor in extended.model.state_dict().items():
        assert torch.equal(tensor, at_once.model.state_dict()[name]), name
    assert extended.accuracy == at_once.accuracy
    assert extended.history.column("train_loss") == at_once.history.column("train_loss")
    assert json.loads((two_epochs / "config.json").read_text())["epochs"] == 5


def test_the_same_length_again_is_loaded(two_epochs):
    assert fit(network(), few(), epochs=2, out=two_epochs, **OPEN).resumed_at == 2


def test_it_never_gets_shorter(two_epochs):
    with pytest.raises(ValueError, match=r"holds another run: epochs is 2 there and 1 here"):
        fit(network(), few(), epochs=1, out=two_epochs, **OPEN)


@pytest.mark.parametrize("change", [{"lr": 0.1}, {"seed": 4}, {"weight_decay": 0.0}])
def test_another_run_is_refused_however_long(two_epochs, change):
    with pytest.raises(ValueError, match="holds another run"):
        fit(network(), few(), epochs=3, out=two_epochs, **{**OPEN, **change})


@pytest.mark.parametrize("change", [{"schedule": "onecycle", "warmup": 0.25}, {"warmup": 0.25}, {"schedule": "cosine"}])
def test_a_schedule_that_depends_on_the_length_is_not_gone_on_with(tmp_path, change):
    options = {**OPEN, **change}
    fit(network(), few(), epochs=1, out=tmp_path, **options)
    assert not (tmp_path / "checkpoint.ckpt").exists()
    with pytest.raises(ValueError, match=r"holds another run: epochs is 1 there and 2 here"):
        fit(network(), few(), epochs=2, out=tmp_path, **options)


def test_killed_as_the_longer_run_began_it_goes_on(two_epochs):
    """The result goes before the config is written: two epochs may never pass for five."""
    (two_epochs / "result.json").unlink()
    assert fit(network(), few(), epochs=2, out=two_epochs, **OPEN).resumed_at == 2
    (two_epochs / "result.json").unlink()
    assert len(fit(network(), few(), epochs=3, out=two_epochs, **OPEN).history) == 3


def test_holding_out_splits_the_training_pictures_by_class():
    data = digits()
    split = data.holding_out(0.25, seed=1)
    kept, held_out = split.labels("train"), split.labels("val")
    assert len(kept) + len(held_out) == len(data.labels("train"))
    shares = [(held_out == label).mean() / (data.labels("train") == label).mean() for label in range(10)]
    assert shares == pytest.approx([1.0] * 10, abs=0.04)
    images = torch.cat([split.train.images, split.val.images]).flatten(1)
    assert len(images.unique(dim=0)) == len(data.train.images.flatten(1).unique(dim=0))
    assert torch.equal(split.test.images, data.test.images)
    with pytest.raises(ValueError, match="has a validation split already"):
        split.holding_out(0.1)
