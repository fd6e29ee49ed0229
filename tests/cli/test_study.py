"""``pyscale study``: a file run, estimated, and refused."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from pyscale.cli.program import program
from pyscale.models import build

TEXT = """\
title: Twins
family: cifar_resnet8
image_size: 8
data: {train: 60, test: 90}
epochs: 1
metrics: [cka]
key_layers: [relu, linear]
costs: {family: cifar_resnet20, num_classes: 10, sweeps: [{name: depth, depth: 2, phi: [0, 1]}]}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "twins.yaml"
    path.write_text(TEXT)
    return path


def invoke(*arguments):
    return CliRunner().invoke(program, ["study", *map(str, arguments)])


def test_a_study_runs_from_its_file(file, tmp_path):
    result = invoke(file, "--out", tmp_path / "out", "--device", "cpu", "--json")
    assert result.exit_code == 0, result.output
    assert "[ 1/5] train baseline" in result.stderr
    printed = json.loads(result.stdout)
    assert printed["report"] == str(tmp_path / "out" / "twins" / "report.html")
    assert set(printed["accuracy"]) == {"baseline", "baseline-seed1"}
    costs = (tmp_path / "out" / "twins" / "costs.csv").read_text().splitlines()
    assert costs[1].endswith("269722,40551040,188416")
    shown = invoke(file, "--out", tmp_path / "out", "--device", "cpu")
    assert "baseline-seed1" in shown.stdout
    assert "twins/report.html" in shown.stdout


def test_a_dry_run_trains_nothing(file, tmp_path):
    result = invoke(file, "--out", tmp_path / "out", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert [row["name"] for row in printed["trainings"]] == ["baseline", "baseline-seed1"]
    assert printed["total_macs"] == sum(row["total_macs"] for row in printed["trainings"])
    assert next(row["macs"] for row in printed["costs"]) == 40551040
    assert not (tmp_path / "out").exists()
    shown = invoke(file, "--out", tmp_path / "out", "--dry-run", "--workers", "2")
    assert "by 2 workers" in shown.stdout
    assert "at most" not in shown.stdout.lower()


def test_a_dry_run_says_what_is_a_bound_and_what_comes_from_a_file(file, tmp_path):
    weights = tmp_path / "w.pth"
    torch.save(build("cifar_resnet8", num_classes=10, in_channels=1).state_dict(), weights)
    more = "equal_budget: {shares: [0.5], resources: [bytes], ways: [scaled]}\n"
    file.write_text(TEXT + more + f"variants: [{{name: given, weights: {weights}}}]\n")
    shown = invoke(file, "--out", tmp_path / "out", "--dry-run").stdout
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert lines["scaled-bytes-0.5"].count("at most") == 3
    assert "from a file" in lines["given"]
    assert "at most" not in lines["baseline"]
    assert lines["At"].startswith("At most ")


def test_a_wrong_file_is_one_line_and_usage(file):
    file.write_text(TEXT + "epoch: 3\n")
    result = invoke(file)
    assert result.exit_code == 2
    assert result.stderr.strip() == f"pyscale: {file}, line 9: epoch: unknown key; did you mean epochs?"
    assert invoke(file.parent / "none.yaml").exit_code == 2
