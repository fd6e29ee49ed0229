"""The rules of the house: imports never point up, files stay small, rooms are named for what lives in them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pyscale"

# A room may import those named here, and itself.
MAY_IMPORT = {
    "distributed": set(),
    "ops": {"_native"},
    "metrics": {"distributed", "ops"},
    "stores": set(),
    "comparison": {"distributed", "ops", "metrics", "stores"},
    "compress": set(),
    "models": set(),
    "train": {"distributed"},
    "studies": {"distributed", "ops", "metrics", "stores", "comparison", "compress", "models", "train"},
    "cli": {"distributed", "ops", "metrics", "stores", "comparison", "compress", "models", "train", "studies"},
}
MOST_LINES = 400
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def imported_rooms(path):
    """Every room of the package that a file imports, wherever in the file the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "pyscale" and len(parts) > 1 and (PACKAGE / parts[1]).is_dir():
                yield parts[1]
            elif parts[:2] == ["pyscale", "_native"]:
                yield "_native"


def test_every_room_has_its_floor():
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_never_point_up(path):
    room = path.relative_to(PACKAGE).parts[0]
    assert set(imported_rooms(path)) <= MAY_IMPORT[room] | {room}


def test_the_native_module_is_used_by_ops_alone():
    users = {path.relative_to(PACKAGE).parts[0] for path in SOURCES if "_native" in set(imported_rooms(path))}
    assert users == {"ops"}


def test_the_core_knows_neither_python_nor_torch():
    for path in (ROOT / "csrc").rglob("*.*"):
        if path.parent.name != "bindings":
            assert not re.search(r"#include\s*[<\"](pybind11|Python\.h|torch|ATen|c10)", path.read_text()), path


def test_files_stay_small():
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    files += [path for path in (ROOT / "csrc").rglob("*.*") if path.is_file()]
    long = {str(path.relative_to(ROOT)): n for path in files if (n := len(path.read_text().splitlines())) > MOST_LINES}
    assert not long


def test_no_room_is_a_drawer_for_everything():
    drawers = {"util", "utils", "helper", "helpers", "common", "misc"}
    assert not [path for path in [*PACKAGE.rglob("*"), *(ROOT / "csrc").rglob("*")] if path.stem in drawers]


def test_no_module_bears_a_public_functions_name():
    import pyscale

    functions = {name for name in pyscale.__all__ if callable(getattr(pyscale, name))}
    for room in ("compress", "models", "train"):
        module = getattr(pyscale, room)
        functions |= {name for name in module.__all__ if callable(getattr(module, name))}
    assert not [path for path in SOURCES if path.stem in functions]


def test_public_names_are_documented():
    import pyscale

    rooms = (
        pyscale,
        pyscale.ops,
        pyscale.metrics,
        pyscale.comparison,
        pyscale.distributed,
        pyscale.compress,
        pyscale.models,
        pyscale.stores,
        pyscale.train,
        pyscale.studies,
    )
    undocumented = [
        f"{room.__name__}.{name}" for room in rooms for name in room.__all__ if not (getattr(room, name).__doc__ or "")
    ]
    assert not undocumented


def test_importing_pyscale_stays_cheap():
    """Heavy libraries are imported where they are used, so none is there after a plain import."""
    import subprocess
    import sys

    code = (
        "import torch, sys; before = set(sys.modules); import pyscale; pyscale.cka; pyscale.compare;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert not loaded & {
        "lightning",
        "matplotlib",
        "pandas",
        "scipy",
        "sklearn",
        "typer",
        "rich",
        "xarray",
        "PIL",
        "zarr",
        "numcodecs",
        "h5py",
    }
