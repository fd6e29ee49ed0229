"""The layer-matching command rehearsed: rows for every similarity, and trainings that are taken up again."""

from __future__ import annotations

import pytest
import torch

from benchmarks import layer_matching
from benchmarks.provenance import read_rows
from pyscale.studies.matching.tables import METRICS


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_rehearsal(tmp_path, capsys):
    arguments = ["--quick", "--out", str(tmp_path / "runs"), "--results", str(tmp_path)]
    assert layer_matching.main([*arguments, "--only-train", "1"]) == 0
    weights = list(tmp_path.glob("runs/*/seed1/weights.pt"))
    assert len(weights) == 1
    assert not (tmp_path / "layer_matching.csv").exists()
    trained_at = weights[0].stat().st_mtime_ns
    assert layer_matching.main(arguments) == 0
    assert weights[0].stat().st_mtime_ns == trained_at
    _, rows = read_rows(tmp_path / "layer_matching.csv")
    assert [(row["features"], row["similarity"]) for row in rows] == [
        (features, layer_matching.LABELS[name]) for features in ("flatten", "pool") for name in METRICS
    ]
    for row in rows:
        found = [int(layer) for layer in row["by_layer"].split()]
        layers = 9 if row["features"] == "flatten" else 8  # without the layer that is its predecessor's channel means
        assert (row["trials"], row["samples"], len(found)) == (str(2 * layers), "60", layers)
        assert float(row["value"]) == pytest.approx(100 * sum(found) / (2 * layers), abs=0.06)
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
        assert row["commit"]
    assert "flatten  CCA, mean ρ" in capsys.readouterr().out


def test_every_published_value_is_of_a_similarity():
    assert set(layer_matching.PUBLISHED) <= set(layer_matching.LABELS) == set(METRICS)
