"""The layer-matching command rehearsed: rows for every similarity, and trainings that are taken up again."""

from __future__ import annotations

import pytest
import torch

from benchmarks import layer_matching, plain_trainings
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
    assert sorted((row["features"], row["similarity"]) for row in rows) == sorted(
        (features, layer_matching.LABELS[name]) for features in ("flatten", "pool") for name in METRICS
    )
    for row in rows:
        found = [int(layer) for layer in row["by_layer"].split()]
        layers = 9 if row["features"] == "flatten" else 8  # without the layer that is its predecessor's channel means
        assert (row["trials"], row["samples"], len(found)) == (str(2 * layers), "60", layers)
        assert float(row["value"]) == pytest.approx(100 * sum(found) / (2 * layers), abs=0.06)
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
        assert row["commit"]
    assert "flatten  CCA, mean ρ" in capsys.readouterr().out


def test_weights_that_are_read_back_give_the_rows_they_were_written_for(tmp_path):
    options = ["--quick", "--out", str(tmp_path / "runs"), "--features", "pool"]
    first, again = tmp_path / "first", tmp_path / "again"
    assert layer_matching.main([*options, "--results", str(first), "--weights", str(tmp_path / "weights")]) == 0
    files = list(map(str, (tmp_path / "weights").iterdir()))
    assert layer_matching.main([*options, "--results", str(again), "--from-weights", *files]) == 0
    tables = [read_rows(folder / "layer_matching.csv")[1] for folder in (first, again)]
    for one, other in zip(*tables, strict=True):
        assert one | {"date": ""} == other | {"date": ""}


def test_what_fails_takes_no_other_similarity_along(tmp_path, monkeypatch, capsys):
    def fail_of_memory(networks, data, *, measures, **options):
        if "svcca" in measures:
            raise torch.OutOfMemoryError("too much")
        return match_layers(networks, data, measures=measures, **options)

    match_layers = layer_matching.match_layers
    monkeypatch.setattr(layer_matching, "match_layers", fail_of_memory)
    arguments = ["--quick", "--out", str(tmp_path / "runs"), "--features", "pool", "--results", str(tmp_path)]
    assert layer_matching.main(arguments) == 1
    labels = [row["similarity"] for row in read_rows(tmp_path / "layer_matching.csv")[1]]
    assert "linear CKA, unbiased" in labels
    assert "SVCCA, R²" not in labels
    assert "too much" in capsys.readouterr().err


@pytest.mark.slow
def test_rehearsal_side_by_side_in_a_given_time(tmp_path, capsys):
    options = ["--quick", "--out", str(tmp_path / "runs"), "--features", "pool", "--results", str(tmp_path)]
    assert layer_matching.main([*options, "--seconds", "300", "--processes", "2"]) == 0
    assert len(read_rows(tmp_path / "layer_matching.csv")[1]) == len(METRICS)
    assert "training for 1\n" in capsys.readouterr().out  # as many as --quick allows


def test_pictures_are_decoded_once_and_stay_what_they_are(tmp_path):
    image = pytest.importorskip("PIL.Image")
    rng = torch.Generator().manual_seed(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for k in range(3):
                pixels = torch.randint(0, 256, (9, 9, 3), generator=rng, dtype=torch.uint8)
                image.fromarray(pixels.numpy()).save(tmp_path / "pictures" / split / name / f"{k}.png")
    plan = plain_trainings.Plan(str(tmp_path / "pictures"), "pets", 2, tmp_path / "runs")
    kept = plain_trainings.decoded(plan)
    direct, cached = plain_trainings.load(plan), plain_trainings.load(kept)
    assert kept.pictures != plan.pictures
    assert (cached.mean, cached.std, cached.recipe, cached.name) == (direct.mean, direct.std, direct.recipe, "pets")
    for split in ("train", "test"):
        for one, other in zip(direct.loader(split), cached.loader(split), strict=True):
            assert torch.equal(one[0], other[0])
            assert torch.equal(one[1], other[1])


def test_every_published_value_is_of_a_similarity():
    assert set(layer_matching.PUBLISHED) <= set(layer_matching.LABELS) == set(METRICS)
