"""The files of a study: report, figures, tables and JSON, each replaced whole."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyscale.comparison.files import replacing
from pyscale.studies.equal_budget.contenders import EqualBudgetResult
from pyscale.studies.equal_budget.figure import draw_equal_budget
from pyscale.studies.equal_budget.tables import contestant_rows, standing_rows
from pyscale.studies.figures import draw_figures
from pyscale.studies.findings import findings
from pyscale.studies.report import render_report
from pyscale.studies.results import StudyResult
from pyscale.studies.tables import as_csv, layer_rows, network_rows, pair_rows
from pyscale.studies.tables import as_json as result_as_json


def write_files(result: StudyResult) -> None:
    """Write everything but the trainings, which are there already; ``report.html`` is written last.

    Args:
        result: What was measured; its ``out`` is the folder.
    """
    for name, by_metric in result.similarities.items():
        for metric, similarity in by_metric.items():
            path = result.out / "comparisons" / f"{name}.{metric}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            similarity.comparison.save(path)
    for metric, comparisons in result.all_pairs.items():
        comparisons.save(result.out / "comparisons" / f"all.{metric}.npz")
    found = findings(result)
    for figure in draw_figures(result):
        for theme, png in figure.pngs.items():
            _write(result.out / "figures" / figure.filename(theme), png)
    if result.equal_budget is not None:
        _write_equal_budget(result.equal_budget, result.out)
    _write(result.out / "networks.csv", as_csv(network_rows(result)).encode())
    _write(result.out / "layers.csv", as_csv(layer_rows(result)).encode())
    if result.all_pairs:
        _write(result.out / "pairs.csv", as_csv(pair_rows(result)).encode())
    if result.weights:
        _write(result.out / "weights.csv", as_csv([asdict(row) for row in result.weights]).encode())
    _write(result.out / "study.json", result_as_json(result, found).encode())
    _write(result.out / "report.html", render_report(result, found).encode())


def write_costs(rows: list[dict[str, Any]], out: Path) -> None:
    """Write what networks that are only counted cost, before anything is trained.

    Args:
        rows: One a network.
        out: The study's folder; ``costs.csv`` in it.
    """
    _write(out / "costs.csv", as_csv(rows).encode())


def _write_equal_budget(contest: EqualBudgetResult, out: Path) -> None:
    figure = draw_equal_budget(contest)
    for theme, png in figure.pngs.items():
        _write(out / "figures" / figure.filename(theme), png)
    _write(out / "equal_budget.csv", as_csv(standing_rows(contest)).encode())
    _write(out / "equal_budget_networks.csv", as_csv(contestant_rows(contest)).encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(content)
