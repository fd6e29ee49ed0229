"""Weights of networks compared part by part, every value with its chance level or the reason why there is none."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from pyscale.comparison import compare_weights
from pyscale.comparison.weight_matrices import WeightMatrix, weight_matrices
from pyscale.models import Network, build
from pyscale.studies.trained_networks import build_seeded
from pyscale.studies.weight_similarity.question import NamedNetwork, Part, WeightSimilarity

State = Literal["untrained", "from a file", "of the study"]

_OPTIONS: dict[str, dict[str, Any]] = {
    "cka": {"metric": "cka", "estimator": "unbiased"},
    "cka_biased": {"metric": "cka", "estimator": "biased"},
    "cca_r2": {"metric": "cca_r2"},
}


@dataclass(frozen=True)
class WeightRow:
    """One layer's weights in two networks, by one similarity.

    Attributes:
        baseline: A network's name.
        network: The other's.
        state: Where the other's weights come from.
        part: What the layer is called in print.
        layer: Its name.
        metric: ``"cka"``, ``"cka_biased"`` or ``"cca_r2"``.
        rows: Rows of both weights as matrices; 0 where they have none in common.
        columns_baseline: Of the baseline's.
        columns: Of the other's.
        value: The similarity; NaN where there is none.
        chance: What unrelated weights of these spectra would get.
        zscore: Of CKA: standard deviations of the permutation null; NaN of others.
        note: Why there is no value, or why it says nothing.
    """

    baseline: str
    network: str
    state: State
    part: str
    layer: str
    metric: str
    rows: int
    columns_baseline: int
    columns: int
    value: float
    chance: float
    zscore: float
    note: str = ""


def compare_named(question: WeightSimilarity, seed: int) -> tuple[WeightRow, ...]:
    """Compare networks that have a name; nothing is trained.

    Args:
        question: Names networks.
        seed: Of the first untrained network; each has the next.

    Returns:
        One row for each network, part and metric.

    Raises:
        ValueError: If a layer is not there or has no weights of these kinds, or a checkpoint does not fit.
    """
    baseline = _made(question.networks[0], seed)
    return tuple(
        row
        for place, other in enumerate(question.others, start=1)
        for row in _rows(
            question, (question.networks[0].title, baseline), (other.title, _made(other, seed + place)), _state(other)
        )
    )


def compare_own(question: WeightSimilarity, networks: Mapping[str, Network]) -> tuple[WeightRow, ...]:
    """Compare a study's own networks with their baseline.

    Args:
        question: Names none.
        networks: By name, the baseline first.

    Returns:
        One row for each network, part and metric.
    """
    baseline, *others = networks.items()
    return tuple(row for other in others for row in _rows(question, baseline, other, "of the study"))


def _made(network: NamedNetwork, seed: int) -> Network:
    if network.weights is None:
        return build_seeded(network.family, seed)
    return build(network.family, weights=Path(network.weights).expanduser())


def _state(network: NamedNetwork) -> State:
    return "untrained" if network.weights is None else "from a file"


def _rows(
    question: WeightSimilarity, baseline: tuple[str, nn.Module], other: tuple[str, nn.Module], state: State
) -> Iterator[WeightRow]:
    for part in question.parts:
        x, y = (_matrix(part, *network) for network in (baseline, other))
        for metric in question.metrics:
            found = _measured(part, metric, x, y, baseline[1], other[1])
            yield WeightRow(baseline[0], other[0], state, part.name, part.layer, metric, **found)


def _matrix(part: Part, name: str, network: nn.Module) -> WeightMatrix:
    return weight_matrices(network, [part.layer], part.rows, label=name, argument=f"layer of {part.name}")[0]


def _measured(
    part: Part, metric: str, x: WeightMatrix, y: WeightMatrix, baseline: nn.Module, other: nn.Module
) -> dict[str, Any]:
    """What a row says of two weights; no row is padded where they have not the same ones."""
    columns = {"columns_baseline": x.matrix.shape[1], "columns": y.matrix.shape[1]}
    if x.stands_for != y.stands_for:
        nothing = {"rows": 0, "value": math.nan, "chance": math.nan, "zscore": math.nan}
        return {**columns, **nothing, "note": f"rows are {x.row} in one and {y.row} in the other"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # too few rows, which the note says
        found = compare_weights(baseline, other, layers=part.layer, rows=part.rows, **_OPTIONS[metric])
    rows, value, chance = len(x.matrix), float(found.values[0, 0]), float(found.chance[0, 0])
    note = ""
    if metric == "cca_r2" and chance >= 1:
        note = (
            f"1 whatever the weights: {rows} rows are too few for {x.matrix.shape[1]} and {y.matrix.shape[1]} columns"
        )
    elif math.isnan(value):
        note = "not defined: too few rows, or weights that do not vary"
    return {
        **columns,
        "rows": rows,
        "value": value,
        "chance": chance,
        "zscore": float(found.zscores[0, 0]) if metric != "cca_r2" else math.nan,
        "note": note,
    }
