"""Lightning's loggers get what the history gets."""

from __future__ import annotations

import csv

import pytest
import torch

from pyscale.train import digits, fit
from tests.train.networks import small_resnet

OPTIONS = {"progress": False, "threads": 1, "batch_size": 64}


@pytest.fixture(scope="module")
def data():
    return digits().subset(128, test=50)


def logged(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_epoch_is_logged_as_in_the_history(data, tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    loggers = [CSVLogger(tmp_path, name="", version=version) for version in ("one", "other")]
    trained = fit(small_resnet(), data, epochs=3, logger=loggers, **OPTIONS)
    for version in ("one", "other"):
        rows = logged(tmp_path / version)
        assert [int(row["step"]) for row in rows] == [0, 1, 2]
        for column in ("train_loss", "train_accuracy", "lr"):
            assert [float(row[column]) for row in rows] == pytest.approx(list(trained.history.column(column)))


def test_a_logger_changes_no_weight(data, tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    first = small_resnet()
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    other = small_resnet()
    other.load_state_dict(state)
    fit(first, data, epochs=2, **OPTIONS)
    fit(other, data, epochs=2, logger=CSVLogger(tmp_path), **OPTIONS)
    assert all(torch.equal(first.state_dict()[name], tensor) for name, tensor in other.state_dict().items())
