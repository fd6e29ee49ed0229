"""A killed study goes on: finished trainings are not repeated, and the end is the same."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pyscale.studies import run
from tests.studies.miniature import miniature_study

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240  # seconds for a busy machine to get through two small trainings


def wait_for(path, process):
    started = time.monotonic()
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() - started < PATIENCE, f"{path} never came"
        time.sleep(0.02)


def test_a_killed_study_goes_on_where_it_was(miniature, tmp_path):
    command = [sys.executable, "-m", "tests.studies.miniature", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ})
    try:
        wait_for(tmp_path / "runs" / "baseline-seed1" / "history.csv", process)  # the second training is under way
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    assert not (tmp_path / "report.html").exists()
    finished = tmp_path / "runs" / "baseline" / "weights.pt"
    written = finished.stat().st_mtime_ns

    steps = []
    result = run(miniature_study(), tmp_path, progress=False, on_step=steps.append)

    assert finished.stat().st_mtime_ns == written
    assert result.members[0].trained.resumed_at == 3
    assert "baseline" in result.provenance["taken_up"]
    for member, undisturbed in zip(result.members, miniature.members, strict=True):
        state = member.network.state_dict()
        assert all(torch.equal(state[key], value) for key, value in undisturbed.network.state_dict().items())
    for name, by_metric in result.similarities.items():
        for metric, found in by_metric.items():
            undisturbed = miniature.similarities[name][metric]
            np.testing.assert_array_equal(found.comparison.values, undisturbed.comparison.values)
    assert (tmp_path / "report.html").exists()
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()], "temporary files were left"
    assert [step.number for step in steps] == list(range(1, steps[-1].total + 1))


def test_another_study_in_the_same_folder_is_refused(miniature):
    with pytest.raises(ValueError, match=r"holds another run.*epochs"):
        run(miniature_study(epochs=2), miniature.out, progress=False)


def test_what_is_no_study_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"study must be a pyscale\.studies\.Study or the path of a file, got int"):
        run(7, tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file: study"):
        run("study", tmp_path)


def test_the_thread_count_is_left_as_found(miniature):
    threads = torch.get_num_threads()
    with pytest.raises(ValueError, match="holds another run"):
        run(miniature_study(seed=5, threads=2), miniature.out, progress=False)
    assert torch.get_num_threads() == threads
