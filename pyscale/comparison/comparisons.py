"""All pairs of many models: a comparison of each, and models beside models in one number a pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from pyscale.comparison import archives
from pyscale.comparison.result import Comparison
from pyscale.comparison.scores import Matrix
from pyscale.comparison.summaries import Level, aligned, best_match
from pyscale.comparison.trajectory import Trajectory, follow

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure

Key = tuple[str, str]


class Comparisons(Mapping[Key, Comparison]):
    """Comparisons of all pairs of models: ``result["wide", "deep"]``, and of each with itself.

    Layers of the first are the rows. Pairs that are not held are the transposes of those that are.

    Args:
        names: Of the models, in order.
        held: Comparisons by the names of rows and columns, of every two models one way round at least, and of every
            model with itself.

    Attributes:
        names: Of the models, in order.
        held: The comparisons that were computed.

    Raises:
        ValueError: A pair is missing, or a model's layers differ between its comparisons.
    """

    def __init__(self, names: Sequence[str], held: Mapping[Key, Comparison]) -> None:
        self.names = list(names)
        self.held = dict(held)
        for x, y in product(self.names, self.names):
            if (x, y) not in self.held and (y, x) not in self.held:
                raise ValueError(f"no comparison of {x!r} with {y!r} is held")
        for (x, y), found in self.held.items():
            for name, layers in ((x, found.rows), (y, found.columns)):
                if name not in self.names or layers != self.layers(name):
                    raise ValueError(f"the comparison of {x!r} with {y!r} has other layers of {name!r} than its own")

    def __getitem__(self, key: tuple[Any, Any]) -> Comparison:
        """Return the comparison of two models, the first's layers as rows; KeyError where a name isn't known.

        Names that were numbers, such as steps, may be asked for as numbers.
        """
        if not isinstance(key, tuple) or len(key) != 2:
            raise KeyError(f"{key!r} is not two models' names, such as {(self.names[0], self.names[-1])!r}")
        x, y = map(str, key)
        for name in (x, y):
            if name not in self.names:
                raise KeyError(f"{name!r} is none of the models {', '.join(map(repr, self.names))}")
        found = self.held.get((x, y))
        return transposed(self.held[y, x]) if found is None else found

    def __iter__(self) -> Iterator[Key]:
        return iter(product(self.names, self.names))

    def __len__(self) -> int:
        return len(self.names) ** 2

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Comparisons):
            return NotImplemented
        return (self.names, self.held) == (other.names, other.held)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        layers = [len(self.layers(name)) for name in self.names]
        span = f"{min(layers)}" if min(layers) == max(layers) else f"{min(layers)} to {max(layers)}"
        one = self.held[self.names[0], self.names[0]]
        return f"Comparisons({one.title}, {len(self.names)} models of {span} layers, {one.basis})"

    def layers(self, name: str) -> list[str]:
        """Return the names of a model's layers, in forward order."""
        return self.held[name, name].rows

    @property
    def aligned(self) -> Matrix:
        """Mean similarity of corresponding layers (:func:`pyscale.comparison.summaries.aligned`), (models, models)."""
        return self._summaries[0]

    @property
    def aligned_chance(self) -> Matrix:
        """What unrelated activations would get for :attr:`aligned`."""
        return self._summaries[1]

    @property
    def best_match(self) -> Matrix:
        """Mean over the first model's layers of the greatest similarity to any of the second's, (models, models).

        Not symmetric: a small model's layers may all be found in a large one that has others besides
        (:func:`pyscale.comparison.summaries.best_match`).
        """
        return self._summaries[2]

    @property
    def best_match_chance(self) -> Matrix:
        """An upper bound on what unrelated activations would get for :attr:`best_match`; NaN where it isn't known."""
        return self._summaries[3]

    @cached_property
    def _summaries(self) -> tuple[Matrix, Matrix, Matrix, Matrix]:
        def table(summary: Callable[[Comparison], Level], field: int) -> Matrix:
            return np.array([[summary(self[x, y])[field] for y in self.names] for x in self.names])

        return table(aligned, 0), table(aligned, 1), table(best_match, 0), table(best_match, 1)

    def trajectory(self) -> Trajectory:
        """Follow every layer through the models in their order, such as checkpoints of one training.

        Raises:
            ValueError: There are fewer than two models, or their layers are not the same.
        """
        return follow(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write everything to one ``.npz`` file, under a temporary name first.

        Args:
            path: The file; an existing one is replaced.
        """
        archives.save_many(path, self.names, self.held)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Comparisons:
        """Read a file that :meth:`save` wrote. Nothing in it is executed.

        Args:
            path: The file.

        Returns:
            Comparisons equal to the saved ones.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is damaged, or something else.
        """
        names, held = archives.load_many(path)
        try:
            return cls(names, held)
        except (ValueError, KeyError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error

    def to_pandas(self, *, layers: bool = False) -> pd.DataFrame:
        """Return one line for each ordered pair of models.

        Args:
            layers: One line for each pair of layers of each pair of models instead, as
                :meth:`Comparison.to_pandas` gives them with ``long=True``.

        Returns:
            Columns ``model_x``, ``model_y``, ``aligned``, ``aligned_chance``, ``best_match``, ``best_match_chance``.

        Raises:
            ImportError: pandas is missing: ``pip install 'pyscale[report]'``.
        """
        from pyscale.comparison.export import long_table_of_models, table_of_models

        return long_table_of_models(self) if layers else table_of_models(self)

    def to_xarray(self) -> xr.Dataset:
        """Return all layers of all models beside each other, and models beside models, as one dataset.

        Returns:
            ``values``, ``stderr``, ``chance``, ``zscores`` (and ``pvalues``) over (row, column), each with the
            coordinates ``row_model``, ``row_layer``, ``column_model`` and ``column_layer``; the four summaries over
            (model_x, model_y).

        Raises:
            ImportError: xarray is missing: ``pip install 'pyscale[report]'``.
        """
        from pyscale.comparison.export import dataset_of_models

        return dataset_of_models(self)

    def plot(self) -> Figure:
        """Draw models beside models: corresponding layers, and best matches, each with its chance level.

        Returns:
            A figure of two maps.

        Raises:
            ImportError: matplotlib is missing: ``pip install 'pyscale[report]'``.
        """
        from pyscale.comparison.plotting_models import model_maps

        return model_maps(self)

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write a page that needs no other file: models beside models, a map of layers for each pair, provenance.

        Args:
            path: The file; an existing one is replaced.

        Raises:
            ImportError: matplotlib is missing: ``pip install 'pyscale[report]'``.
        """
        from pyscale.comparison.models_page import write_models_page

        write_models_page(self, path)


def transposed(comparison: Comparison) -> Comparison:
    """Return the same comparison seen from the other model."""
    swapped = {"model_x": "model_y", "model_y": "model_x", "class_x": "class_y", "class_y": "class_x"}
    meta = {swapped.get(key, key): value for key, value in comparison.meta.items()}
    arrays = {name: array.T for name, array in comparison.arrays().items()}
    return replace(comparison, rows=comparison.columns, columns=comparison.rows, meta=meta, **arrays)
