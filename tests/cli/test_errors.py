"""What goes wrong becomes one line on stderr and an exit code; stdout stays empty."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from typer.testing import CliRunner

from pyscale.cli.program import program
from pyscale.models import build

PYSCALE = [sys.executable, "-m", "pyscale"]


def fail(*arguments):
    result = CliRunner().invoke(program, [str(argument) for argument in arguments])
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["profile", "cifar_resnet9"], "6n + 2"),
        (["profile", "resnet19"], "Did you mean resnet18"),
        (["profile", "cifar_resnet8:depht=2"], "got 'depht=2'"),
        (["profile", "cifar_resnet8:depth=two"], "depth: expected a number, got 'two'"),
        (["profile", "cifar_resnet8:width=-1"], "width: expected a positive number"),
        (["train", "cifar_resnet8", "--phi", "1", "--depth", "2"], "not both"),
        (["train", "cifar_resnet8", "--phi", "x"], "phi: expected a number, got 'x'"),
        (["train", "cifar_resnet8", "--data", "nowhere"], "there is no nowhere"),
        (["train", "cifar_resnet8", "--precision", "8"], "precision must be one of"),
        (["train", "cifar_resnet8", "--logger", "wandb"], "logger must be one of"),
        (["prune", "cifar_resnet8"], "amount: expected exactly one of --amount"),
        (["prune", "cifar_resnet8", "--macs", "0.5"], "prune channels to lower them"),
        (["prune", "cifar_resnet8", "--amount", "0.5", "--scope", "all"], "scope must be one of"),
        (["compare-weights", "cifar_resnet8", "cifar_resnet8", "--rows", "all"], "rows is 'all'"),
        (["search", "cifar_resnet8", "--budget", "60", "--strategy", "luck"], "strategy must be one of"),
        (["search", "cifar_resnet8", "--budget", "5"], "budget of 5 is too small"),
        (["search", "cifar_resnet8", "--budget", "60", "--baseline", "wide=2"], "got 'wide=2'"),
        (["search", "cifar_resnet8", "--budget", "60", "--growth", "1"], "growth must be above 1"),
        (["compare", "cifar_resnet8", "cifar_resnet8", "--metric", "cosine"], "metric"),
        (["compare", "cifar_resnet8", "cifar_resnet8", "--out", "c.pdf"], "got c.pdf"),
        (["compare", "cifar_resnet8", "cifar_resnet8", "--split", "half"], "split must be one of"),
        (["compare", "cifar_resnet8", "cifar_resnet8", "--weights-x", "no.pt"], "no such file"),
    ],
)
def test_wrong_usage_is_code_2_and_names_the_argument(arguments, message):
    result = fail(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("pyscale: ")
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_folder_that_is_no_training_is_named(tmp_path):
    result = fail("compare", tmp_path, "cifar_resnet8")
    assert result.exit_code == 2
    assert "holds no training" in result.stderr


@pytest.mark.parametrize(
    "arguments", [["train"], ["search", "x"], ["profile", "x", "--repeats", "many"], ["nonsense"], ["demo", "--sed"]]
)
def test_the_parsers_own_errors_are_code_2(arguments):
    assert fail(*arguments).exit_code == 2


def test_a_checkpoint_for_other_pictures_is_told_what_option_to_change(tmp_path):
    torch.save(build("cifar_resnet8").state_dict(), tmp_path / "w.pth")
    model = f"cifar_resnet8:weights={tmp_path}/w.pth"
    for arguments in (["evaluate", model], ["compare-many", model, model, "--names", "a,b"]):
        result = fail(*arguments)
        assert result.exit_code == 2
        assert (
            "the checkpoint is for pictures of 3 channels, and these have 1; give others with --data" in result.stderr
        )
    assert "pass --in-channels 3" in fail("profile", model, "--in-channels", "1").stderr
    assert "pass --num-classes 10" in fail("profile", model, "--num-classes", "7").stderr


def test_a_missing_library_is_code_1_and_names_the_extra(monkeypatch, tmp_path):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] == "sklearn":
            raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr("pyscale.train.dependencies.import_module", lambda name: refuse(name))
    result = fail("train", "cifar_resnet8", "--out", tmp_path)
    assert result.exit_code == 1
    assert "pip install 'pyscale[train]'" in result.stderr


def test_a_diverging_training_is_code_1(tmp_path):
    arguments = ["cifar_resnet8", "--lr", "1e30", "--subset", "60", "--epochs", "3", "--out", tmp_path]
    result = fail("train", *arguments)
    assert result.exit_code == 1
    assert "lower lr" in result.stderr


def test_what_no_one_foresaw_is_code_1_and_says_how_to_see_more(monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("pyscale.models.profile", broken)
    result = fail("profile", "cifar_resnet8")
    assert result.exit_code == 1
    assert "ZeroDivisionError: a bug (not foreseen: `pyscale --verbose ...` shows where)" in result.stderr


def test_verbose_shows_the_traceback():
    result = CliRunner().invoke(program, ["--verbose", "profile", "nope"])
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    quiet = CliRunner().invoke(program, ["profile", "nope"])
    assert "Traceback" not in quiet.stderr


def test_the_command_runs_as_a_module_and_help_is_light():
    heavy = "('torch', 'numpy', 'matplotlib')"
    script = f"import sys, pyscale.cli.program; print([m for m in {heavy} if m in sys.modules])"
    light = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert light.stdout.strip() == "[]"
    shown = subprocess.run([*PYSCALE, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("pyscale ")
    wrong = subprocess.run([*PYSCALE, "profile", "nope"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("pyscale: name: unknown model 'nope'")


def test_without_typer_the_command_says_what_to_install():
    script = "import sys; sys.modules['typer'] = None; from pyscale.cli.app import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'pyscale[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_is_code_130_and_leaves_a_run_that_goes_on(tmp_path):
    arguments = ["train", "cifar_resnet8", "--epochs", "400", "--threads", "1", "--out", str(tmp_path)]
    process = subprocess.Popen(
        [*PYSCALE, *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # tests started in a shell's background inherit an interrupt that is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        try:
            started = time.monotonic()
            while not (tmp_path / "history.csv").exists():
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() - started < 200
                time.sleep(0.05)
            os.kill(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130
    assert out == ""
    assert "interrupted" in err
    assert "Traceback" not in err
    assert (tmp_path / "checkpoint.ckpt").exists()
