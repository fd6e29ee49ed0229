"""A real search: what it leaves, that it goes on where it was killed, and that it never looks at the test pictures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pyscale.models import build, profile
from pyscale.studies.trained_networks import build_seeded, open_trained
from pyscale.train import DivergenceError, evaluate, fit
from pyscale.train.pictures import PictureSet
from tests.studies.search_miniature import few, miniature_search

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240  # seconds for a busy machine to begin


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return miniature_search(tmp_path_factory.mktemp("search"))


def same_findings(one, two):
    left, right = (
        [{k: v for k, v in result.to_dict().items() if k != "seconds"} for result in (one, two)][i] for i in (0, 1)
    )
    assert left == right
    for a, b in zip(one.outcomes, two.outcomes, strict=True):
        for mine, theirs in zip(a.rungs, b.rungs, strict=True):
            assert all(np.array_equal(x.right, y.right) for x, y in zip(mine, theirs, strict=True))


def test_it_spends_what_was_planned_and_no_more(found):
    assert found.epochs == found.plan.epochs <= found.plan.budget
    assert found.macs <= found.plan.macs
    assert len(found.plan.rungs) > 1
    assert found.seconds > 0


def test_the_winner_is_a_network_of_the_counted_cost(found):
    best = found.best
    network = build("cifar_resnet8", scaling=best.candidate.scaling, num_classes=10, in_channels=1, image_size=4)
    assert profile(network, repeats=0).macs == best.candidate.macs
    assert found.compound(1) == best.candidate.scaling
    assert best.mean == max(outcome.mean for outcome in found.outcomes if len(outcome.rungs) == len(best.rungs))


def test_a_rung_that_goes_on_is_a_training_of_that_length(found):
    """The winner's network after all rungs, against one that was trained that long at once on the same pictures."""
    best, seed = found.best, found.plan.seeds[1]
    data = few().holding_out(0.2)
    network = build_seeded(
        "cifar_resnet8", seed, scaling=best.candidate.scaling, num_classes=10, in_channels=1, image_size=4
    )
    at_once = fit(
        network, data, epochs=best.epochs, seed=seed, recipe=found.plan.recipe, threads=1, device="cpu", progress=False
    )
    kept = open_trained(found.out / "candidates" / best.name / f"seed{seed}")
    for name, tensor in kept.state_dict().items():
        assert torch.equal(tensor, at_once.model.state_dict()[name]), name
    assert best.last[1].accuracy.value == evaluate(at_once.model, data, split="val").value
    assert found.test[1] == evaluate(at_once.model, few())


def test_the_files_say_what_was_found(found):
    written = json.loads((found.out / "result.json").read_text())
    assert written["best"]["name"] == found.best.name
    assert written["indistinguishable"] == [outcome.name for outcome in found.indistinguishable]
    lines = (found.out / "candidates.csv").read_text().splitlines()
    assert len(lines) == 1 + len(found.plan.candidates)
    frame = found.to_pandas()
    assert list(frame["name"]) == [line.split(",")[1] for line in lines[1:]]
    trained = frame[frame["skipped"] == ""]
    seeds = trained[["accuracy_seed0", "accuracy_seed1"]].to_numpy()
    np.testing.assert_allclose(seeds.mean(axis=1), trained["accuracy"])
    assert not [path for path in found.out.rglob(".*") if path.is_file()], "temporary files were left"


def test_a_finished_search_is_not_repeated(found):
    runs = {path: path.stat().st_mtime_ns for path in found.out.rglob("weights.pt")}
    same_findings(miniature_search(found.out), found)
    assert {path: path.stat().st_mtime_ns for path in found.out.rglob("weights.pt")} == runs


def test_a_killed_search_goes_on_to_the_same_result(found, tmp_path):
    command = [sys.executable, "-m", "tests.studies.search_miniature", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ})
    started = time.monotonic()
    try:
        while len(list(tmp_path.rglob("seed*-epochs*.json"))) < 3:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() - started < PATIENCE
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    assert not (tmp_path / "result.json").exists()
    steps = []
    same_findings(miniature_search(tmp_path, on_step=steps.append), found)
    assert [step.number for step in steps] == list(range(1, found.plan.trainings + 1))
    assert steps[0].total == found.plan.trainings


def test_the_test_pictures_take_no_part(found):
    """Other test labels: the same ranking, another accuracy of the winner."""
    data = few()
    shuffled = PictureSet(data.test.images, (data.test.labels + 1) % 10)
    other = miniature_search(data=replace(data, test=shuffled))
    for a, b in zip(found.outcomes, other.outcomes, strict=True):
        assert (a.name, a.mean) == (b.name, b.mean)
    assert other.out is None
    assert sum(accuracy.correct for accuracy in other.test) < sum(accuracy.correct for accuracy in found.test)


def test_another_search_in_the_same_folder_is_refused(found):
    with pytest.raises(ValueError, match=r"holds another search: budget is 24.0 there and 40.0 here"):
        miniature_search(found.out, budget=40)
    with pytest.raises(ValueError, match=r"recipe\.lr is 0\.05 there and 0\.1 here"):
        miniature_search(found.out, lr=0.1)
    with pytest.raises(ValueError, match="precision is '32-true' there and 'bf16-mixed' here"):
        miniature_search(found.out, precision="bf16-mixed")
    data = few()
    images = data.train.images.clone()
    images[0, 0, 0, 0] += 0.5
    changed = replace(data, train=PictureSet(images, data.train.labels))
    with pytest.raises(ValueError, match=r"holds another search: data\.digest is"):
        miniature_search(found.out, data=changed)


def test_anew_deletes_only_a_search(found, tmp_path):
    (tmp_path / "candidates").mkdir()
    (tmp_path / "candidates" / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match="of something that is no search"):
        miniature_search(tmp_path, resume=False)
    assert (tmp_path / "candidates" / "precious.txt").read_text() == "mine"


def test_anew_trains_anew(tmp_path):
    options = {"strategy": "grid", "budget": 7}
    first = miniature_search(tmp_path, **options)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("weights.pt")}
    again = miniature_search(tmp_path, resume=False, **options)
    assert all(path.stat().st_mtime_ns > before for path, before in written.items())
    same_findings(again, first)


def test_a_damaged_record_is_named(tmp_path):
    options = {"strategy": "grid", "budget": 7}
    miniature_search(tmp_path, **options)
    record = next(iter(tmp_path.rglob("seed0-epochs*.json")))
    for text in ("{", '{"seed": 0}', '{"seed": 0, "epochs": 1, "right": "zz", "pictures": 3}'):
        record.write_text(text)
        with pytest.raises(ValueError, match=r"seed0-epochs1\.json is damaged .*pass resume=False"):
            miniature_search(tmp_path, **options)


def test_every_schedule_but_an_open_one_trains_each_rung_anew(tmp_path):
    found = miniature_search(tmp_path, schedule="onecycle", warmup=0.25, budget=60)
    first, second = (rung.epochs for rung in found.plan.rungs[:2])
    histories = [
        (found.out / "candidates" / found.best.name / f"seed0-epochs{epochs}" / "history.csv").read_text()
        for epochs in (first, second)
    ]
    assert [len(history.splitlines()) - 1 for history in histories] == [first, second]
    assert histories[0].splitlines()[1] != histories[1].splitlines()[1]


def test_parzen_finds_its_runs_again(tmp_path):
    options = {"strategy": "tpe", "trials": 2, "budget": 8}
    first = miniature_search(tmp_path, **options)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("weights.pt")}
    same_findings(miniature_search(tmp_path, **options), first)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("weights.pt")} == written
    assert first.epochs <= 8


def test_all_diverging_is_an_error_that_says_what_to_change(monkeypatch):
    def diverge(*_, **__):
        raise DivergenceError("the loss became inf")

    monkeypatch.setattr("pyscale.studies.coefficients.training.fit", diverge)
    with pytest.raises(ValueError, match="every candidate of the last rung diverged; lower lr"):
        miniature_search(strategy="grid")


def test_confidence_is_a_share():
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1, got 95"):
        miniature_search(confidence=95)
