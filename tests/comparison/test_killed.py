"""Killed at random moments, extractions and comparisons go on and end with the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("what", ["extract", "compare"])
@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_kill_9_changes_nothing(what, kills, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.comparison.killed", what, str(kills), "1", str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # children are forked, which teams of threads don't survive
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "killed" in done.stdout
