"""``pyscale demo`` as far as the command itself goes; the full demo is a slow test of the studies."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pyscale.cli.program import program
from pyscale.studies import run
from tests.studies.miniature import miniature_study


@pytest.fixture
def miniature_demo(monkeypatch):
    """The demo command with the miniature in place of its study; what it was asked for."""
    asked = {}

    def demo(out, *, seed, quick, resume, progress, on_step):
        asked.update(seed=seed, quick=quick, resume=resume, progress=progress)
        return run(miniature_study(metrics=("cka",), variants=()), out, progress=progress, on_step=on_step)

    monkeypatch.setattr("pyscale.studies.demo", demo)
    return asked


def test_the_demo_reports_steps_table_findings_and_report(miniature_demo, tmp_path):
    result = CliRunner().invoke(program, ["demo", "--out", str(tmp_path), "--seed", "3", "--quick", "--fresh"])
    assert result.exit_code == 0, result.output
    assert miniature_demo == {"seed": 3, "quick": True, "resume": False, "progress": False}
    assert "[ 1/5] train baseline" in result.stderr
    assert "compare baseline-seed1 with the baseline by CKA" in result.stderr
    assert "baseline-seed1" in result.stdout
    assert "held-out pictures correctly" in result.stdout
    assert "report.html" in result.stdout
    assert (tmp_path / "report.html").exists()

    again = CliRunner().invoke(program, ["demo", "--out", str(tmp_path), "--json"])
    printed = json.loads(again.stdout)
    document = json.loads((tmp_path / "study.json").read_text())
    assert printed["report"] == str(tmp_path / "report.html")
    assert printed["accuracy"] == {net["name"]: net["accuracy"]["value"] for net in document["networks"]}
    assert printed["findings"] == [finding["text"] for finding in document["findings"]]
    assert document["provenance"]["taken_up"] == ["baseline", "baseline-seed1"]
