"""Lightning's loggers get what the history gets."""

from __future__ import annotations

import csv
import sys

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


def test_tensorboard_gets_the_history(data, tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trained = fit(small_resnet(), data, epochs=2, logger="tensorboard", out=tmp_path, **OPTIONS)
    events = reading.EventAccumulator(str(tmp_path / "logs" / "tensorboard")).Reload()
    for column in ("train_loss", "train_accuracy", "lr"):
        found = [(event.step, event.value) for event in events.Scalars(column)]
        assert found == [(step, pytest.approx(value)) for step, value in enumerate(trained.history.column(column))]


def test_names_write_into_the_runs_folder(data, tmp_path):
    trained = fit(small_resnet(), data, epochs=2, logger=["csv"], out=tmp_path, **OPTIONS)
    rows = logged(tmp_path / "logs" / "csv" / "version_0")
    assert [float(row["train_loss"]) for row in rows] == pytest.approx(list(trained.history.column("train_loss")))


@pytest.mark.parametrize(
    ("logger", "error", "message"),
    [
        (5, TypeError, "logger must be 'csv' or 'tensorboard', a logger of Lightning, .*, got 5"),
        ([None], TypeError, "logger must be .*, got None"),
        ("wandb", ValueError, r"logger must be one of \('csv', 'tensorboard'\) or .*, got 'wandb'"),
        ("csv", ValueError, "logger: 'csv' writes into the run's folder; give out"),
    ],
)
def test_a_wrong_logger_is_named(data, logger, error, message):
    with pytest.raises(error, match=message):
        fit(small_resnet(), data, epochs=1, logger=logger, **OPTIONS)


def test_a_missing_tensorboard_names_the_extra(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'pyscale\[tensorboard\]'"):
        fit(small_resnet(), data, epochs=1, logger="tensorboard", out=tmp_path, **OPTIONS)


def test_a_logger_changes_no_weight(data, tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    first = small_resnet()
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    other = small_resnet()
    other.load_state_dict(state)
    fit(first, data, epochs=2, **OPTIONS)
    fit(other, data, epochs=2, logger=CSVLogger(tmp_path), **OPTIONS)
    assert all(torch.equal(first.state_dict()[name], tensor) for name, tensor in other.state_dict().items())
