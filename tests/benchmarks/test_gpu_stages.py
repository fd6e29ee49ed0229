"""``.ci/gpu`` with a pretended Python and sanitizer: stages go on after a failure, end in time, and are told of."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "gpu"

MARK = ".".join(("mark", "cuda"))  # not written out: the script would take this file for one with tests for a GPU

# Notes its arguments; answers what it is asked of itself; a call that contains $FAILING fails, one with $HANGING hangs.
PYTHON = """#!/bin/bash
case "$*" in
  *sysconfig*) echo "$BIN" ;;
  *is_available*) exit "${NO_DEVICE:-0}" ;;
  *capability*) echo 90a-real ;;
  *) echo "archs=$PYSCALE_CUDA_ARCHS caching=$PYTORCH_NO_CUDA_MEMORY_CACHING python $*" >>"$CALLS"
     [[ -z $HANGING || "$*" != *"$HANGING"* ]] || sleep 60
     [[ -z $FAILING || "$*" != *"$FAILING"* ]] || exit 3 ;;
esac
"""
# Sees the planted fault, unless blind, and otherwise answers as the program does.
SANITIZER = """#!/bin/bash
echo "sanitizer $*" >>"$CALLS"
[[ "$*" != *planted_fault* ]] || exit "${BLIND:-9}"
while [[ $1 != */python3 ]]; do shift; done
"$@"
"""


@pytest.fixture
def machine(tmp_path):
    """Return a function that runs the script on a machine of our making and returns what it did."""
    if shutil.which("timeout") is None:
        pytest.skip("timeout is not installed")
    (tmp_path / ".ci").mkdir()
    shutil.copy(SCRIPT, tmp_path / ".ci" / "gpu")
    binaries, calls = tmp_path / "bin", tmp_path / "calls"
    binaries.mkdir()
    for name, text in (("python3", PYTHON), ("compute-sanitizer", SANITIZER)):
        (binaries / name).write_text(text)
        (binaries / name).chmod(stat.S_IRWXU)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_device.py").write_text(f"pytestmark = pytest.{MARK}\n")
    (tmp_path / "tests" / "test_other.py").write_text("import something_that_is_not_there\n")

    def run(*stages, **environment):
        calls.write_text("")
        done = subprocess.run(
            ["bash", tmp_path / ".ci" / "gpu", *stages],
            env={**os.environ, "PYTHON": str(binaries / "python3"), "BIN": binaries, "CALLS": calls, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, calls.read_text().splitlines(), tmp_path / "outputs" / "gpu"

    return run


def verdicts(output):
    return dict(re.findall(r"^(\w+) +\d+ s  (.+)$", output, flags=re.MULTILINE))


def test_all_stages_in_order(machine):
    done, calls, logs = machine()
    assert done.returncode == 0, done.stdout + done.stderr
    assert verdicts(done.stdout) == dict.fromkeys(("build", "test", "sanitize", "bench"), "passed")
    build, test, *sanitize, bench, page = calls
    assert build.endswith("python setup.py --quiet egg_info build_ext --inplace")
    assert "archs=90a-real" in build
    assert "-m pytest -m cuda -W default -p no:cacheprovider --durations=10 tests/test_device.py" in test
    assert "test_other" not in "".join(calls)
    assert [line.split()[2] for line in sanitize if line.startswith("sanitizer")] == [
        "memcheck",
        "memcheck",
        "racecheck",
    ]
    assert all("caching=1" in line and "-k small" in line for line in sanitize if "pytest" in line and "archs" in line)
    assert bench.endswith("python -m benchmarks.gpu --device cuda")
    assert page.endswith("python -m benchmarks.page")
    assert sorted(path.name for path in logs.iterdir()) == ["bench.log", "build.log", "sanitize.log", "test.log"]


@pytest.mark.parametrize("failing", ["setup.py", "durations", "-k small", "benchmarks.gpu"])
def test_a_failure_is_told_and_costs_no_other_stage(machine, failing):
    done, calls, _ = machine(FAILING=failing)
    assert done.returncode == 1
    found = verdicts(done.stdout)
    assert list(found) == ["build", "test", "sanitize", "bench"]
    assert sum(verdict.startswith("FAILED") for verdict in found.values()) == 1
    assert "benchmarks.gpu" in calls[-2]


def test_a_stage_that_hangs_is_stopped(machine):
    done, _, _ = machine("test", "bench", HANGING="pytest", GPU_TEST_SECONDS="1")
    assert verdicts(done.stdout) == {"test": "STOPPED after 1 s", "bench": "passed"}
    assert done.returncode == 1


def test_a_sanitizer_that_sees_nothing_fails(machine):
    done, _, logs = machine("sanitize", BLIND="0")
    assert done.returncode == 1
    assert "did not see the planted fault" in (logs / "sanitize.log").read_text()


def test_one_stage_and_unknown_ones(machine):
    done, calls, _ = machine("bench")
    assert (done.returncode, len(calls)) == (0, 2)
    done, calls, _ = machine("fly")
    assert (done.returncode, calls) == (2, [])
    assert "unknown stage 'fly'" in done.stderr


def test_without_a_device_nothing_runs(machine):
    done, calls, _ = machine(NO_DEVICE="1")
    assert (done.returncode, calls) == (1, [])
