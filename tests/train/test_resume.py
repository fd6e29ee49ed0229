"""A run that is killed and taken up again ends with the weights of one that was left alone, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pyscale.train import digits, fit
from tests.train.networks import small_resnet

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {"epochs": 4, "seed": 5, "progress": False, "threads": 1, "batch_size": 64, "crop": 0.2, "flip": True}


class Mortal(torch.nn.Module):
    """A network with dropout that kills its process in the middle of a forward pass."""

    def __init__(self, dies_at=None):
        super().__init__()
        self.network = small_resnet(width=4, dropout=0.3)
        self.dies_at = dies_at
        self.steps = 0

    def forward(self, x):
        self.steps += self.training
        if self.steps == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.network(x)


def small_digits():
    return digits().subset(320, test=50)  # five steps an epoch


@pytest.fixture(scope="module")
def undisturbed():
    return fit(Mortal(), small_digits(), **OPTIONS)


def killed_run(out, dies_at):
    script = f"""
from tests.train.test_resume import Mortal, OPTIONS, fit, small_digits
fit(Mortal(dies_at={dies_at}), small_digits(), out={str(out)!r}, **OPTIONS)
"""
    process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
    return out


def assert_same_weights(model, expected):
    assert model.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[name]), name


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Killed in the third epoch's third step."""
    return killed_run(tmp_path_factory.mktemp("killed"), dies_at=13)


def test_a_killed_run_leaves_its_last_whole_epoch(killed):
    assert {file.name for file in killed.iterdir()} == {"config.json", "checkpoint.ckpt", "history.csv"}
    checkpoint = torch.load(killed / "checkpoint.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 1
    assert checkpoint["global_step"] == 10
    assert len((killed / "history.csv").read_text().splitlines()) == 3


def test_a_killed_run_goes_on_to_the_same_weights(killed, undisturbed):
    model = Mortal()
    resumed = fit(model, small_digits(), out=killed, **OPTIONS)
    assert resumed.resumed_at == 2
    assert model.steps == 10  # two epochs, not four
    assert_same_weights(model, undisturbed.model)
    assert resumed.accuracy == undisturbed.accuracy
    for column in ("epoch", "lr", "train_loss", "train_accuracy"):
        assert resumed.history.column(column) == undisturbed.history.column(column)

    # and now it is finished: nothing is trained again
    again = Mortal()
    loaded = fit(again, small_digits(), out=killed, **OPTIONS)
    assert again.steps == 0
    assert loaded.resumed_at == 4
    assert_same_weights(again, undisturbed.model)
    assert loaded.accuracy == resumed.accuracy
    assert loaded.history == resumed.history
    assert not again.training
    assert {file.name for file in killed.iterdir()} == {"config.json", "history.csv", "weights.pt", "result.json"}


class Interrupted(Exception):  # noqa: N818
    pass


def interrupted_run(out, at, **changes):
    """Stop a run in this process at a training step."""
    model = Mortal()

    def stop(module, _):
        if module.steps == at and module.training:
            raise Interrupted

    model.register_forward_pre_hook(stop)
    with pytest.raises(Interrupted):
        fit(model, small_digits(), out=out, **{**OPTIONS, **changes})


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"optimizer": "adamw", "lr": 0.01, "precision": "bf16-mixed"}, 8),
        ({"schedule": "cosine", "momentum": 0.0, "clip": 1.0, "epochs": 2}, 5),  # stopped between two epochs
        ({"epochs": 2}, 3),  # stopped before there is a checkpoint
    ],
    ids=["adamw", "clipped", "first-epoch"],
)
def test_every_recipe_resumes_exactly(tmp_path, changes, at):
    interrupted_run(tmp_path, at, **changes)
    resumed, expected = Mortal(), Mortal()
    fit(resumed, small_digits(), out=tmp_path, **{**OPTIONS, **changes})
    fit(expected, small_digits(), **{**OPTIONS, **changes})
    assert_same_weights(resumed, expected)


def test_a_run_killed_before_its_result_is_only_measured(tmp_path, undisturbed, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("pyscale.train.fitting.evaluate_together", lambda *_, **__: (_ for _ in ()).throw(Interrupted))
        with pytest.raises(Interrupted):
            fit(Mortal(), small_digits(), out=tmp_path, **OPTIONS)
    model = Mortal()
    measured = fit(model, small_digits(), out=tmp_path, **OPTIONS)
    assert model.steps == 0
    assert_same_weights(model, undisturbed.model)
    assert measured.accuracy == undisturbed.accuracy
    assert len(measured.history) == 4


def test_other_first_weights_are_replaced_by_the_run_s(tmp_path, undisturbed):
    interrupted_run(tmp_path, 8)
    other = Mortal()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(2)
    fit(other, small_digits(), out=tmp_path, **OPTIONS)
    assert_same_weights(other, undisturbed.model)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 5}, "epochs is 4 there and 5 here"),
        ({"seed": 6}, "seed is 5 there and 6 here"),
        ({"lr": 0.3}, "lr is .* there and 0.3 here"),
        ({"precision": "bf16-mixed"}, "precision is '32-true' there"),
    ],
    ids=["epochs", "seed", "lr", "precision"],
)
def test_another_run_is_refused(tmp_path, changes, named):
    interrupted_run(tmp_path, 3)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=f"holds another run: .*{named}.*resume=False"):
        fit(Mortal(), small_digits(), out=tmp_path, **{**OPTIONS, **changes})
    assert before == {file.name: file.read_bytes() for file in tmp_path.iterdir()}


def test_another_network_or_other_pictures_are_refused(tmp_path):
    interrupted_run(tmp_path, 3)
    with pytest.raises(ValueError, match="architecture"):
        fit(small_resnet(width=5), small_digits(), out=tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match="samples"):
        fit(Mortal(), digits().subset(320, seed=1, test=50), out=tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match="image_size is 8 there and 9 here"):
        fit(Mortal(), small_digits().resized(9), out=tmp_path, **OPTIONS)


def test_resume_false_starts_anew(tmp_path, undisturbed):
    interrupted_run(tmp_path, 8, seed=6)
    model = Mortal()
    anew = fit(model, small_digits(), out=tmp_path, resume=False, **OPTIONS)
    assert anew.resumed_at == 0
    assert_same_weights(model, undisturbed.model)
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 5


def finished_run(out):
    fit(small_resnet(width=4), small_digits(), epochs=1, progress=False, out=out)
    return out


def test_a_damaged_result_is_named(tmp_path):
    finished_run(tmp_path)
    weights = tmp_path / "weights.pt"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"the finished run in .* is damaged"):
        fit(small_resnet(width=4), small_digits(), epochs=1, progress=False, out=tmp_path)


@pytest.mark.parametrize("file", ["weights.pt", "checkpoint.ckpt"])
def test_loading_never_runs_code(tmp_path, file):
    if file == "weights.pt":
        finished_run(tmp_path)
    else:
        interrupted_run(tmp_path, 8)
    torch.save(Bomb(tmp_path / "ran"), tmp_path / file)
    options = {"epochs": 1, "progress": False} if file == "weights.pt" else OPTIONS
    model = small_resnet(width=4) if file == "weights.pt" else Mortal()
    with pytest.raises(ValueError, match="damaged"):
        fit(model, small_digits(), out=tmp_path, **options)
    assert not (tmp_path / "ran").exists()


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_what_a_killed_run_was_writing_is_cleared_away(tmp_path):
    names = ["weights.pt", "history.csv", "result.json", "checkpoint.ckpt", "config.json"]
    unfinished = [tmp_path / f".{name}.x1y2" for name in names]
    others = [tmp_path / ".hidden", tmp_path / "notes.txt"]
    for path in [*unfinished, *others]:
        path.write_text("half")
    fit(small_resnet(), small_digits(), **{**OPTIONS, "epochs": 1}, out=tmp_path)
    assert [path for path in unfinished if path.exists()] == []
    assert all(path.exists() for path in others)


def test_a_folder_without_its_config_is_refused(tmp_path):
    (finished_run(tmp_path) / "config.json").unlink()
    with pytest.raises(ValueError, match=r"without its config\.json"):
        fit(small_resnet(width=4), small_digits(), epochs=1, progress=False, out=tmp_path)


def test_a_damaged_config_is_named(tmp_path):
    (finished_run(tmp_path) / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        fit(small_resnet(width=4), small_digits(), epochs=1, progress=False, out=tmp_path)
