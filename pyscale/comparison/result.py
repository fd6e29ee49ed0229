"""The result of a comparison: similarities of all pairs of layers, what they are worth, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pyscale.comparison import files
from pyscale.comparison.scores import Matrix

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.axes import Axes

TITLES = {
    "cka": "CKA",
    "cca": "mean CCA",
    "cca_r2": "R² CCA",
    "svcca": "SVCCA",
    "pwcca": "PWCCA",
    "procrustes": "Procrustes similarity",
}


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Similarities of every layer of one model (rows) with every layer of another (columns).

    Every array is float64 of shape (rows, columns), with NaN where a number is not defined.

    Attributes:
        values: The similarities. The unbiased CKA of unrelated layers is 0 on average, so it may be slightly negative.
        rows: Names of model_x's layers, in forward order.
        columns: Names of model_y's layers.
        stderr: Jackknife standard errors over minibatches; NaN in exact mode, below two minibatches, and for weights.
        chance: What unrelated activations or weights with the same spectra would get; a value says something only
            beside it.
        zscores: Standard deviations above chance under permutation of samples, for CKA.
        pvalues: One-sided permutation p-values, or None where none were asked for.
        meta: Provenance: options, models, data, versions, machine; JSON types only.
    """

    values: Matrix
    rows: list[str]
    columns: list[str]
    stderr: Matrix
    chance: Matrix
    zscores: Matrix
    pvalues: Matrix | None
    meta: dict[str, Any]

    def __post_init__(self) -> None:
        shape = len(self.rows), len(self.columns)
        for name, array in self.arrays().items():
            if array.shape != shape:
                raise ValueError(f"{name} has shape {array.shape}; expected {shape}, one value a row and column")

    def __repr__(self) -> str:
        values = self.values[np.isfinite(self.values)]
        span = f"{values.min():.3f} to {values.max():.3f}" if values.size else "none finite"
        models = f"{self.meta.get('model_x', 'model_x')} {len(self.rows)} x {len(self.columns)}"
        mode = "" if self.of_weights else f", {self.meta.get('mode', '?')} mode"
        return f"Comparison({self.title}, {models} {self.meta.get('model_y', 'model_y')}, {span}, {self.basis}{mode})"

    def __eq__(self, other: object) -> bool:
        """Return whether everything is equal, with NaN equal to NaN."""
        if not isinstance(other, Comparison):
            return NotImplemented
        ours, theirs = self.arrays(), other.arrays()
        return (
            (self.rows, self.columns, self.meta, ours.keys()) == (other.rows, other.columns, other.meta, theirs.keys())
        ) and all(np.array_equal(ours[name], theirs[name], equal_nan=True) for name in ours)

    __hash__ = None  # type: ignore[assignment]

    @property
    def title(self) -> str:
        """The metric's name with its estimator and kernel, such as "unbiased linear CKA"."""
        metric = str(self.meta.get("metric", "similarity"))
        name = TITLES.get(metric, metric)
        if metric != "cka":
            return name
        kernel = {"rbf": "RBF"}.get(str(self.meta.get("kernel")), str(self.meta.get("kernel")))
        return f"{self.meta.get('estimator')} {kernel} {name}"

    @property
    def of_weights(self) -> bool:
        """Whether weights were compared (:func:`pyscale.compare_weights`), rather than activations."""
        return self.meta.get("compared") == "weights"

    @property
    def basis(self) -> str:
        """What the similarities were computed over, such as "512 samples"."""
        if self.of_weights:
            return f"weights, rows are {self.meta['weight_rows']}"
        return f"{self.meta.get('samples', '?')} samples"

    def arrays(self) -> dict[str, Matrix]:
        """Return the arrays that are there, by name."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}

    def state(self) -> dict[str, Any]:
        """Return everything as plain values and tensors, as processes send it to one another."""
        arrays = {name: torch.from_numpy(array) for name, array in self.arrays().items()}
        return {"rows": self.rows, "columns": self.columns, "meta": self.meta, "arrays": arrays}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Comparison:
        """Return the comparison whose :meth:`state` it is."""
        arrays = {name: tensor.numpy() for name, tensor in state["arrays"].items()}
        return cls(rows=state["rows"], columns=state["columns"], meta=state["meta"], **{"pvalues": None, **arrays})

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to one ``.npz`` file, under a temporary name first.

        Args:
            path: The file; an existing one is replaced.
        """
        files.save(path, self.arrays(), {"rows": self.rows, "columns": self.columns, "meta": self.meta})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Comparison:
        """Read a file that :meth:`save` wrote. Nothing in it is executed.

        Args:
            path: The file.

        Returns:
            A comparison equal to the saved one.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is damaged, or no comparison.
        """
        arrays, header = files.load(path)
        return cls(
            rows=header["rows"],
            columns=header["columns"],
            meta=header["meta"],
            pvalues=arrays.get("pvalues"),
            **{name: arrays[name] for name in files.REQUIRED},
        )

    def to_pandas(self, *, long: bool = False) -> pd.DataFrame:
        """Return ``values`` as a table with the layers' names.

        Args:
            long: One line for each pair of layers instead, with columns ``row``, ``column``, ``value``, ``stderr``,
                ``chance``, ``zscore`` and, where there are any, ``pvalue``.

        Raises:
            ImportError: pandas is missing: ``pip install 'pyscale[report]'``.
        """
        from pyscale.comparison.export import long_table, table

        return long_table(self) if long else table(self)

    def to_xarray(self) -> xr.Dataset:
        """Return all arrays as a dataset with dimensions ``row`` and ``column``, and the provenance as attributes.

        Raises:
            ImportError: xarray is missing: ``pip install 'pyscale[report]'``.
        """
        from pyscale.comparison.export import dataset

        return dataset(self)

    def plot(self, ax: Axes | None = None, *, diagonal: bool = False) -> Axes:
        """Draw ``values`` as a heat map, the chance level on its colour bar.

        Args:
            ax: Where to; None makes a figure.
            diagonal: Outline the cells on the diagonal.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is missing: ``pip install 'pyscale[report]'``.
        """
        from pyscale.comparison.plotting import heat_map

        return heat_map(self, ax, diagonal=diagonal)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write a page that needs no other file: heat map, closest layers, provenance.

        Args:
            path: The file; an existing one is replaced.

        Raises:
            ImportError: matplotlib is missing: ``pip install 'pyscale[report]'``.
        """
        from pyscale.comparison.page import write_page

        write_page(self, path)
