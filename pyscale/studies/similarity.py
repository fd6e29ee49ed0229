"""How alike the layers of two trained networks are, and the part of it that can be drawn as a curve."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyscale.comparison import Comparison, Comparisons, compare, compare_many
from pyscale.comparison.counterparts import counterparts
from pyscale.models import Network
from pyscale.studies.study import LABELS
from pyscale.train import Data
from pyscale.train.batches import Batches
from pyscale.train.data import Split

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

OPTIONS: dict[str, dict[str, Any]] = {
    "cka": {"metric": "cka", "mode": "minibatch", "features": "flatten"},
    "cca_r2": {"metric": "cca_r2", "mode": "exact", "features": "pool"},
}
"""How each similarity is computed. CCA wants fewer features than samples, so it sees channel means."""

EXACT_BATCH = 512  # pictures at a time where the result does not depend on it: co-moments cost most per batch


@dataclass(frozen=True, eq=False)
class Similarity:
    """One similarity of every layer of a network (rows) to every layer of the baseline (columns).

    Attributes:
        metric: ``"cka"`` or ``"cca_r2"``.
        comparison: The values with chance levels, standard errors and provenance.
        key_rows: Rows that curves and sentences are about.
        counterpart: For each row the column it stands for (:func:`pyscale.comparison.counterparts.counterparts`).
        notes: What the comparison warned of, such as too few samples.
    """

    metric: str
    comparison: Comparison
    key_rows: NDArray[np.int64]
    counterpart: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The similarity's name in print."""
        return LABELS[self.metric]

    @property
    def best(self) -> NDArray[np.int64]:
        """For each row the column most alike; -1 where a row has no value."""
        values = self.comparison.values
        filled = np.where(np.isnan(values), -np.inf, values)
        return np.where(np.isnan(values).all(axis=1), -1, filled.argmax(axis=1))

    def at_counterpart(self, field: Literal["values", "stderr", "chance", "zscores"] = "values") -> Vector:
        """(rows,) of a matrix of the comparison, each row at its counterpart."""
        matrix: Matrix = getattr(self.comparison, field)
        picked: Vector = matrix[np.arange(len(matrix)), self.counterpart]
        return picked


def compare_layers(
    network: Network,
    baseline: Network,
    data: Data,
    metric: str,
    *,
    layers: Sequence[str] | None = None,
    key_layers: Sequence[str] = (),
    batch_size: int,
    device: str | None = None,
) -> Similarity:
    """Compare every layer of a network with every layer of the baseline on held-out pictures.

    Each network sees the pictures at its own resolution, in one shuffled order (seed 0) so that no minibatch holds
    one class only.

    Args:
        network: Its layers are the rows.
        baseline: Its layers are the columns.
        data: The test split is used.
        metric: ``"cka"``: unbiased, over minibatches, of whole activations; ``"cca_r2"``: exact, of channel means.
        layers: Those compared, as for :func:`pyscale.compare`; None is all.
        key_layers: Glob patterns of the rows that curves and sentences are about; empty is all.
        batch_size: Pictures per minibatch of ``"cka"``.
        device: Where the networks run; None is where they are.

    Returns:
        The similarity.

    Raises:
        ValueError: If ``key_layers`` matches no layer.
    """
    pictures = partial(batches_for, data=data, batch_size=_batch_size(metric, batch_size))
    with noted() as notes:
        comparison = compare(
            network,
            baseline,
            pictures(network),
            loader_y=None if network.image_size == baseline.image_size else pictures(baseline),
            layers=layers,
            device=device,
            progress=False,
            **OPTIONS[metric],
        )
    return as_similarity(comparison, metric, key_layers, notes)


def compare_all(
    networks: Mapping[str, Network],
    data: Data,
    metric: str,
    *,
    layers: Sequence[str] | None = None,
    batch_size: int,
    device: str | None = None,
) -> Comparisons:
    """Compare every layer of every network with every layer of every other on held-out pictures, in one pass.

    Each network sees the pictures at its own resolution and runs once; arguments as for :func:`compare_layers`.
    """
    size = _batch_size(metric, batch_size)
    loaders = {network.image_size: batches_for(network, data, size) for network in networks.values()}
    seen = {name: loaders[network.image_size] for name, network in networks.items()}
    return compare_many(networks, seen, layers=layers, device=device, progress=False, **OPTIONS[metric])


def as_similarity(
    comparison: Comparison, metric: str, key_layers: Sequence[str] = (), notes: Sequence[str] = ()
) -> Similarity:
    """A comparison of two networks with what of it is drawn.

    Raises:
        ValueError: If ``key_layers`` matches no layer.
    """
    rows = list(comparison.rows)
    key = [i for i, row in enumerate(rows) if not key_layers or any(fnmatchcase(row, p) for p in key_layers)]
    if not key:
        raise ValueError(f"key_layers must match some layers, got {tuple(key_layers)!r}; there are {', '.join(rows)}")
    return Similarity(metric, comparison, np.asarray(key), counterparts(rows, list(comparison.columns)), tuple(notes))


@contextmanager
def noted() -> Iterator[list[str]]:
    """Collect what is warned of inside, for whoever reads the study; whoever runs it is warned after."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield notes
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    notes += [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]


def batches_for(network: Network, data: Data, batch_size: int, split: Split = "test") -> Batches:
    """Pictures at a network's own resolution, in one shuffled order for all networks, so that batches mix classes."""
    return data.resized(network.image_size).loader(split, batch_size, shuffle=True, seed=0)


def _batch_size(metric: str, batch_size: int) -> int:
    return EXACT_BATCH if OPTIONS[metric]["mode"] == "exact" else batch_size
