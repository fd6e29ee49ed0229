"""The stages of deep compression: in small on the digits, and the paper's claim on full MNIST."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pyscale.compress import Schedule, load
from pyscale.models import build, rebuild
from pyscale.studies import PLANS, CompressionPlan, compress_deeply
from pyscale.train import Distillation, Recipe, digits, evaluate, from_npz
from pyscale.train.runs import weights_digest

MNIST = "mnist.npz"
QUICK = {"progress": False, "threads": 1, "device": "cpu"}


def small_plan():
    plan = PLANS["lenet_300_100"]
    return replace(
        plan,
        amount=0.8,
        schedule=Schedule("cubic", 2),
        training=plan.training.but(epochs=8),
        tuning=plan.tuning.but(epochs=2),
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    out = tmp_path_factory.mktemp("deep")
    steps = []
    return compress_deeply(small_plan(), digits(), out, on_step=steps.append, **QUICK), steps, out


def network_of(stage):
    read = load(stage.path)
    model = rebuild(read.config)
    model.load_state_dict(read.state_dict)
    return model


def test_every_stage_is_measured_from_its_file(small):
    result, _, out = small
    assert [stage.name for stage in result.stages] == ["trained", "pruned", "shared", "coded"]
    rates = [stage.report.rate for stage in result.stages]
    assert rates == sorted(rates)
    for stage in result.stages:
        assert stage.path == out / f"{stage.name}.psz"
        assert (stage.report.bytes_file, stage.report) == (stage.path.stat().st_size, load(stage.path).report)
        assert evaluate(network_of(stage), digits()) == stage.accuracy
    assert result.rate == rates[-1]
    assert result.stages[2].accuracy == result.stages[3].accuracy
    assert result.points_lost == pytest.approx(
        100 * (result.stages[0].accuracy.value - result.stages[3].accuracy.value)
    )


def test_the_stages_do_what_the_plan_says(small):
    result, _, _ = small
    trained, pruned, shared, coded = (load(stage.path).state_dict for stage in result.stages)
    assert result.stages[0].accuracy.value > 0.9
    for key in ("ip1.weight", "ip2.weight", "ip3.weight"):
        assert len(shared[key].unique()) <= 32
        assert torch.equal(shared[key] == 0, pruned[key] == 0)
        assert torch.equal(shared[key], coded[key])
        assert not torch.equal(trained[key], pruned[key])
    total = sum(pruned[key].numel() for key in pruned if key.endswith("weight"))
    kept = sum(int(pruned[key].count_nonzero()) for key in pruned if key.endswith("weight"))
    assert total - kept == round(0.8 * total)


def test_steps_are_announced(small):
    result, steps, _ = small
    assert [step.number for step in steps] == [1, 2, 3, 4, 5]
    assert {step.total for step in steps} == {5}
    assert [step.title for step in steps] == ["train", "prune", "prune", "share", "measure"]
    assert json.loads(json.dumps(result.to_dict()))["stages"][3]["rate"] == result.rate
    assert str(result).startswith("trained")


def test_a_finished_study_is_taken_up(small):
    result, _, out = small
    before = (out / "coded.psz").read_bytes()
    again = compress_deeply(small_plan(), digits(), out, **QUICK)
    assert again.stages == result.stages
    assert (out / "coded.psz").read_bytes() == before


def test_another_plan_in_the_same_folder_is_refused(small):
    """Its trainings would bring the masks of the former amount."""
    _, _, out = small
    with pytest.raises(ValueError, match=r"holds another plan: amount is 0.8 there. Choose another folder"):
        compress_deeply(replace(small_plan(), amount=0.5), digits(), out, **QUICK)


def test_a_plan_with_distillation_is_taught_by_the_trained_network(tmp_path):
    """Labels alone would pull the compressed network away from a dense one that knows nothing."""
    plan = small_plan()
    still = plan.training.but(epochs=1, lr=1e-9)
    once = replace(plan, training=still, schedule=Schedule("cubic", 1), tuning=plan.tuning.but(epochs=4))
    lost = {}
    for weight in (0.0, 1.0):
        out = tmp_path / str(weight)
        result = compress_deeply(replace(once, distillation=Distillation(weight)), digits(), out, **QUICK)
        taught = {run.name: json.loads((run / "config.json").read_text()) for run in (out / "runs").iterdir()}
        assert "teacher" not in taught.pop("1-train")
        assert len(taught) == 2
        assert {run["teacher"] for run in taught.values()} == {weights_digest(network_of(result.stages[0]))}
        lost[weight] = result.points_lost
    assert lost[0.0] < -40  # untrained, then trained
    assert abs(lost[1.0]) < 15
    with pytest.raises(ValueError, match="holds another plan: distillation is"):
        compress_deeply(once, digits(), tmp_path / "1.0", **QUICK)


def test_unknown_plans_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"plan must be a CompressionPlan or one of lenet_300_100, .*, got 'vgg'"):
        compress_deeply("vgg", digits(), tmp_path)


def going_on():
    """A plan that leaves the weights it is given as they are, but for rounding, and prunes a tenth of them."""
    still = Recipe(epochs=1, lr=1e-12, weight_decay=0.0)
    return CompressionPlan("cifar_resnet8", 0.1, 8, Schedule("cubic", 1), still, still, still, from_weights=True)


def test_given_weights_are_what_is_compressed(tmp_path):
    network = build("cifar_resnet8", num_classes=10, in_channels=1, image_size=8)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "given.pt")
    data = digits().subset(64, test=64)
    compress_deeply(going_on(), data, tmp_path / "out", weights=tmp_path / "given.pt", **QUICK)
    read = load(tmp_path / "out" / "trained.psz").state_dict
    weights = {name: tensor for name, tensor in network.state_dict().items() if name.endswith("weight")}
    assert all(torch.allclose(read[name], tensor, atol=1e-6) for name, tensor in weights.items())
    pruned = load(tmp_path / "out" / "pruned.psz").state_dict
    kept = sum(int(pruned[name].count_nonzero()) for name, tensor in weights.items() if tensor.ndim > 1)
    assert kept == pytest.approx(0.9 * sum(tensor.numel() for tensor in weights.values() if tensor.ndim > 1), abs=1)

    other = build("cifar_resnet8", num_classes=10, in_channels=1, image_size=8)
    torch.save(other.state_dict(), tmp_path / "other.pt")
    with pytest.raises(ValueError, match="holds another plan: weights is"):
        compress_deeply(going_on(), data, tmp_path / "out", weights=tmp_path / "other.pt", **QUICK)


def test_a_plan_for_trained_weights_asks_for_them(tmp_path):
    with pytest.raises(ValueError, match="weights: this plan goes on from trained weights; give a checkpoint of cifar"):
        compress_deeply(going_on(), digits(), tmp_path, **QUICK)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rate"), [("lenet_300_100", 40), ("lenet5", 39)])
def test_the_paper_s_rates_on_mnist(name, rate, tmp_path):
    """Table 1 of Han, Mao and Dally: 40 and 39 times smaller; at most 0.1 points of accuracy lost."""
    folder = os.environ.get("PYSCALE_DATA")
    if folder is None or not (Path(folder) / MNIST).is_file():
        pytest.skip(f"PYSCALE_DATA does not name a folder with {MNIST}")
    result = compress_deeply(name, from_npz(Path(folder) / MNIST), tmp_path, **QUICK)
    assert result.stages[-1].report.bytes_before / (tmp_path / "coded.psz").stat().st_size >= rate
    assert result.points_lost <= 0.1 + 1e-9
    assert result.stages[0].accuracy.value > (0.98 if name == "lenet_300_100" else 0.99)
