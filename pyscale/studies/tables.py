"""A study's numbers for machines: two CSV tables and one JSON document.

``networks.csv`` has one line a network, ``layers.csv`` one line for each layer of each network and similarity, at its
counterpart in the baseline, ``pairs.csv``, where all pairs were asked for, one for each two networks and metric, and
``weights.csv``, where weights were compared, one for each network, layer and metric.
``study.json`` holds everything, whole matrices included; its ``schema`` is raised when a reader of the older one would
be misled::

    schema        "pyscale.study/1"
    study         family, factors, data, epochs, seeds, metrics, as asked for
    networks      [name, role ("baseline", "twin", "variant"), note, seed, scaling, shape, image_size,
                   accuracy {value, low, high, confidence, method, correct, total, per_class},
                   versus_baseline {only_this, only_baseline, pvalue} or null for the baseline,
                   cost {parameters, macs, activations, bytes, latency (s)}, ratio {the same, to the baseline's, latency
                   as measured in turns with it},
                   kind ("scaled", "weights", "channels", "deep"), compression (as asked for, or null), file_bytes,
                   epochs, training_seconds, history {column: [one number an epoch]}]
    similarities  [network, metric, label, rows, columns, values, stderr, chance, zscores (all rows x columns),
                   counterpart (a column index for each row), yardstick (one number a row, or null),
                   key_rows (row indices), samples, batches, options, notes]
    findings      [topic, text, network or null, metric or null]
    weights       [the rows of weights.csv]
    equal_budget  {ways [the rows of equal_budget.csv], networks [those of equal_budget_networks.csv]} or null
    provenance    date, machine, software, threads, seconds, taken_up

A number that is not defined (NaN) is null in JSON and empty in CSV.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyscale.comparison.export import SUMMARIES
from pyscale.studies.equal_budget.tables import contestant_rows, standing_rows
from pyscale.studies.findings import Finding
from pyscale.studies.networks import Member
from pyscale.studies.results import COSTS, StudyResult
from pyscale.studies.similarity import Similarity

SCHEMA = "pyscale.study/1"

Row = dict[str, Any]


def network_rows(result: StudyResult) -> list[Row]:
    """One row a network: what it is, its accuracy with interval, its costs and their ratios to the baseline's."""
    return [_network_row(result, member) for member in result.members]


def layer_rows(result: StudyResult) -> list[Row]:
    """One row for each layer of each network and similarity: its counterpart, its best match, chance and yardstick."""
    return [
        row
        for name, by_metric in result.similarities.items()
        for similarity in by_metric.values()
        for row in _layer_rows(result, name, similarity)
    ]


def as_csv(rows: Sequence[Row]) -> str:
    """Rows of one kind as CSV, numbers in full precision, NaN as an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{name: _blank(value) for name, value in row.items()} for row in rows])
    return text.getvalue()


def pair_rows(result: StudyResult) -> list[Row]:
    """One row for each ordered pair of networks and similarity: all layers of the one beside the other's."""
    return [
        {
            "network": x,
            "other": y,
            "metric": metric,
            **{name: getattr(comparisons, name)[i, j] for name in SUMMARIES},
        }
        for metric, comparisons in result.all_pairs.items()
        for i, x in enumerate(comparisons.names)
        for j, y in enumerate(comparisons.names)
        if i != j
    ]


def as_json(result: StudyResult, found: Sequence[Finding]) -> str:
    """The whole study as one JSON document (see the module's docstring)."""
    document = {
        "schema": SCHEMA,
        "study": result.study.to_dict(),
        "networks": [_network(result, member) for member in result.members],
        "similarities": [
            _similarity(result, name, similarity)
            for name, by_metric in result.similarities.items()
            for similarity in by_metric.values()
        ],
        "findings": [asdict(finding) for finding in found],
        "weights": [asdict(row) for row in result.weights],
        "equal_budget": None
        if result.equal_budget is None
        else {"ways": standing_rows(result.equal_budget), "networks": contestant_rows(result.equal_budget)},
        "provenance": result.provenance,
    }
    return json.dumps(_plain(document), separators=(",", ":"), allow_nan=False) + "\n"


def _network_row(result: StudyResult, member: Member) -> Row:
    accuracy, scaling = member.trained.accuracy, result.study.scaling_of(member.variant)
    paired = result.paired(member)
    return {
        "network": member.name,
        "role": result.role(member),
        "seed": member.seed,
        "depth": scaling.depth,
        "width": scaling.width,
        "resolution": scaling.resolution,
        "shape": member.shape,
        "image_size": member.network.image_size,
        "accuracy": accuracy.value,
        "accuracy_low": accuracy.low,
        "accuracy_high": accuracy.high,
        "test_pictures": accuracy.total,
        "right_only_this": paired.only_this,
        "right_only_baseline": paired.only_baseline,
        "mcnemar_p": paired.pvalue,
        **{_unit(cost): getattr(member.cost, cost) for cost in COSTS},
        **{f"{cost}_ratio": result.ratio(member, cost) for cost in COSTS},
        "training_seconds": member.trained.seconds,
        "kind": member.variant.kind,
        "nonzero_parameters": _nonzero(member),
        "file_bytes": math.nan if member.file_bytes is None else member.file_bytes,
    }


def _nonzero(member: Member) -> int:
    return sum(int(parameter.count_nonzero()) for parameter in member.network.parameters())


def _layer_rows(result: StudyResult, name: str, similarity: Similarity) -> Iterator[Row]:
    comparison, best = similarity.comparison, similarity.best
    yardstick = result.yardstick(similarity)
    key = set(similarity.key_rows.tolist())
    for i, row in enumerate(comparison.rows):
        j, k = int(similarity.counterpart[i]), int(best[i])
        yield {
            "network": name,
            "metric": similarity.metric,
            "layer": row,
            "baseline_layer": comparison.columns[j],
            "value": comparison.values[i, j],
            "stderr": comparison.stderr[i, j],
            "chance": comparison.chance[i, j],
            "zscore": comparison.zscores[i, j],
            "yardstick": math.nan if yardstick is None else yardstick[0][i],
            "best_layer": comparison.columns[k] if k >= 0 else "",
            "best_value": comparison.values[i, k] if k >= 0 else math.nan,
            "key": i in key,
        }


def _network(result: StudyResult, member: Member) -> dict[str, Any]:
    history = member.trained.history
    return {
        "name": member.name,
        "role": result.role(member),
        "note": member.variant.note,
        "seed": member.seed,
        "scaling": asdict(result.study.scaling_of(member.variant)),
        "kind": member.variant.kind,
        "compression": None if member.variant.compression is None else asdict(member.variant.compression),
        "nonzero_parameters": _nonzero(member),
        "file_bytes": member.file_bytes,
        "shape": member.shape,
        "image_size": member.network.image_size,
        "accuracy": member.trained.accuracy.to_dict(),
        "versus_baseline": None if member is result.baseline else asdict(result.paired(member)),
        "cost": {cost: getattr(member.cost, cost) for cost in COSTS},
        "ratio": {cost: result.ratio(member, cost) for cost in COSTS},
        "epochs": len(history),
        "training_seconds": member.trained.seconds,
        "history": {column: history.column(column) for column in history.columns},
    }


def _similarity(result: StudyResult, name: str, similarity: Similarity) -> dict[str, Any]:
    comparison = similarity.comparison
    yardstick = result.yardstick(similarity)
    return {
        "network": name,
        "metric": similarity.metric,
        "label": similarity.label,
        "rows": comparison.rows,
        "columns": comparison.columns,
        "values": comparison.values,
        "stderr": comparison.stderr,
        "chance": comparison.chance,
        "zscores": comparison.zscores,
        "counterpart": similarity.counterpart,
        "yardstick": None if yardstick is None else yardstick[0],
        "key_rows": similarity.key_rows,
        "samples": comparison.meta["samples"],
        "batches": comparison.meta["batches"],
        "options": {key: comparison.meta[key] for key in ("mode", "kernel", "estimator", "features")},
        "notes": similarity.notes,
    }


def _unit(cost: str) -> str:
    return "latency_seconds" if cost == "latency" else cost


def _blank(value: Any) -> Any:
    """CSV's empty cell for NaN; NumPy numbers as Python's, so that they print in full."""
    plain = value.item() if isinstance(value, np.generic) else value
    return "" if isinstance(plain, float) and math.isnan(plain) else plain


def _plain(value: Any) -> Any:
    """JSON types only: arrays as lists, NaN as None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain_array(value)
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def _plain_array(array: NDArray[Any]) -> list[Any]:
    listed: list[Any] = _plain(array.tolist())
    return listed
