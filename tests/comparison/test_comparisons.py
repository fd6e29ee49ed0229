"""Models beside models: summaries by their definitions, chance that bounds, sequences, files and pages."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest
import torch
from torch import nn

import pyscale as ps
from pyscale.comparison.summaries import aligned, best_match
from tests.comparison.networks import InPlaceNet, mlp, pictures, vectors


@pytest.fixture(scope="module")
def found():
    models = {"shallow": mlp(4, 8, 3, seed=1), "deep": mlp(4, 8, 8, 8, 3, seed=2), "twin": mlp(4, 8, 3, seed=3)}
    return ps.compare_many(models, vectors(16, 16, 12), permutations=9, progress=False)


def invented(values, rows, columns, **arrays):
    values = np.asarray(values, dtype=float)
    filled = {name: np.zeros_like(values) for name in ("stderr", "chance", "zscores")}
    meta = {"metric": "cka", "estimator": "unbiased", "kernel": "linear"}
    return ps.Comparison(values=values, rows=rows, columns=columns, pvalues=None, meta=meta, **{**filled, **arrays})


def test_layers_of_one_name_correspond_wherever_they_are():
    c = invented([[0.1, 0.7], [0.9, 0.2]], ["a", "b"], ["b", "a"], chance=np.array([[0, 0.25], [0.75, 0]]))
    assert aligned(c) == (pytest.approx(0.8), 0.5)


def test_layers_of_other_names_correspond_by_kind_and_relative_depth():
    rows = ["0.conv", "0.relu", "1.conv", "1.relu"]
    columns = ["0.conv", "0.relu", "1.conv", "1.relu", "2.conv", "2.relu", "3.conv", "3.relu"]
    values = np.arange(32).reshape(4, 8) / 32
    # of four convolutions at 1/8, 3/8, 5/8, 7/8 the first is nearest to 1/4, the earlier of two; the third to 3/4
    expected = np.mean([values[0, 0], values[1, 1], values[2, 4], values[3, 5]])
    assert aligned(invented(values, rows, columns)).value == pytest.approx(expected)


def test_undefined_layers_are_left_out():
    nan = np.nan
    c = invented([[0.5, nan], [nan, nan]], ["a", "b"], ["a", "b"])
    assert (aligned(c).value, best_match(c).value) == (0.5, 0.5)
    nothing = invented([[nan]], ["a"], ["a"])
    assert np.isnan(aligned(nothing).value)
    assert np.isnan(best_match(nothing).value)


def test_best_matches_go_one_way(found):
    for (x, y), c in found.items():
        i, j = found.names.index(x), found.names.index(y)
        assert found.best_match[i, j] == pytest.approx(np.mean([max(row) for row in c.values]))
    assert found.best_match[0, 1] != pytest.approx(found.best_match[1, 0])
    assert (found.best_match >= found.aligned - 1e-12).all()
    np.testing.assert_allclose(np.diag(found.aligned), 1)


def test_the_best_of_unrelated_layers_stays_below_its_chance_and_near_it():
    best, bounds = [], []
    for seed in range(40):
        torch.manual_seed(seed)
        x = [nn.Linear(64, 32) for _ in range(2)]
        y = [nn.Linear(64, 32) for _ in range(12)]  # each of its own samples: independent
        xs, ys = ({str(i): layer(torch.randn(24, 64)).detach() for i, layer in enumerate(side)} for side in (x, y))
        metric = ps.metrics.MinibatchCKA().update(xs, ys)
        s = metric.compute()
        c = invented(s.values, list(xs), list(ys), zscores=s.zscores)
        level = best_match(c)
        best.append(level.value)
        bounds.append(level.chance)
    # of 12 independent normal variables the greatest is 1.63 deviations on average, the bound 2.23
    assert 0.55 < np.mean(best) / np.mean(bounds) < 1


def test_the_chance_of_a_best_match_is_known_for_unbiased_cka_only():
    models = {"a": mlp(4, 8, 3, seed=1), "b": mlp(4, 8, 3, seed=2)}
    exact = ps.compare_many(models, vectors(32, 32), estimator="biased", progress=False)
    assert np.isnan(exact.best_match_chance).all()
    assert (exact.aligned_chance > 0).all()
    unbiased = ps.compare_many(models, vectors(32, 32), mode="exact", progress=False)
    n = 64
    expected = np.sqrt(2 / (n * (n - 3))) * np.sqrt(2 * np.log(3))  # the permutation deviation; three layers
    np.testing.assert_allclose(unbiased.best_match_chance, expected, rtol=1e-6)


def test_a_sequence_follows_every_layer():
    torch.manual_seed(0)
    models = {step: mlp(4, 8, 8, 3, seed=step) for step in (0, 10, 50)}
    found = ps.compare_many(models, vectors(16, 16), progress=False)
    followed = found.trajectory()
    assert (followed.steps, followed.times) == (["0", "10", "50"], [0, 10, 50])
    assert followed.layers == ["0", "1", "2", "3", "4"]
    for k, step in enumerate(followed.steps):
        for name, other in (("last", "50"), ("first", "0"), ("previous", followed.steps[k - 1])):
            if (name, k) == ("previous", 0):
                assert np.isnan(followed.to("previous")[0]).all()
                continue
            expected = [found[step, other].values[i, i] for i in range(5)]
            assert followed.to(name)[k].tolist() == expected
    np.testing.assert_allclose(followed.to("last")[-1], 1)
    assert (followed.chance[np.isfinite(followed.values)] == 0).all()
    frame = followed.to_pandas()
    assert (
        frame.query("reference == 'first' and step == '10' and layer == '2'").value.item() == followed.to("first")[1, 2]
    )
    with pytest.raises(ValueError, match="reference is 'next'; expected one of"):
        followed.to("next")


def test_other_layers_make_no_sequence(found):
    with pytest.raises(ValueError, match="'deep' has other layers than 'shallow'"):
        found.trajectory()
    with pytest.raises(ValueError, match="at least two models"):
        ps.compare_many({"a": mlp(4, 3)}, vectors(8), progress=False).trajectory()


def test_names_are_looked_up_as_they_were_given():
    models = {step: InPlaceNet(6, seed=step) for step in (1, 200)}
    result = ps.compare_many(models, pictures(8, 8), progress=False)
    assert result[1, 200] == result["1", "200"]
    assert (1, 200) in result
    assert result.get((1, 3)) is None
    with pytest.raises(KeyError, match="'3' is none of the models '1', '200'"):
        result[1, 3]
    for one in ("1", 1):
        with pytest.raises(KeyError, match="is not two models' names, such as \\('1', '200'\\)"):
            result[one]


def test_tables_hold_every_number(found):
    frame = found.to_pandas()
    assert len(frame) == 9
    row = frame.query("model_x == 'deep' and model_y == 'twin'").iloc[0]
    assert (row.aligned, row.best_match_chance) == (found.aligned[1, 2], found.best_match_chance[1, 2])
    layers = found.to_pandas(layers=True)
    assert len(layers) == sum(c.values.size for c in found.values())
    cell = layers.query("model_x == 'deep' and model_y == 'shallow' and row == '4' and column == '2'").iloc[0]
    assert cell.value == found["deep", "shallow"].values[4, 2]
    dataset = found.to_xarray()
    part = dataset.pvalues.values[(dataset.row_model == "deep").values][:, (dataset.column_model == "twin").values]
    np.testing.assert_array_equal(part, found["deep", "twin"].pvalues)
    np.testing.assert_array_equal(dataset.best_match.sel(model_x="deep"), found.best_match[1])


def test_saved_ones_are_equal_when_loaded(found, tmp_path):
    found.save(tmp_path / "c.npz")
    loaded = ps.Comparisons.load(tmp_path / "c.npz")
    assert loaded == found
    assert loaded["twin", "deep"] == found["twin", "deep"]
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


def test_damage_is_an_error_or_without_effect(found, tmp_path):
    path = tmp_path / "c.npz"
    found.save(path)
    data = path.read_bytes()
    refused = 0
    for place in random.Random(0).sample(range(len(data)), 80):
        path.write_bytes(data[:place])
        with pytest.raises(ValueError, match=r"c\.npz is damaged"):
            ps.Comparisons.load(path)
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            loaded = ps.Comparisons.load(path)
        except ValueError:
            refused += 1
        else:
            assert loaded == found
    assert refused > 40  # a zip file checks what it holds, and not all of its directory


def test_files_that_lie_are_refused(found, tmp_path):
    path = tmp_path / "c.npz"
    found.save(path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(arrays.pop("header").tobytes())

    def stored(changed, arrays):
        np.savez(path, header=np.frombuffer(json.dumps(changed).encode(), dtype=np.uint8), **arrays)
        return path

    for changed, message in (
        ({**header, "pairs": header["pairs"][:-1]}, "no comparison of 'twin' with 'twin'"),
        ({**header, "names": "abc"}, "names are no list"),
        ({**header, "pairs": [1]}, "pairs are no list of objects"),
        ({**header, "pairs": [{}]}, "lacks the name"),
        ({**header, "format": "pyscale comparison"}, "is no comparisons"),
        ({**header, "version": 2}, "format version 2"),
    ):
        with pytest.raises(ValueError, match=message):
            ps.Comparisons.load(stored(changed, arrays))
    with pytest.raises(ValueError, match="values is missing"):
        ps.Comparisons.load(stored(header, {k: v for k, v in arrays.items() if k != "0/values"}))
    for pair in header["pairs"]:
        pair["columns"] = pair["columns"] if pair["x"] == pair["y"] else pair["columns"][::-1]
    with pytest.raises(ValueError, match="other layers of 'deep'"):
        ps.Comparisons.load(stored(header, arrays))


def test_pictures_show_every_number_and_chance(found):
    figure = found.plot()
    maps = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title().split("\n")[1] for ax in maps] == ["corresponding layers", "best match"]
    for ax, values in zip(maps, (found.aligned, found.best_match), strict=True):
        assert [text.get_text() for text in ax.texts] == [f"{value:.2f}" for value in values.ravel()]
        np.testing.assert_array_equal(ax.images[0].get_array(), values)
    labels = [ax.get_ylabel() for ax in figure.axes if ax.get_ylabel().startswith("chance")]
    assert labels[0] == "chance 0.00"
    assert labels[1].startswith("chance at most 0.")


def test_a_page_needs_nothing_else_and_shows_all_pairs(found, tmp_path):
    names = {"shallow": "<b>a", "deep": "b&c", "twin": "d"}
    held = {(names[x], names[y]): c for (x, y), c in found.held.items()}
    renamed = ps.Comparisons(list(names.values()), held)
    renamed.to_html(tmp_path / "c.html")
    page = (tmp_path / "c.html").read_text()
    assert "<b>a" not in page
    assert page.count("<figure>") == 6
    assert page.count("data:image/png;base64,") == 7
    assert not re.search(r"https?:|src=\"(?!data:)|href=", page)
    assert f"{found.best_match[1, 2]:.4g}" in page
    assert "Along the sequence" not in page


def test_a_page_of_a_sequence_shows_it(tmp_path):
    models = {step: InPlaceNet(6, seed=step) for step in (1, 2, 5)}
    ps.compare_many(models, pictures(8, 8), progress=False).to_html(tmp_path / "c.html")
    assert "Along the sequence" in (tmp_path / "c.html").read_text()
