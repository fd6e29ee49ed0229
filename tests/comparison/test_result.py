"""The result: what it says of itself, and what it becomes in other hands."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import pyscale as ps
from tests.comparison.networks import mlp, vectors


@pytest.fixture(scope="module")
def result():
    return ps.compare(mlp(4, 8, 3, seed=1), mlp(4, 8, 6, 3, seed=2), vectors(16, 16), permutations=9, progress=False)


def test_provenance_is_complete_and_json(result):
    meta = json.loads(json.dumps(result.meta))
    assert meta == result.meta
    expected = {
        "metric": "cka",
        "mode": "minibatch",
        "kernel": "linear",
        "estimator": "unbiased",
        "features": "flatten",
        "permutations": 9,
        "seed": 0,
        "model_x": "Sequential",
        "samples": 32,
        "batches": 2,
        "skipped_batches": 0,
        "dtype": ["float32"],
        "device": "cpu",
        "pyscale": ps.__version__,
        "torch": torch.__version__,
    }
    assert expected.items() <= meta.items()
    assert {"date", "isa", "threads", "bandwidth", "max_batches", "skipped_layers"} <= meta.keys()


def test_repr_is_short_and_says_what_it_is(result):
    text = repr(result)
    assert "unbiased linear CKA" in text
    assert "Sequential 3 x 5 Sequential" in text
    assert "32 samples" in text
    assert len(text) < 160


def test_arrays_of_other_shapes_are_refused(result):
    with pytest.raises(ValueError, match=r"stderr has shape \(2, 2\); expected \(3, 5\)"):
        dataclasses.replace(result, stderr=np.zeros((2, 2)))


def test_a_result_cannot_be_reassigned(result):
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.values = np.zeros((3, 5))


def test_equality_takes_nan_for_equal(result):
    values = result.values.copy()
    values[0, 0] = np.nan
    one, two = (dataclasses.replace(result, values=values.copy()) for _ in range(2))
    assert one == two
    assert one != result
    assert dataclasses.replace(result, pvalues=None) != result
    assert result != 3


def test_pandas(result):
    table = result.to_pandas()
    assert list(table.index) == result.rows
    assert list(table.columns) == result.columns
    assert table.loc["2", "1"] == result.values[2, 1]
    long = result.to_pandas(long=True)
    assert list(long.columns) == ["row", "column", "value", "stderr", "chance", "zscore", "pvalue"]
    assert len(long) == 15
    line = long[(long["row"] == "2") & (long["column"] == "1")].iloc[0]
    assert (line["value"], line["pvalue"]) == (result.values[2, 1], result.pvalues[2, 1])
    assert isinstance(table, pd.DataFrame)


def test_xarray(result):
    data = result.to_xarray()
    assert isinstance(data, xr.Dataset)
    assert float(data["values"].sel(row="2", column="1")) == result.values[2, 1]
    assert set(data.data_vars) == {"values", "stderr", "chance", "zscores", "pvalues"}
    assert data.attrs["metric"] == "cka"
    table = data["stderr"].to_pandas()
    np.testing.assert_array_equal(table.to_numpy(), result.stderr)


@pytest.mark.parametrize(
    ("library", "use"),
    [
        ("pandas", lambda c, folder: c.to_pandas()),
        ("xarray", lambda c, folder: c.to_xarray()),
        ("matplotlib", lambda c, folder: c.plot()),
        ("matplotlib", lambda c, folder: c.to_html(folder / "page.html")),
    ],
)
def test_a_missing_library_names_the_extra(result, library, use, monkeypatch, tmp_path):
    for name in list(sys.modules):
        if name.partition(".")[0] == library:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"{library}: pip install 'pyscale\[report\]'"):
        use(result, tmp_path)
    assert not list(tmp_path.iterdir())
