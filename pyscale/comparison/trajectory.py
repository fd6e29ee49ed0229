"""Layers followed through a sequence of models that have the same ones, such as checkpoints of one training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from pyscale.comparison.dependencies import import_report_dependency
from pyscale.comparison.scores import Matrix
from pyscale.ops.gram import check_choice

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from pyscale.comparison.comparisons import Comparisons

Reference = Literal["last", "first", "previous"]
REFERENCES: tuple[Reference, ...] = get_args(Reference)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Similarity of every layer to itself in the last, the first and the previous model of a sequence.

    Arrays are float64 of shape (references, steps, layers), references in the order "last", "first", "previous"; the
    first step has no previous one, and NaN there.

    Attributes:
        steps: Names of the models, in order.
        layers: Names of the layers, which all models have.
        title: Of the similarity.
        values: The similarities.
        stderr: Their standard errors, NaN where there are none.
        chance: What unrelated activations would get.

    References:
        Raghu et al., "SVCCA", 2017: layers compared with their final state over training.
    """

    steps: list[str]
    layers: list[str]
    title: str
    values: Matrix
    stderr: Matrix
    chance: Matrix

    def to(self, reference: Reference) -> Matrix:
        """Return the values (steps, layers) beside one of "last", "first" and "previous"."""
        check_choice("reference", reference, REFERENCES)
        found: Matrix = self.values[REFERENCES.index(reference)]
        return found

    @property
    def times(self) -> list[float] | None:
        """The steps as numbers; None where one is no number."""
        try:
            return [float(step) for step in self.steps]
        except ValueError:
            return None

    def to_pandas(self) -> pd.DataFrame:
        """Return one line for each reference, step and layer, with ``value``, ``stderr`` and ``chance``.

        Raises:
            ImportError: pandas is missing: ``pip install 'pyscale[report]'``.
        """
        pandas = import_report_dependency("pandas")
        axes = [list(REFERENCES), self.steps, self.layers]
        index = pandas.MultiIndex.from_product(axes, names=["reference", "step", "layer"])
        arrays = {"value": self.values, "stderr": self.stderr, "chance": self.chance}
        columns = {name: array.ravel() for name, array in arrays.items()}
        frame: pd.DataFrame = pandas.DataFrame(columns, index=index).reset_index()
        return frame

    def plot(self, reference: Reference = "last", ax: Axes | None = None) -> Axes:
        """Draw one curve a layer along the sequence, from the first layer (dark) to the last (light), and chance.

        Args:
            reference: Beside which state: "last", "first" or "previous".
            ax: Where to; None makes a figure.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is missing: ``pip install 'pyscale[report]'``.
        """
        from pyscale.comparison.plotting_models import curves

        return curves(self, reference, ax)


def follow(comparisons: Comparisons) -> Trajectory:
    """Follow every layer through models in their order; ValueError where there are too few, or their layers differ."""
    names = comparisons.names
    if len(names) < 2:
        raise ValueError(f"a sequence needs at least two models; there is {names}")
    layers = comparisons.layers(names[0])
    for name in names:
        if comparisons.layers(name) != layers:
            raise ValueError(
                f"{name!r} has other layers than {names[0]!r}; only models with the same layers make a sequence"
            )
    shape = len(REFERENCES), len(names), len(layers)
    arrays = {field: np.full(shape, np.nan) for field in ("values", "stderr", "chance")}
    for k, name in enumerate(names):
        others = {"last": names[-1], "first": names[0], "previous": names[k - 1] if k else None}
        for reference, other in others.items():
            if other is None:
                continue
            found = comparisons[name, other]
            for field, array in arrays.items():
                array[REFERENCES.index(reference), k] = getattr(found, field).diagonal()
    return Trajectory(names, layers, comparisons[names[0], names[0]].title, **arrays)
