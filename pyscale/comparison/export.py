"""Results as tables and labelled arrays of other libraries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from pyscale.comparison.dependencies import import_report_dependency

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from pyscale.comparison.comparisons import Comparisons
    from pyscale.comparison.result import Comparison

SUMMARIES = ("aligned", "aligned_chance", "best_match", "best_match_chance")

_SINGULAR = {"values": "value", "zscores": "zscore", "pvalues": "pvalue"}


def table(comparison: Comparison) -> pd.DataFrame:
    """Return the values as a table (rows, columns) labelled with the layers' names."""
    pandas = import_report_dependency("pandas")
    frame: pd.DataFrame = pandas.DataFrame(
        comparison.values.copy(),
        index=pandas.Index(comparison.rows, name="row"),
        columns=pandas.Index(comparison.columns, name="column"),
    )
    return frame


def long_table(comparison: Comparison) -> pd.DataFrame:
    """Return one line for each pair of layers, with everything that is known about it."""
    pandas = import_report_dependency("pandas")
    frame: pd.DataFrame = pandas.DataFrame(
        {
            "row": np.repeat(np.array(comparison.rows, dtype=object), len(comparison.columns)),
            "column": np.tile(np.array(comparison.columns, dtype=object), len(comparison.rows)),
            **{_SINGULAR.get(name, name): array.ravel() for name, array in comparison.arrays().items()},
        }
    )
    return frame


def dataset(comparison: Comparison) -> xr.Dataset:
    """Return all arrays with named dimensions; attributes that NetCDF can't hold are JSON text."""
    xarray = import_report_dependency("xarray")
    meta = {k: v if isinstance(v, str | int | float) else json.dumps(v) for k, v in comparison.meta.items()}
    labelled: xr.Dataset = xarray.Dataset(
        {name: (("row", "column"), array.copy()) for name, array in comparison.arrays().items()},
        coords={"row": comparison.rows, "column": comparison.columns},
        attrs={"title": comparison.title, **meta},
    )
    return labelled


def table_of_models(comparisons: Comparisons) -> pd.DataFrame:
    """Return one line for each ordered pair of models, with the summaries of it."""
    pandas = import_report_dependency("pandas")
    frame: pd.DataFrame = pandas.DataFrame(
        {
            "model_x": [x for x, _ in comparisons],
            "model_y": [y for _, y in comparisons],
            **{name: getattr(comparisons, name).ravel() for name in SUMMARIES},
        }
    )
    return frame


def long_table_of_models(comparisons: Comparisons) -> pd.DataFrame:
    """Return one line for each pair of layers of each ordered pair of models."""
    pandas = import_report_dependency("pandas")
    tables = [
        pandas.concat([pandas.DataFrame({"model_x": x, "model_y": y}, index=own.index), own], axis=1)
        for (x, y), found in comparisons.items()
        for own in [long_table(found)]
    ]
    frame: pd.DataFrame = pandas.concat(tables, ignore_index=True)
    return frame


def dataset_of_models(comparisons: Comparisons) -> xr.Dataset:
    """Return all layers of all models beside each other, and models beside models."""
    xarray = import_report_dependency("xarray")
    names = comparisons.names
    kinds = comparisons.held[names[0], names[0]].arrays()
    tables = {kind: np.block([[comparisons[x, y].arrays()[kind] for y in names] for x in names]) for kind in kinds}
    models = [name for name in names for _ in comparisons.layers(name)]
    layers = [layer for name in names for layer in comparisons.layers(name)]
    labelled: xr.Dataset = xarray.Dataset(
        {
            **{kind: (("row", "column"), array) for kind, array in tables.items()},
            **{name: (("model_x", "model_y"), getattr(comparisons, name).copy()) for name in SUMMARIES},
        },
        coords={
            "row_model": ("row", models),
            "row_layer": ("row", layers),
            "column_model": ("column", models),
            "column_layer": ("column", layers),
            "model_x": names,
            "model_y": names,
        },
        attrs={"title": comparisons.held[names[0], names[0]].title},
    )
    return labelled
