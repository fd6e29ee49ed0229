"""Each command: what it prints, what it writes, and the exit code."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import pyscale as ps
from pyscale.cli.program import program
from pyscale.models import Scaling
from pyscale.studies.trained_networks import build_seeded, open_trained

SMALL = ["--image-size", "8", "--num-classes", "10"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(*arguments, code=0):
    result = CliRunner().invoke(program, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a training by the command line, and what it printed."""
    out = tmp_path_factory.mktemp("trained") / "run"
    options = ["--data", "digits", "--subset", "100", "--epochs", "2", "--threads", "1", "--out", out, "--json"]
    return out, json.loads(run("train", "cifar_resnet8", "--width", "0.5", *options).stdout)


# ---- profile ----


def test_profile_counts_what_is_published():
    (cost,) = json.loads(run("profile", "cifar_resnet20", "--repeats", "0", "--json").stdout)
    assert (cost["model"], cost["parameters"], cost["macs"]) == ("cifar_resnet20", 269722, 40551040)
    assert cost["latency"] is None


def test_profile_takes_factors_and_several_models():
    costs = json.loads(run("profile", "cifar_resnet8", "cifar_resnet8:depth=2,resolution=0.5", *SMALL, "--json").stdout)
    assert [cost["image_size"] for cost in costs] == [8, 4]
    assert costs[1]["parameters"] > 1.5 * costs[0]["parameters"]
    assert all(cost["latency"] > 0 for cost in costs)


def test_profile_prints_a_table():
    printed = run("profile", "cifar_resnet20", "--repeats", "0").stdout
    assert "269,722" in printed
    assert "40,551,040" in printed


# ---- train ----


def test_train_leaves_a_network_that_scores_what_it_said(trained):
    out, printed = trained
    assert printed["accuracy"]["total"] == 359
    assert printed["recipe"]["epochs"] == len(printed["history"]["train_loss"]) == 2
    assert printed["model"]["scaling"] == {"depth": 1.0, "width": 0.5, "resolution": 1.0}
    accuracy = ps.train.evaluate(open_trained(out), ps.train.digits())
    assert accuracy.correct == printed["accuracy"]["correct"]


def test_a_finished_training_is_not_repeated(trained):
    out, printed = trained
    options = ["--subset", "100", "--epochs", "2", "--threads", "1", "--out", out, "--json"]
    again = json.loads(run("train", "cifar_resnet8", "--width", "0.5", *options).stdout)
    assert again["resumed_at"] == 2
    assert again["accuracy"] == printed["accuracy"]


def test_another_training_in_the_same_folder_is_refused(trained):
    result = run("train", "cifar_resnet8", "--epochs", "3", "--out", trained[0], code=2)
    assert "holds another run" in result.stderr
    assert "pass --fresh to start anew" in result.stderr
    assert result.stdout == ""


def test_phi_scales_all_three(tmp_path):
    options = ["--subset", "50", "--epochs", "1", "--threads", "1", "--out", tmp_path, "--json"]
    printed = json.loads(run("train", "cifar_resnet8", "--phi", "1,0,2", *options).stdout)
    assert printed["model"]["scaling"] == pytest.approx({"depth": 1.2, "width": 1.0, "resolution": 1.15**2})


# ---- compare ----


def test_compare_gives_what_the_library_gives(trained):
    printed = json.loads(run("compare", trained[0], "cifar_resnet8", *SMALL, "--batch-size", "90", "--json").stdout)
    other = build_seeded("cifar_resnet8", 0, num_classes=10, in_channels=1, image_size=8)
    loader = ps.train.digits().loader("test", 90, shuffle=True)
    c = ps.compare(open_trained(trained[0]), other, loader, progress=False)
    assert (printed["rows"], printed["columns"]) == (c.rows, c.columns)
    np.testing.assert_array_equal(np.array(printed["values"], dtype=float), c.values)
    assert printed["meta"]["samples"] == 359


def test_compare_sees_each_model_at_its_own_resolution(trained):
    arguments = [trained[0], "cifar_resnet8:resolution=1.5", *SMALL, "--layers", "*.conv2"]
    printed = json.loads(run("compare", *arguments, "--json").stdout)
    assert printed["rows"] == [f"layer{stage}.0.conv2" for stage in (1, 2, 3)]
    assert np.isfinite(np.array(printed["values"])).all()


def test_compare_writes_every_kind_of_file(trained, tmp_path):
    files = [tmp_path / "new" / f"c{suffix}" for suffix in (".npz", ".html", ".png", ".csv")]
    outs = [part for file in files for part in ("--out", file)]
    result = run("compare", trained[0], trained[0], "--layers", "*.relu", *outs)
    npz, page, png, table = files
    c = ps.Comparison.load(npz)
    np.testing.assert_allclose(np.diag(c.values), 1)
    assert page.read_text().startswith("<!doctype html>")
    assert png.read_bytes().startswith(b"\x89PNG")
    lines = list(csv.DictReader(io.StringIO(table.read_text())))
    assert len(lines) == c.values.size
    assert float(lines[1]["value"]) == pytest.approx(c.values[0, 1])
    assert "1.0000" in result.stdout
    assert all(f"wrote {file}" in result.stderr.replace("\n", "") for file in files)
    assert {path.name for path in (tmp_path / "new").iterdir()} == {file.name for file in files}


def test_compare_takes_weights(trained, tmp_path):
    network = build_seeded("cifar_resnet8", 9, scaling=Scaling(width=0.5), num_classes=10, in_channels=1)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "w.pt")
    name = "cifar_resnet8:width=0.5"
    arguments = [name, name, "--weights-x", tmp_path / "w.pt", "--image-size", "8", "--layers", "conv1", "--json"]
    (value,) = json.loads(run("compare", *arguments, "--seed", "9").stdout)["values"]
    assert value[0] == pytest.approx(1, abs=1e-6)
    (value,) = json.loads(run("compare", *arguments, "--seed", "8").stdout)["values"]
    assert value[0] < 0.999


# ---- compare-weights ----


def test_compare_weights_gives_what_the_library_gives(trained, tmp_path):
    file = tmp_path / "w.csv"
    options = ["--layers", "linear", "--rows", "outputs", "--num-classes", "10", "--in-channels", "1", "--out", file]
    printed = json.loads(run("compare-weights", trained[0], "cifar_resnet8", *options, "--json").stdout)
    other = build_seeded("cifar_resnet8", 1, num_classes=10, in_channels=1)
    c = ps.compare_weights(open_trained(trained[0]), other, layers="linear", rows="outputs")
    assert printed["values"] == pytest.approx(c.values)
    assert printed["chance"] == [[0]]
    assert printed["meta"]["compared"] == "weights"
    assert file.read_text().count("linear") == 2
    assert "chance" in run("compare-weights", trained[0], trained[0], "--layers", "linear").stdout


def test_compare_weights_pads_nothing():
    arguments = ["lenet_300_100", "lenet5", "--in-channels", "1", "--layers", "ip2"]
    assert "300 input channels" in run("compare-weights", *arguments, code=2).stderr


# ---- prune ----


def test_prune_leaves_what_evaluate_and_compare_load(trained, tmp_path):
    options = ["--amount", "0.5", "--scope", "layer", "--schedule", "iterative", "--steps", "2", "--epochs", "1"]
    where = ["--subset", "100", "--threads", "1", "--out", tmp_path / "sparse"]
    printed = json.loads(run("prune", trained[0], *options, *where, "--json").stdout)
    pruned = open_trained(tmp_path / "sparse")
    for weight in (pruned.conv1.weight, pruned.layer2[0].conv1.weight, pruned.linear.weight):
        assert int((weight == 0).sum()) == pytest.approx(weight.numel() / 2, abs=1)
    assert {path.name for path in (tmp_path / "sparse" / "pruning").iterdir()} == {"1", "2"}
    (found,) = json.loads(run("evaluate", tmp_path / "sparse", "--json").stdout)
    assert found["accuracy"]["correct"] == printed["networks"][1]["accuracy"]["correct"]
    assert printed["networks"][1]["bytes"] < printed["networks"][0]["bytes"]
    again = json.loads(run("prune", trained[0], *options, *where, "--json").stdout)
    assert again == printed
    assert "another compression" in run("prune", trained[0], "--amount", "0.6", *where, code=2).stderr
    compared = run("compare", trained[0], tmp_path / "sparse", "--layers", "linear", "--json").stdout
    assert json.loads(compared)["rows"] == ["linear"]


def test_prune_takes_channels_out_within_a_budget(trained, tmp_path):
    options = ["--macs", "0.6", "--granularity", "channel", "--epochs", "1", "--subset", "60", "--threads", "1"]
    shown = run("prune", trained[0], *options, "--out", tmp_path).stdout
    assert f"in {tmp_path}" in shown
    macs = [ps.models.profile(open_trained(folder), repeats=0).macs for folder in (trained[0], tmp_path)]
    assert 0.4 * macs[0] < macs[1] <= 0.6 * macs[0]


# ---- doctor ----


def test_doctor_says_what_is_used():
    printed = json.loads(run("doctor", "--json").stdout)
    assert printed["ok"] is True
    assert printed["pyscale"] == printed["native"]["version"] == ps.__version__
    assert printed["native"]["instruction_set"] in printed["native"]["instruction_sets"]
    assert isinstance(printed["native"]["cuda"], bool)
    assert printed["torch"]["version"] == torch.__version__
    assert printed["machine"]["cores"] >= 1
    assert set(printed["extras"]) >= {"train", "report", "cli"}
    assert printed["extras"]["cli"]["typer"]
    assert {check["name"]: check["ok"] for check in printed["checks"]} == {
        "the native core belongs to this package": True,
        "the kernels compute CKA": True,
        "GPU": True,
    }


def test_doctor_fails_where_the_numbers_are_wrong(monkeypatch):
    monkeypatch.setattr("pyscale.metrics.cka", lambda x, y: 0.5)
    result = run("doctor", code=1)
    assert "the kernels compute CKA" in result.stdout
    assert "FAILED, error 0." in result.stdout


def test_doctor_fails_where_an_old_core_was_left_behind(monkeypatch):
    from dataclasses import replace

    from pyscale.ops import build_info

    monkeypatch.setattr("pyscale.ops.build_info", lambda: replace(build_info(), version="0.0.1"))
    printed = json.loads(run("doctor", "--json", code=1).stdout)
    assert printed["ok"] is False
    assert "build again" in printed["checks"][0]["detail"]


# ---- scale-to ----


def test_scale_to_stays_within_the_budget():
    options = ["--macs", "20e6", "--rule", "w"]
    found = json.loads(run("scale-to", "cifar_resnet20", *options, "--json").stdout)
    assert found["macs"] <= 20e6
    assert found["scaling"]["depth"] == found["scaling"]["resolution"] == 1
    again = run("profile", f"cifar_resnet20:width={found['scaling']['width']!r}", "--repeats", "0", "--json").stdout
    assert json.loads(again)[0]["macs"] == found["macs"]
    assert "scaled" in run("scale-to", "cifar_resnet20", "--parameters", "100000", "--rule", "1,1,2").stdout


def test_scale_to_wants_one_budget_and_a_rule():
    assert "exactly one" in run("scale-to", "resnet18", code=2).stderr
    assert "three numbers" in run("scale-to", "resnet18", "--macs", "1e9", "--rule", "a,b", code=2).stderr


# ---- laws ----


def test_laws_are_fitted_to_published_tables():
    both = json.loads(run("laws", "mobilenet_v1", "--json").stdout)
    assert [row["form"] for row in both] == ["sum", "product"]
    assert both[0]["networks"] == 16
    assert both[0]["exponents"]["width"]["low"] < both[0]["exponents"]["width"]["value"] < 2
    (shares,) = both[0]["equal_shares"]
    assert (shares["tested"], shares["budget"]) == (True, pytest.approx(0.25))
    assert "The rule loses" in shares["text"]
    assert both[0]["best_dimension"]["best"] == "width"
    narrow = json.loads(run("laws", "mobilenet_v1", "--at", "resolution=0.6", "--json").stdout)[0]["best_dimension"]
    assert (narrow["best"], narrow["at"]["resolution"]) == ("resolution", pytest.approx(0.6))


def test_laws_do_not_judge_budgets_that_no_network_is_near():
    printed = run("laws", "mobilenet_v1", "--budget", "1e9").stdout
    assert printed.count("not tested: the budget lies outside the observed networks") == 2
    assert "predicted to err" not in printed
    (shares,) = json.loads(run("laws", "mobilenet_v1", "--budget", "4", "--json").stdout)[0]["equal_shares"]
    assert shares["tested"] is False


@pytest.mark.parametrize("budget", ["-1", "nan", "inf", "0", "1"])
def test_a_budget_that_is_none_is_wrong_usage(budget):
    result = run("laws", "--budget", budget, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("pyscale: budget")
    assert result.stderr.count("\n") == 1


def test_laws_are_fitted_to_a_study_of_ones_own(tmp_path):
    columns = "network,role,kind,depth,width,resolution,accuracy,macs,test_pictures\n"
    points = [(1, 1), (0.5, 1), (2, 1), (1, 0.5), (1, 2), (2, 2), (0.5, 0.5)]
    errors = [0.05 + 0.1 * w**-0.9 + 0.1 * r**-1.3 for w, r in points]
    rows = [
        f"n{i},{'variant' if i else 'baseline'},scaled,1,{w},{r},{1 - e},{w**2 * r**2},9999"
        for i, ((w, r), e) in enumerate(zip(points, errors, strict=True))
    ]
    (tmp_path / "networks.csv").write_text(columns + "\n".join(rows) + "\n")
    both = json.loads(run("laws", tmp_path, "--json").stdout)
    assert both[0]["exponents"]["resolution"]["value"] == pytest.approx(1.3, rel=1e-3)
    assert both[0]["best_dimension"]["best"] == "resolution"
    assert [shares["tested"] for shares in both[0]["equal_shares"]] == [True, True]
    (tmp_path / "networks.csv").write_text(columns + "\n".join(rows[:3]) + "\n")
    assert "not tested: the law knows width alone" in run("laws", tmp_path).stdout
    (tmp_path / "networks.csv").write_text(columns + "\n".join(rows[:4]) + "\n")
    assert "4 points are fewer than the law's 5 parameters" in run("laws", tmp_path).stdout
    assert "no /" in run("laws", tmp_path.parent, code=2).stderr


def test_laws_say_why_there_is_none():
    printed = run("laws", "mobilenet_v2_scaled_up").stdout
    assert "fewer than" in printed
    assert "unknown table 'nets'" in run("laws", "nets", code=2).stderr


# ---- deep-compress ----


def test_deep_compress_leaves_files_of_every_stage(tmp_path, monkeypatch):
    from pyscale import studies
    from pyscale.compress import Schedule

    plan = studies.PLANS["lenet_300_100"]
    short = {name: getattr(plan, name).but(epochs=1) for name in ("training", "tuning", "sharing")}
    quick = studies.CompressionPlan("lenet_300_100", 0.9, 4, Schedule("cubic", 2), **short)
    monkeypatch.setitem(studies.PLANS, "lenet_300_100", quick)
    rng = np.random.default_rng(0)
    y = np.arange(120) % 10
    x = (25 * y[:, None, None] + rng.integers(0, 20, (120, 28, 28))).astype(np.uint8)
    np.savez(tmp_path / "made.npz", x_train=x[:100], y_train=y[:100], x_test=x[100:], y_test=y[100:])
    options = ["lenet_300_100", "--data", tmp_path / "made.npz", "--out", tmp_path / "out", "--threads", "1"]
    found = json.loads(run("deep-compress", *options, "--json").stdout)
    sizes = [(tmp_path / "out" / f"{stage['name']}.psz").stat().st_size for stage in found["stages"]]
    assert sizes == [stage["bytes_file"] for stage in found["stages"]]
    assert sizes == sorted(sizes, reverse=True)
    assert found["rate"] > 20
    assert "points of accuracy lost" in run("deep-compress", *options).stdout


def test_deep_compress_knows_its_plans(tmp_path):
    assert "lenet5" in run("deep-compress", "alexnet", "--data", "digits", "--out", tmp_path, code=2).stderr


def test_deep_compress_asks_for_weights_where_a_plan_goes_on_from_them(tmp_path):
    options = ["deep-compress", "cifar_resnet20", "--data", "digits", "--out", tmp_path]
    assert "weights: this plan goes on from trained weights" in run(*options, code=2).stderr
    assert "no such file" in run(*options, "--weights", tmp_path / "none.th", code=2).stderr
