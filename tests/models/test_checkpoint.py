"""Loading checkpoint files: what is unwrapped, and what each misfit says."""

from __future__ import annotations

import os
import pickle
import re

import pytest
import torch

from pyscale.models import Scaling, build


@pytest.fixture
def trained():
    torch.manual_seed(5)
    model = build("cifar_resnet8")
    model(torch.rand(4, 3, 32, 32))  # moves the running statistics
    return model


def saved(content, folder):
    path = folder / "weights.pth"
    torch.save(content, path)
    return path


def same(model, other):
    a, b = model.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "best_prec1": 91.7},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    ],
    ids=["plain", "state_dict", "module", "both"],
)
def test_files_are_unwrapped(trained, tmp_path, wrap):
    path = saved(wrap(trained.state_dict()), tmp_path)
    assert same(build("cifar_resnet8", weights=path), trained)
    assert same(build("cifar_resnet8", weights=str(path)), trained)


def test_old_files_without_batch_counts_load(trained, tmp_path):
    state = trained.state_dict()
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    loaded = build("cifar_resnet8", weights=saved(old, tmp_path)).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in old.items())
    assert all(loaded[key] == 0 for key in set(state) - set(old))


def test_weights_of_a_scaled_network_load(tmp_path):
    scaling = Scaling(2, 1.5)
    model = build("cifar_resnet8", scaling=scaling)
    assert same(build("cifar_resnet8", scaling=scaling, weights=saved(model.state_dict(), tmp_path)), model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"num_classes": 5},
            r"linear.weight \(file \(10, 64\), model \(5, 64\)\).*Only the classifier.*num_classes=10\.",
        ),
        ({"in_channels": 1}, r"1 of another shape: conv1.weight .*Only the first convolution.*in_channels=3\."),
        (
            {"scaling": Scaling(width=2)},
            r"of another shape: conv1.weight .*, \.\.\.\. The file belongs to another width\.",
        ),
        (
            {"scaling": Scaling(depth=2)},
            r"30 missing from the file: layer1.1.conv1.weight.*, \.\.\.\. .*another depth\.",
        ),
    ],
)
def test_misfits_are_listed_with_a_hint(trained, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        build("cifar_resnet8", weights=saved(trained.state_dict(), tmp_path), **arguments)
    assert len(str(caught.value)) < 1000


def test_keys_of_another_family_are_listed_both_ways(trained, tmp_path):
    path = saved(trained.state_dict(), tmp_path)
    with pytest.raises(ValueError, match=r"67 missing from the file: .*; 2 not in the model: .*linear.weight"):
        build("resnet18", weights=path)


def test_a_file_for_fewer_blocks_says_what_the_model_has_not(tmp_path):
    path = saved(build("cifar_resnet14").state_dict(), tmp_path)
    with pytest.raises(ValueError, match=r"36 not in the model: layer1.1.conv1.weight.*another depth"):
        build("cifar_resnet8", weights=path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights: no such file: .*nowhere\.pth"):
        build("cifar_resnet8", weights=tmp_path / "nowhere.pth")
    with pytest.raises(FileNotFoundError, match="weights: no such file"):
        build("cifar_resnet8", weights=tmp_path)


@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_a_corrupt_file(trained, tmp_path, damage):
    path = saved(trained.state_dict(), tmp_path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "noise": os.urandom(4096)}[damage])
    with pytest.raises(ValueError, match=f"weights: '{re.escape(str(path))}' is corrupt"):
        build("cifar_resnet8", weights=path)


class Payload:
    ran = False

    def __reduce__(self):
        return (setattr, (Payload, "ran", True))


def test_nothing_but_tensors_is_unpickled(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": Payload()}, path)
    with pytest.raises(ValueError, match="holds more than tensors") as caught:
        build("cifar_resnet8", weights=path)
    assert "weights_only" not in str(caught.value)  # torch's message advises to run the file's code after all
    path.write_bytes(pickle.dumps(Payload(), protocol=2))
    with pytest.raises(ValueError, match="holds more than tensors"):
        build("cifar_resnet8", weights=path)
    assert not Payload.ran


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}, {"state_dict": 5}, {"state_dict": {"conv1.weight": 5}}])
def test_a_file_without_a_state_dict(content, tmp_path):
    with pytest.raises(ValueError, match="holds no state dict"):
        build("cifar_resnet8", weights=saved(content, tmp_path))


def test_weights_must_be_a_path(trained):
    with pytest.raises(TypeError, match=r"weights: expected the path of a checkpoint file, got OrderedDict$"):
        build("cifar_resnet8", weights=trained.state_dict())
