"""``pytest benchmarks`` rehearsed with tiny problems: every line runs, every case has its rows."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.conftest import folder_for_rows, has_rows
from benchmarks.provenance import RESULTS, append_rows, read_rows
from benchmarks.rivals import RIVALS

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("gram", "hsic", "functions", "models")


def rehearsal(*options):
    command = [sys.executable, "-m", "pytest", "--quick", "--benchmark-only", "-q", "-p", "no:cacheprovider", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    """Return what a rehearsal printed and the folder of its rows."""
    folder = tmp_path_factory.mktemp("rows")
    done = rehearsal(*(f"benchmarks/test_{table}.py" for table in TABLES), "--results", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, folder


def rows_of(folder, table):
    return read_rows(folder / f"{table}.csv")[1]


def test_every_table_gets_its_rows(rehearsed):
    _, folder = rehearsed
    assert {path.stem for path in folder.iterdir()} == {*TABLES, "ceilings"}
    for table in TABLES:
        rows = rows_of(folder, table)
        assert all(float(row["median_ms"]) > 0 and row["commit"] and row["device"] for row in rows)
        assert {row["provider"] for row in rows} > {"pyscale"}, "alone in its race"


def test_operations_become_shares_of_the_peak(rehearsed):
    for row in rows_of(rehearsed[1], "gram"):
        assert (row["of_peak"] == "") == (row["op"] == "centring")
        assert not row["of_peak"] or 0 <= float(row["of_peak"]) < 1


def test_errors_are_on_record(rehearsed):
    """What large means cost the usual lines is seen even in tiny problems."""
    shifted = {
        row["provider"]: float(row["error"]) for row in rows_of(rehearsed[1], "functions") if row["mean"] == "10σ"
    }
    assert shifted["pyscale"] < 1e-6
    assert shifted["numpy textbook"] > 1e-4


def test_missing_rivals_are_named(rehearsed):
    printed, folder = rehearsed
    providers = {row["provider"].partition(" ")[0] for table in TABLES for row in rows_of(folder, table)}
    for name, imported in RIVALS.items():
        there = find_spec(imported.partition(".")[0]) is not None
        assert (name in providers) == there
        assert (f"not measured: {name}, which is not installed" in printed) == (not there)


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ({"quick": True, "results": None}, None),
        ({"quick": False, "results": None}, RESULTS),
        ({"quick": True, "results": Path("elsewhere")}, Path("elsewhere")),
        ({"quick": False, "results": Path("elsewhere")}, Path("elsewhere")),
    ],
)
def test_a_rehearsal_leaves_the_results_alone(options, folder):
    assert folder_for_rows(SimpleNamespace(getoption=options.__getitem__)) == folder


@pytest.mark.parametrize(
    ("changed", "known"),
    [
        ({}, True),
        ({"n": 9}, False),
        ({"commit": "b"}, False),
        ({"commit": "a+changes"}, False),
        ({"device": "x"}, False),
    ],
    ids=str,
)
def test_what_this_commit_and_machine_have_on_record_is_known(tmp_path, changed, known):
    origin = {"commit": "a", "device": "cpu"}
    append_rows("speed", [{"op": "gram", "n": 8, "provider": "pyscale", **origin}], tmp_path)
    wanted = {"op": "gram", "n": 8, **origin} | changed
    case = {name: wanted.pop(name) for name in ("op", "n")}
    assert has_rows("speed", case, wanted, tmp_path) == known
    assert not has_rows("other", case, wanted, tmp_path)
