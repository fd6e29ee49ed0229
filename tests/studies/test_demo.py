"""The demo as a stranger runs it: whole, trained for real."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_trains_compares_and_reports(tmp_path):
    command = [sys.executable, "-m", "pyscale", "demo", "--out", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    document = json.loads((tmp_path / "study.json").read_text())
    networks = {network["name"]: network for network in document["networks"]}

    assert list(networks) == ["baseline", "baseline-seed1", "deeper", "wider", "higher-resolution", "compound"]
    assert printed["accuracy"]["baseline"] == networks["baseline"]["accuracy"]["value"]
    assert networks["baseline"]["accuracy"]["value"] >= 0.97
    assert networks["baseline"]["accuracy"]["total"] == 359
    for name in ("deeper", "wider", "higher-resolution", "compound"):
        assert networks[name]["accuracy"]["value"] >= 0.95
        assert 1.8 <= networks[name]["ratio"]["macs"] <= 2.2

    similarities = {(s["network"], s["metric"]): s for s in document["similarities"]}
    assert set(similarities) == {
        (name, metric) for name in networks if name != "baseline" for metric in ("cka", "cca_r2")
    }
    twin = similarities["baseline-seed1", "cka"]
    assert twin["rows"] == twin["columns"]
    key = [twin["values"][i][i] for i in twin["key_rows"]]
    assert min(key) > 0.6, "two seeds of a network this good resemble each other"
    assert all(z > 10 for z in (twin["zscores"][i][i] for i in twin["key_rows"]))
    assert all(0 < c < 0.5 for row in similarities["wider", "cca_r2"]["chance"] for c in row)
    assert (tmp_path / "report.html").stat().st_size > 500_000
