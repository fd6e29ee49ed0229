from __future__ import annotations

import logging
import random
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

from pyscale.train import Data, DivergenceError, History, Recipe, digits, evaluate, fit, from_arrays
from pyscale.train.memory_format import channels_last_is_safe
from tests.train.networks import small_resnet

QUICK = {"epochs": 2, "progress": False, "threads": 1}


@pytest.fixture(scope="module")
def few() -> Data:
    return digits().subset(256, test=100)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_small_network_learns_the_digits():
    trained = fit(small_resnet(), digits(), progress=False, threads=1)
    assert trained.accuracy.value >= 0.97
    assert trained.accuracy.low < trained.accuracy.value < trained.accuracy.high
    assert trained.accuracy.total == 359
    assert trained.accuracy.classes_seen == 10
    assert trained.history[-1]["train_accuracy"] > 0.97
    assert trained.accuracy == evaluate(trained.model, digits())


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "onecycle", "label_smoothing": 0.1, "decay_all": True},
        {"schedule": "onecycle", "clip": 0.5, "channels_last": False},
    ],
    ids=["smoothed", "clipped"],
)
def test_fitting_is_the_plain_loop(few, changes):
    recipe = Recipe(epochs=2, batch_size=64, lr=0.05, weight_decay=1e-3, crop=0.125, decay_all=True).but(**changes)
    trained = fit(small_resnet(width=8), few, recipe=recipe, seed=3, progress=False, threads=1)

    model = small_resnet(width=8)
    loader = few.loader("train", 64, shuffle=True, seed=3, recipe=recipe.but(channels_last=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.05, total_steps=8, pct_start=0.25, cycle_momentum=False
    )
    losses = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        losses.append(0.0)
        for images, labels in loader:
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(images), labels, label_smoothing=recipe.label_smoothing)
            loss.backward()
            if recipe.clip:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            scheduler.step()
            losses[-1] += loss.item() * len(labels) / len(few.train)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(trained.model.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)
    assert trained.history.column("train_loss") == pytest.approx(losses, rel=1e-4)


def test_the_same_seed_gives_the_same_weights(few):
    first, again, other = (fit(small_resnet(width=4, dropout=0.2), few, seed=seed, **QUICK) for seed in (1, 1, 2))
    assert same(weights(first.model), weights(again.model))
    assert not same(weights(first.model), weights(other.model))
    assert first.history.column("train_loss") == again.history.column("train_loss")


class Noisy(Dataset):
    """A user's dataset whose transform draws from every global generator."""

    def __init__(self, data, split):
        self.pictures = data.split(split)

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        image, label = self.pictures[index]
        noise = random.random() + np.random.rand() + torch.rand(())  # noqa: NPY002
        return image + 0.1 * noise, int(label)


def test_a_dataset_with_random_transforms_is_reproducible(few):
    small = few.subset(64, test=20)
    pair = Noisy(small, "train"), Noisy(small, "test")
    random.seed(5)
    torch.manual_seed(5)
    expected = random.random(), torch.rand(()).item()
    random.seed(5)
    torch.manual_seed(5)
    first, again = (fit(small_resnet(width=4), pair, **QUICK) for _ in range(2))
    assert same(weights(first.model), weights(again.model))
    assert (random.random(), torch.rand(()).item()) == expected


def test_the_model_is_trained_in_place_and_left_in_eval_mode(few):
    model = small_resnet(width=4)
    before = weights(model)
    trained = fit(model, few, **QUICK)
    assert trained.model is model
    assert not any(module.training for module in model.modules())
    assert not same(before, weights(model))
    assert all(p.is_contiguous() for p in model.parameters())
    assert all(p.device.type == "cpu" for p in model.parameters())


def test_frozen_parameters_stay(few):
    model = small_resnet(width=4)
    model.stem.requires_grad_(False)
    stem = model.stem[0].weight.clone()
    fit(model, few, **QUICK)
    assert torch.equal(model.stem[0].weight, stem)


def test_the_model_s_own_resolution_is_served(few):
    model = small_resnet(width=4, image_size=13)
    shapes = set()
    model.register_forward_pre_hook(lambda _, inputs: shapes.add(tuple(inputs[0].shape[1:])))
    fit(model, few, **QUICK)
    assert shapes == {(1, 13, 13)}


def test_global_state_is_left_alone(few, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def state():
        return (
            random.getstate(),
            str(np.random.get_state()),  # noqa: NPY002
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
            torch.get_float32_matmul_precision(),
            signal.getsignal(signal.SIGINT),
            signal.getsignal(signal.SIGTERM),
            logging.getLogger("lightning.pytorch").level,
            list(warnings.filters),
        )

    import lightning.pytorch  # noqa: F401 - its own import may touch loggers and filters

    before = state()
    fit(small_resnet(width=4), few, **QUICK)
    assert state() == before
    assert list(tmp_path.iterdir()) == []


def test_fitting_is_silent_and_the_bar_can_be_shown(few, capfd, recwarn):
    fit(small_resnet(width=4), few, **QUICK)
    assert capfd.readouterr() == ("", "")
    fit(small_resnet(width=4), few, **{**QUICK, "progress": True})
    shown = "".join(capfd.readouterr())
    assert "Epoch 1" in shown
    assert "GPU" not in shown
    assert len(recwarn) == 0


def test_the_history_is_a_table(few, tmp_path):
    trained = fit(small_resnet(width=4), few, out=tmp_path, **QUICK)
    frame = trained.history.to_pandas()
    assert list(frame.columns) == ["epoch", "lr", "train_loss", "train_accuracy", "seconds"]
    assert frame["epoch"].tolist() == [0, 1]
    assert (frame["train_loss"] > 0).all()
    assert frame["train_accuracy"].between(0, 1).all()
    assert History.from_csv((tmp_path / "history.csv").read_text()) == trained.history
    assert trained.seconds == pytest.approx(frame["seconds"].sum())
    assert trained.history[:1] == History([trained.history[0]])
    assert "accuracy=" in repr(trained)


def test_the_weights_are_kept(few, tmp_path):
    trained = fit(small_resnet(width=4), few, out=tmp_path / "new" / "run", **QUICK)
    stored = torch.load(tmp_path / "new" / "run" / "weights.pt", weights_only=True)
    assert same(stored, weights(trained.model))
    assert trained.out == tmp_path / "new" / "run"


def test_validation_pictures_are_measured_every_epoch():
    rng = np.random.default_rng(0)
    x, y = rng.random((96, 1, 8, 8), dtype=np.float32), np.arange(96) % 3
    data = from_arrays(x[:64], y[:64], x[64:80], y[64:80], x[80:], y[80:])
    model = small_resnet(width=4, classes=3)
    trained = fit(model, data, **{**QUICK, "epochs": 3})
    assert list(trained.history[0])[-3:] == ["val_loss", "val_accuracy", "seconds"]
    assert trained.history[-1]["val_accuracy"] == evaluate(model, data, split="val").value


def test_mixed_precision_learns_too(few):
    trained = fit(small_resnet(width=8), few, precision="bf16-mixed", epochs=8, progress=False, threads=1)
    assert trained.accuracy.value > 0.6
    assert {tensor.dtype for tensor in trained.model.parameters()} == {torch.float32}


def test_a_diverging_run_says_where(few, tmp_path):
    with pytest.raises(DivergenceError, match=r"the loss became (nan|inf) in epoch \d, batch \d .* lower lr"):
        fit(small_resnet(width=4), few, lr=1e30, momentum=0.0, schedule="constant", warmup=0.0, out=tmp_path, **QUICK)
    assert not (tmp_path / "result.json").exists()


def test_ctrl_c_is_a_keyboard_interrupt(few):
    def interrupt(module, _):
        if module.training:
            raise KeyboardInterrupt

    model = small_resnet(width=4)
    model.register_forward_pre_hook(interrupt)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(model, few, **QUICK)
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.mark.parametrize(
    ("build", "options", "error", "message"),
    [
        (lambda: small_resnet(channels=3), {}, ValueError, r"model does not accept pictures of shape \(2, 1, 8, 8\)"),
        (lambda: small_resnet(classes=9), {}, ValueError, "model must return .batch, at least 10. scores"),
        (lambda: nn.Flatten(), {}, ValueError, "no parameter that requires a gradient"),
        (lambda: "resnet", {}, TypeError, "model must be a torch.nn.Module, got str"),
        (lambda: Pair(), {}, TypeError, "model must return a tensor of class scores, got tuple"),
        (small_resnet, {"precision": "16"}, ValueError, "precision must be one of"),
        (small_resnet, {"precision": "16-mixed", "device": "cpu"}, ValueError, "needs a GPU; on a CPU take"),
        (small_resnet, {"device": "meta"}, ValueError, "device must be"),
        (small_resnet, {"device": "gpu0"}, ValueError, "device is 'gpu0', which can't be used"),
        (small_resnet, {"out": 5}, TypeError, "out must be the path of a folder or None, got 5"),
        (small_resnet, {"seed": -1}, ValueError, "seed must be at least 0"),
        (small_resnet, {"epochs": 0}, ValueError, "epochs must be an int >= 1, got 0"),
        (small_resnet, {"learning_rate": 1}, TypeError, "a recipe has no field 'learning_rate'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused_before_training(few, build, options, error, message):
    with pytest.raises(error, match=message):
        fit(build(), few, **{"progress": False, **options})


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        return self.linear(x.flatten(1)), x


def test_data_without_a_resolution_cannot_be_misread(few):
    with pytest.raises(TypeError, match="data must be"):
        fit(small_resnet(), np.zeros((4, 1, 8, 8)), progress=False)


def test_evaluating_counts_and_leaves_the_model_as_it_was(few):
    model = small_resnet(width=4, dropout=0.5)
    model.dropout.train()
    model.blocks.eval()
    modes = [module.training for module in model.modules()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    accuracy = evaluate(model, few, batch_size=33)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    model.eval()
    mean, std = few.mean[0], few.std[0]
    predicted = model((few.test.images - mean) / std).argmax(1)
    right = (predicted == few.test.labels).tolist()
    assert accuracy.correct == sum(right)
    for label, count in enumerate(accuracy.per_class):
        of_class = [r for r, true in zip(right, few.test.labels.tolist(), strict=True) if true == label]
        assert (count.name, count.correct, count.total) == (str(label), sum(of_class), len(of_class))


def test_what_cannot_be_evaluated_is_named(few):
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module, got str"):
        evaluate("resnet", few)
    for device in ("gpu0", "cuda:99"):
        with pytest.raises(ValueError, match=f"device is '{device}', which can't be used"):
            evaluate(small_resnet(), few, device=device)


def test_narrow_networks_are_kept_out_of_channels_last(few):
    narrow, wide = small_resnet(width=4), small_resnet(width=16)
    assert not channels_last_is_safe(narrow, torch.device("cpu"))
    assert channels_last_is_safe(narrow, torch.device("cuda"))
    assert channels_last_is_safe(wide, torch.device("cpu"))
    for model, last in ((narrow, False), (wide, True)):
        seen = set()
        model.blocks.register_forward_pre_hook(
            lambda _, inputs, seen=seen: seen.add(inputs[0].is_contiguous(memory_format=torch.channels_last))
        )
        model.eval()
        fit(model, few, epochs=1, progress=False, threads=1)
        assert last in seen


@pytest.mark.parametrize("missing", ["lightning", "scipy", "sklearn"])
def test_a_missing_library_names_the_extra(monkeypatch, missing):
    data = digits().subset(20, test=10)
    for name in [name for name in sys.modules if name == missing or name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"{missing}.* is needed here: pip install 'pyscale\[train\]'"):
        digits() if missing == "sklearn" else fit(small_resnet(width=4), data, **QUICK)


def test_importing_the_room_is_cheap():
    heavy = {"lightning", "sklearn", "scipy", "pandas", "PIL"}
    script = f"import sys, pyscale.train; print(sorted({heavy!r} & set(sys.modules)))"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_gpu_gives_the_same_weights_twice(few, precision):
    options = {"epochs": 4, "progress": False, "device": "cuda", "precision": precision}
    first, again = (fit(small_resnet(dropout=0.1), few, **options) for _ in range(2))
    assert same(weights(first.model), weights(again.model))
    assert {p.device.type for p in first.model.parameters()} == {"cpu"}
    assert first.accuracy.value > 0.5
