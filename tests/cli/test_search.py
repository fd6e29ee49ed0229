"""``pyscale search``: what it plans, what it finds, and that it is what the library finds."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from pyscale.cli.program import program
from pyscale.models import Scaling
from pyscale.studies import search, search_plan
from pyscale.train import digits

SEARCH = ["search", "cifar_resnet8", "--data", "digits", "--subset", "80", "--image-size", "4", "--seeds", "2"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(*arguments, code=0):
    result = CliRunner().invoke(program, [*SEARCH, *(str(argument) for argument in arguments)])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A search by the command line, and what it printed."""
    out = tmp_path_factory.mktemp("cli") / "search"
    result = run("--budget", 9, "--threads", 1, "--device", "cpu", "--out", out, "--json")
    return out, json.loads(result.stdout), result.stderr


def test_a_dry_run_plans_and_trains_nothing(tmp_path):
    options = ["--budget", 24, "--strategy", "halving", "--schedule", "constant", "--rate", 1e9, "--dry-run"]
    printed = json.loads(run(*options, "--out", tmp_path / "none", "--json").stdout)
    assert not (tmp_path / "none").exists()
    plan = search_plan(
        "cifar_resnet8",
        digits().subset(80),
        image_size=4,
        seeds=(0, 1),
        budget=24,
        strategy="halving",
        schedule="constant",
        warmup=0,
    )
    assert printed["rungs"] == [vars(rung) for rung in plan.rungs]
    assert printed["continues"] is True
    assert (printed["epochs"], printed["macs"]) == (plan.epochs, plan.macs)
    assert printed["seconds"] == pytest.approx(plan.macs / 1e9)
    assert [candidate["name"] for candidate in printed["candidates"]] == [c.name for c in plan.candidates]
    text = run(*options).stdout
    assert str(plan).splitlines()[0] in text
    assert "rounds to the same network as" in text


def test_it_finds_what_the_library_finds(found):
    out, printed, _ = found
    result = search(
        "cifar_resnet8",
        digits().subset(80),
        image_size=4,
        seeds=(0, 1),
        budget=9,
        threads=1,
        device="cpu",
        progress=False,
    )
    assert printed["best"]["name"] == result.best.name
    assert Scaling(**printed["best"]["bases"]) == result.best.candidate.bases
    assert printed["candidates"] == json.loads(json.dumps(result.rows()))
    assert printed["out"] == str(out)


def test_it_says_which_training_begins(found):
    lines = [line for line in found[2].splitlines() if line.startswith("[")]
    assert len(lines) == found[1]["plan"]["rungs"][0]["candidates"] * 2
    assert lines[0].startswith(f"[1/{len(lines)}] train d1-w")
    assert lines[0].endswith("from seed 0 to 1 epochs")


def test_a_finished_search_is_shown_again(found):
    out, printed, _ = found
    text = run("--budget", 9, "--threads", 1, "--device", "cpu", "--out", out).stdout
    assert f"α = {printed['best']['bases']['depth']:g}" in text
    assert "on the test pictures" in text
    assert all(row["name"] in text for row in printed["candidates"] if row["rank"])


def test_another_search_in_the_same_folder_is_refused(found):
    result = run("--budget", 40, "--out", found[0], code=2)
    assert "holds another search" in result.stderr
    assert "pass --fresh to start anew" in result.stderr
    assert result.stdout == ""
