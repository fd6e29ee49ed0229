"""The commands on compression rehearsed: rows that repeat their files, and trainings that are taken up again."""

from __future__ import annotations

import pytest
import torch

from benchmarks import deep_compression, page, tuning_rate
from benchmarks.provenance import read_rows
from pyscale.compress import load
from pyscale.studies import PLANS


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    before, folder = torch.get_num_threads(), tmp_path_factory.mktemp("rehearsed")
    arguments = ["lenet_300_100", "--quick", "--out", str(folder / "runs"), "--results", str(folder)]
    assert deep_compression.main([*arguments, "--seeds", "0", "1"]) == 0
    tried = ["--held-out", "359", "--amount", '{"ip*": 0.5}', "--tuning", "lr=0.002", "--name", "held out"]
    assert deep_compression.main([*arguments, "--seeds", "3", *tried]) == 0
    torch.set_num_threads(before)
    return folder


def test_rows_of_networks_are_those_of_their_files(rehearsed):
    _, rows = read_rows(rehearsed / "deep_compression.csv")
    assert [(row["seed"], row["pictures"], row["pruned"]) for row in rows] == [
        ("0", "test", "92.5 %"),
        ("1", "test", "92.5 %"),
        ("3", "held-out training", "50.0 %"),
    ]
    assert [row["tuning"] for row in rows] == ["1 × 1 at 0.001", "1 × 1 at 0.001", "1 × 1 at 0.002"]
    assert [row["trained_on"] for row in rows] == ["1438", "1438", "1079"]
    for row in rows[:2]:
        stages = rehearsed / "runs" / "digits" / "lenet_300_100" / f"seed{row['seed']}"
        assert int(row["bytes_on_disk"]) == (stages / "coded.psz").stat().st_size
        network = load(stages / "trained.psz").state_dict
        assert int(row["bytes_before"]) == 4 * sum(tensor.numel() for tensor in network.values())
        rates = {
            name: int(row["bytes_before"]) / (stages / f"{name}.psz").stat().st_size
            for name in ("pruned", "shared", "coded")
        }
        columns = {"pruned": "after_pruning", "shared": "after_sharing", "coded": "times_smaller"}
        assert {name: row[columns[name]] for name in rates} == {name: f"{rate:.1f}" for name, rate in rates.items()}
        before, after = (float(row[name].split()[0]) for name in ("accuracy_before", "accuracy_after"))
        assert float(row["points_lost"]) == pytest.approx(before - after, abs=0.011)


def test_rows_of_layers_are_those_of_the_first_seed_and_add_up(rehearsed):
    _, rows = read_rows(rehearsed / "deep_compression_layers.csv")
    assert [(row["seed"], row["layer"]) for row in rows] == [
        ("0", layer) for layer in ("ip1", "ip2", "ip3", "biases and norms")
    ]
    stages = rehearsed / "runs" / "digits" / "lenet_300_100" / "seed0"
    for name in ("pruned", "shared", "coded"):
        read = load(stages / f"{name}.psz")
        assert sum(int(row[f"bytes_{name}"]) for row in rows) == sum(t.bytes_stored for t in read.report.tensors)
    assert sum(int(row["weights"]) for row in rows) == sum(t.numel() for t in read.state_dict.values())
    weight = read.state_dict["ip1.weight"]
    assert rows[0]["kept"] == f"{100 * float((weight != 0).double().mean()):.1f} %"
    values = len(weight.unique())  # zero, which fills gaps that are too wide, may be one of those that have a code
    assert values - 1 <= 2 ** int(rows[0]["weight_bits"]) < 2 * values


def test_trainings_are_taken_up(rehearsed):
    weights = {path: path.stat().st_mtime_ns for path in rehearsed.rglob("weights.pt")}
    assert weights
    arguments = ["lenet_300_100", "--quick", "--out", str(rehearsed / "runs"), "--results", str(rehearsed / "again")]
    assert deep_compression.main([*arguments, "--seeds", "0", "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in rehearsed.rglob("weights.pt")} == weights


def test_a_seed_and_a_layer_are_cases_of_their_own(rehearsed):
    assert len(page.newest(rehearsed / "deep_compression.csv")) == 3
    assert len(page.newest(rehearsed / "deep_compression_layers.csv")) == 4


def test_published_rates_are_of_plans():
    assert set(deep_compression.PUBLISHED) <= set(PLANS)


def test_the_rate_of_fine_tuning_rehearsed(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning_rate, "PASSES", 1)
    monkeypatch.setattr(tuning_rate, "SHARES", {"1": 1.0, "1/10": 0.1})
    out = tmp_path / "runs"
    assert tuning_rate.main(["--seeds", "2", "--epochs", "1", "--out", str(out), "--results", str(tmp_path)]) == 0
    _, rows = read_rows(tmp_path / "tuning_rate.csv")
    assert [(row["pruned"], row["share_of_rate"]) for row in rows] == [
        (f"{amount} % of its {way}", share)
        for amount, way in ((75, "channels"), (85, "weights"))
        for share in ("1", "1/10")
    ]
    assert all(float(row["low"]) <= float(row["value"]) <= float(row["high"]) for row in rows)
    assert {(row["seeds"], row["trained_on"], row["held_out"]) for row in rows} == {("2", "1078", "360")}
    assert len(list(out.glob("seed*/*/weights.pt"))) == 2 * (1 + 2 * 2)
