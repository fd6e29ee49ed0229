"""Results as tables and labelled arrays of other libraries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from pyscale.comparison.dependencies import import_report_dependency

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from pyscale.comparison.result import Comparison

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
