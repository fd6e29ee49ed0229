"""The rules of the house: imports never point up, files stay small, rooms are named for what lives in them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
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
IMPORTED_AS = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}
BROUGHT_ALONG = {"markupsafe", "typing_extensions"}  # by Jinja2 and by torch
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


def test_every_kernel_waits_for_those_before_it():
    """Launches overlap on the device, so a kernel whose first call is another would read what is not yet written."""
    kernels = 0
    for path in (ROOT / "csrc" / "cuda").iterdir():
        for body in path.read_text().split("__global__ void")[1:]:
            kernels += 1
            assert body.split(") {\n", 1)[1].startswith("  follow_stream();\n"), f"{path.name}: {body[:120]}"
    assert kernels > 10


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


def test_extras_promise_what_the_code_imports():
    tomllib = pytest.importorskip("tomllib", reason="in Python's library from 3.11 on")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: modules_of(given) for name, given in project["optional-dependencies"].items()}
    everything = modules_of(project["dependencies"]).union(*extras.values())
    assert everything == imported_libraries(SOURCES)
    stores = imported_libraries(path for path in SOURCES if path.relative_to(PACKAGE).parts[0] == "stores")
    assert stores == extras["store"] | {"numpy", "torch"}


def modules_of(requirements):
    """The modules that distributions are imported as."""
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in requirements} - {"pyscale"}
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}


def imported_libraries(paths):
    """Libraries of others that files import, by a statement or by a function whose name begins with ``import_``."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "").startswith("import_") and node.args:
                found |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names - {"pyscale"} - BROUGHT_ALONG


def test_importing_pyscale_stays_cheap():
    """Heavy libraries are imported where they are used, so none is there after a plain import."""
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
