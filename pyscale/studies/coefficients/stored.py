"""A finished search, read back from its folder."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

from pyscale.models import Scaling
from pyscale.studies.coefficients.planning import SearchPlan
from pyscale.studies.coefficients.results import Outcome, SearchResult
from pyscale.studies.coefficients.rungs import Rung
from pyscale.studies.coefficients.searching import CANDIDATES, PLAN_FILE, RESULT_FILE
from pyscale.studies.coefficients.space import Candidate, SearchSpace
from pyscale.studies.coefficients.training import Run, run_record
from pyscale.train import Accuracy, Recipe
from pyscale.train.accuracy import ClassCount


def open_search(folder: str | Path) -> SearchResult:
    """Read a finished search back, to go on with it or to compare it with others; nothing is trained or counted.

    Args:
        folder: What :func:`search` was given as ``out``.

    Returns:
        The result as the search returned it; of the recipe, how long candidates were trained is in their runs.

    Raises:
        FileNotFoundError: The folder holds no search, or none that is finished.
        ValueError: Its files are damaged, or belong to another search.
    """
    folder = Path(folder)
    if not (folder / PLAN_FILE).is_file():
        raise FileNotFoundError(f"search: expected the folder of a search; {folder} has no {PLAN_FILE}")
    if not (folder / RESULT_FILE).is_file():
        raise FileNotFoundError(f"search: {folder} is not finished (no {RESULT_FILE}); run the search again")
    try:
        asked, found = (json.loads((folder / name).read_text()) for name in (PLAN_FILE, RESULT_FILE))
        if {name: value for name, value in asked.items() if name != "precision"} != found["plan"]:
            raise ValueError("it was begun anew and is not finished")
        return _result(folder, found)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError | TypeError) else error
        raise ValueError(f"search: {folder} can't be read back ({reason}); run the search again") from error


def _result(folder: Path, found: dict[str, Any]) -> SearchResult:
    asked = found["plan"]
    space = SearchSpace(**{**asked["space"], "baseline": Scaling(**asked["space"]["baseline"])})
    rows = [(row, _candidate(space, row)) for row in found["candidates"]]
    outcomes = tuple(
        Outcome(candidate, _runs(folder, candidate, asked, row["rungs"])) for row, candidate in rows if row["rank"]
    )
    skipped = tuple(candidate for row, candidate in rows if not row["rank"])
    every = sorted((candidate for _, candidate in rows), key=lambda candidate: astuple(candidate.bases))
    plan = SearchPlan(
        space=space,
        strategy=asked["strategy"],
        candidates=() if asked["strategy"] == "tpe" else tuple(every),
        rungs=tuple(Rung(**rung) for rung in asked["rungs"]),
        seeds=tuple(asked["seeds"]),
        budget=asked["budget"],
        unit=asked["unit"],
        recipe=Recipe().but(**asked["recipe"]),
        pictures=(asked["data"]["train"], asked["data"]["held_out"]),
        data_name=asked["data"]["name"],
        digest=asked["data"]["digest"],
        search_seed=asked["search_seed"],
    )
    test = tuple(_accuracy(accuracy) for accuracy in found["test"])
    return SearchResult(plan, outcomes, skipped, test, found["confidence"], folder)


def _accuracy(values: dict[str, Any]) -> Accuracy:
    counts = tuple(ClassCount(**count) for count in values["per_class"])
    return Accuracy(values["correct"], values["total"], counts, values["confidence"], values["method"])


def _candidate(space: SearchSpace, row: dict[str, Any]) -> Candidate:
    bases = Scaling(row["alpha"], row["beta"], row["gamma"])
    counts = {name: row[name] for name in ("nominal", "growth", "macs", "parameters", "image_size")}
    return Candidate(bases, space.scaling(bases), **counts, skipped=row["skipped"], same_as=row["same_as"])


def _runs(folder: Path, candidate: Candidate, asked: dict[str, Any], rungs: int) -> tuple[tuple[Run, ...], ...]:
    """The runs of a candidate from every seed, in the rungs that it took part in."""
    return tuple(
        tuple(
            Run.from_json(run_record(folder / CANDIDATES, candidate, seed, rung["epochs"]).read_text())
            for seed in asked["seeds"]
        )
        for rung in asked["rungs"][:rungs]
    )
