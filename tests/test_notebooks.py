"""The notebooks, executed from top to bottom, on studies shrunk to a minute."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
STUDIES = {"mobilenet": "mobilenet", "resnet": "resnet", "scalingresults": "efficientnet"}


def shrunk(study):
    """Return a study with one epoch, few variants, and one share of one resource."""
    study = {**study, "epochs": 1, "twin_seeds": study["twin_seeds"][:1], "variants": study["variants"][:1]}
    if "compare_weights" in study:
        asked = study["compare_weights"]
        study["compare_weights"] = {**asked, "others": asked["others"][:1]}
    if "equal_budget" in study:
        study["equal_budget"] = {"shares": [0.5], "resources": ["bytes"], "epochs": 1, "sharing_epochs": 1}
    return study


def test_there_is_one_for_every_study():
    assert {path.stem for path in NOTEBOOKS} == set(STUDIES)
    assert {path.stem for path in (ROOT / "studies").glob("*.yaml")} == set(STUDIES.values())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_kept(path):
    import nbformat

    assert not [cell for cell in nbformat.read(path, 4).cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path):
    import nbclient
    import nbformat

    name = STUDIES[path.stem]
    (tmp_path / "studies").mkdir()
    study = yaml.safe_load((ROOT / "studies" / f"{name}.yaml").read_text())
    (tmp_path / "studies" / f"{name}.yaml").write_text(yaml.safe_dump(shrunk(study), allow_unicode=True))
    book = nbformat.read(path, 4)
    nbclient.NotebookClient(book, timeout=900, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert all(cell.outputs for cell in book.cells if cell.cell_type == "code" and "import" not in cell.source[:30])
    assert (tmp_path / "outputs" / name / "report.html").stat().st_size > 10_000
