"""Learning from a teacher: the loss against plain NumPy, and what a run in a folder knows of who taught it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pyscale.train import Distillation, Recipe, digits, fit
from pyscale.train.distillation import Teacher

QUICK = {"progress": False, "threads": 1}
RECIPE = Recipe(epochs=2, batch_size=64, lr=0.05, weight_decay=0.0, label_smoothing=0.1)


@pytest.fixture(scope="module")
def few():
    return digits().subset(200, test=100)


def linear(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def softmax(scores):
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize(("weight", "temperature"), [(0.0, 2.0), (0.9, 2.0), (0.3, 0.7), (1.0, 5.0)])
def test_the_loss_is_the_formula(weight, temperature):
    draws = np.random.default_rng(7)
    images, scores = draws.normal(size=(6, 1, 8, 8)), draws.normal(size=(6, 10))
    network = linear(1).double()
    teacher = Teacher(network, Distillation(weight, temperature))
    matrix, offset = (parameter.detach().numpy() for parameter in network.parameters())
    taught = softmax((images.reshape(6, 64) @ matrix.T + offset) / temperature)
    learned = softmax(scores / temperature)
    divergence = (taught * np.log(taught / learned)).sum(1).mean()
    expected = (1 - weight) * 1.25 + weight * temperature**2 * divergence
    blended = teacher.blended(torch.tensor(1.25, dtype=torch.float64), torch.tensor(images), torch.tensor(scores))
    assert float(blended) == pytest.approx(expected, rel=1e-12)


def test_fitting_with_a_teacher_is_the_plain_loop(few):
    teacher, distillation = linear(1), Distillation(0.6, 3.0)
    trained = fit(linear(), few, recipe=RECIPE, seed=3, teacher=teacher, distillation=distillation, **QUICK)

    model = linear()
    loader = few.loader("train", 64, shuffle=True, seed=3, recipe=RECIPE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.05, total_steps=8, pct_start=0.25, cycle_momentum=False
    )
    for epoch in range(2):
        loader.set_epoch(epoch)
        for images, labels in loader:
            optimizer.zero_grad()
            scores = model(images)
            labelled = functional.cross_entropy(scores, labels, label_smoothing=0.1)
            soft = (teacher(images).detach() / 3).softmax(1)
            divergence = (soft * (soft.log() - (scores / 3).log_softmax(1))).sum(1).mean()
            (0.4 * labelled + 0.6 * 9 * divergence).backward()
            optimizer.step()
            scheduler.step()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(trained.model.state_dict()[name], tensor, rtol=1e-3, atol=1e-5)


def test_a_teacher_stays_as_it_is(few):
    teacher = nn.Sequential(nn.BatchNorm2d(1), *linear(1), nn.Dropout(0.5)).train()
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    learner = nn.Sequential(nn.BatchNorm2d(1), *linear())
    trained = fit(learner, few, recipe=RECIPE, teacher=teacher, **QUICK)
    assert teacher.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in teacher.state_dict().items())
    assert trained.model.state_dict().keys() == learner.state_dict().keys()


def test_nothing_of_the_teacher_is_kept_and_another_one_is_refused(few, tmp_path):
    fit(linear(), few, recipe=RECIPE, teacher=linear(1), out=tmp_path, **QUICK)
    assert torch.load(tmp_path / "weights.pt").keys() == linear().state_dict().keys()
    again = fit(linear(), few, recipe=RECIPE, teacher=linear(1), out=tmp_path, **QUICK)
    assert again.resumed_at == RECIPE.epochs
    with pytest.raises(ValueError, match="holds another run: teacher is"):
        fit(linear(), few, recipe=RECIPE, teacher=linear(2), out=tmp_path, **QUICK)
    with pytest.raises(ValueError, match="holds another run: distillation is"):
        fit(linear(), few, recipe=RECIPE, teacher=linear(1), distillation=Distillation(0.5), out=tmp_path, **QUICK)
    with pytest.raises(ValueError, match=r"holds another run: distillation is .* None here; teacher is .* None here"):
        fit(linear(), few, recipe=RECIPE, out=tmp_path, **QUICK)


def test_what_cannot_teach_is_refused(few):
    with pytest.raises(ValueError, match="distillation: there is no teacher"):
        fit(linear(), few, recipe=RECIPE, distillation=Distillation(), **QUICK)
    with pytest.raises(TypeError, match=r"teacher must be a torch.nn.Module, got str"):
        fit(linear(), few, recipe=RECIPE, teacher="resnet", **QUICK)
    for unfit in (nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), nn.Linear(5, 5)):
        with pytest.raises(ValueError, match="teacher does not fit"):
            fit(linear(), few, recipe=RECIPE, teacher=unfit, **QUICK)
    more = nn.Sequential(nn.Flatten(), nn.Linear(64, 12))
    with pytest.raises(ValueError, match="teacher scores 12 classes, model 10"):
        fit(linear(), few, recipe=RECIPE, teacher=more, **QUICK)


@pytest.mark.parametrize("numbers", [{"weight": -0.1}, {"weight": 1.1}, {"temperature": 0.0}, {"temperature": np.inf}])
def test_numbers_out_of_range_are_refused(numbers):
    (name,) = numbers
    with pytest.raises(ValueError, match=f"{name} must be"):
        Distillation(**numbers)
