"""Searching the bases of compound scaling: plan, train, rank, write; resumable."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pyscale.comparison.files import replacing
from pyscale.studies.coefficients.planning import Strategy, ranking_data, search_plan
from pyscale.studies.coefficients.results import SearchResult
from pyscale.studies.coefficients.rungs import Rung
from pyscale.studies.coefficients.space import Candidate
from pyscale.studies.coefficients.strategies import climb, estimate_parzen, import_optuna
from pyscale.studies.coefficients.training import CandidateTrainer, Run
from pyscale.studies.running import Step
from pyscale.studies.tables import as_csv
from pyscale.train.datasets import DataLike, as_data

PLAN_FILE, RESULT_FILE, TABLE_FILE, CANDIDATES = "search.json", "result.json", "candidates.csv", "candidates"


def search(
    family: str,
    data: DataLike,
    *,
    budget: float,
    strategy: Strategy = "grid",
    held_out: float = 0.2,
    out: str | Path | None = None,
    resume: bool = True,
    confidence: float = 0.95,
    precision: str = "32-true",
    device: str | None = None,
    threads: int | None = None,
    workers: int = 0,
    progress: bool = True,
    on_step: Callable[[Step], None] | None = None,
    **options: Any,
) -> SearchResult:
    r"""Find the bases α, β, γ of compound scaling for a family: step 1 of EfficientNet's method, for one's own data.

    .. math:: \alpha \beta^2 \gamma^2 \approx 2, \qquad \alpha, \beta, \gamma \ge 1

    Every candidate is built (:math:`\phi = 1`), its true cost counted, and trained briefly from several seeds on the
    same pictures. Depth is rounded up to whole blocks and width to multiples of 8, so that the true cost is often far
    from what the formula says; only candidates whose *counted* cost is near are compared, and the others reported. They
    are ranked by accuracy on held-out training pictures; the test pictures are looked at once, by the winner.

    What is found holds for this family, at this size, trained this long on these data: short trainings prefer what
    learns fast. Bases that round to the same network can't be told apart at all.

    Args:
        family: A name that :func:`pyscale.models.build` knows.
        data: Pictures; a :class:`pyscale.train.Data` or what :func:`pyscale.train.fit` takes.
        budget: The most that the search may spend: passes of one network over the training pictures, summed over
            candidates, seeds and rungs; or their forward MACs with ``unit="macs"``. See :func:`search_plan`.
        strategy: ``"grid"``, ``"halving"`` or ``"tpe"``; see :func:`search_plan`.
        held_out: Share of the training pictures to rank by, where the data have no validation split.
        out: Folder of the search: ``search.json`` (what was asked), ``candidates/`` (a folder a candidate and seed),
            ``candidates.csv`` and ``result.json``. None keeps nothing.
        resume: Whether to take up the search in ``out``: runs that are done are not repeated, a killed one goes on, and
            the result is that of an undisturbed search. Another search there is refused. False starts anew and deletes
            its trainings.
        confidence: Coverage of all intervals, in (0, 1).
        precision: As for :func:`pyscale.train.fit`.
        device: Likewise.
        threads: Likewise; results depend on it by rounding.
        workers: Likewise.
        progress: Whether the trainings' progress bars are shown.
        on_step: Called as each training begins.
        **options: Of :func:`search_plan`: ``seeds``, ``growth``, ``baseline``, ``image_size``, ``unit``, ``step``,
            ``tolerance``, ``cost_tolerance``, ``reduction``, ``trials``, ``search_seed``; any other is a change of the
            recipe, such as ``lr=0.05``.

    Returns:
        All candidates, and the best one with how sure that is.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: The budget is too small, no candidate meets the cost, every one diverged, an option is out of its
            range, or ``out`` holds another search.
        ImportError: The ``train`` extra is not installed, or the ``search`` extra for ``strategy="tpe"``.

    Example:
        >>> from pyscale.train import digits
        >>> few = digits().subset(100, test=50)
        >>> found = search(
        ...     "cifar_resnet8", few, image_size=4, budget=8, seeds=(0, 1), threads=1, device="cpu", progress=False
        ... )
        >>> len(found.outcomes), found.best.epochs, found.epochs
        (3, 1, 6)

    References:
        Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, section 3.3
        and equation 3.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence!r}")
    pictures = as_data(data)
    plan = search_plan(family, pictures, budget=budget, strategy=strategy, held_out=held_out, **options)
    if strategy == "tpe":
        import_optuna()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()) if out is None else out)
        _open(folder, {**plan.to_dict(), "precision": precision}, resume)
        fitting = {
            "precision": precision,
            "device": device,
            "threads": threads,
            "workers": workers,
            "progress": progress,
        }
        trainer = CandidateTrainer(plan, ranking_data(pictures, held_out), folder / CANDIDATES, fitting)
        outcomes, skipped = (estimate_parzen if strategy == "tpe" else climb)(plan, _counted(trainer, on_step))
        if outcomes[0].diverged:
            raise ValueError("lr: every candidate of the last rung diverged; lower lr, lengthen warmup, or set clip")
        best = outcomes[0]
        last = plan.rungs[len(best.rungs) - 1]
        test = tuple(trainer.tested(best.candidate, last, seed, pictures) for seed in plan.seeds)
        kept = None if out is None else folder
        result = SearchResult(plan, tuple(outcomes), tuple(skipped), test, confidence, kept)
        _write(folder / TABLE_FILE, as_csv(result.rows()))
        _write(folder / RESULT_FILE, json.dumps(result.to_dict(), indent=2) + "\n")
    return result


def _counted(
    trainer: CandidateTrainer, on_step: Callable[[Step], None] | None
) -> Callable[[Candidate, Rung, int], Run]:
    """The trainer's ``run``, which says which training begins."""
    begun = 0

    def run(candidate: Candidate, rung: Rung, seed: int) -> Run:
        nonlocal begun
        begun += 1
        if on_step is not None:
            title = f"train {candidate.name} from seed {seed} to {rung.epochs} epochs"
            on_step(Step(begun, trainer.plan.trainings, title))
        return trainer.run(candidate, rung, seed)

    return run


def _open(folder: Path, asked: dict[str, Any], resume: bool) -> None:
    """Start the folder, or check that it holds this search."""
    file = folder / PLAN_FILE
    asked = json.loads(json.dumps(asked))
    folder.mkdir(parents=True, exist_ok=True)
    if file.is_file() and resume:
        try:
            there = json.loads(file.read_text())
        except ValueError as error:
            raise ValueError(f"out: {file} is not JSON; pass resume=False to start anew") from error
        if differences := _differences(there, asked):
            raise ValueError(
                f"out: {folder} holds another search: {'; '.join(differences)}. "
                "Choose another folder, or pass resume=False to start anew"
            )
        return
    if file.is_file():  # never a folder of something else
        shutil.rmtree(folder / CANDIDATES, ignore_errors=True)
    elif (folder / CANDIDATES).exists():
        raise ValueError(f"out: {folder} holds {CANDIDATES}/ of something that is no search; choose another folder")
    _write(file, json.dumps(asked, indent=2) + "\n")


def _differences(there: Any, asked: Any, name: str = "") -> list[str]:
    """Where two JSON values differ, by the dotted name of the entry."""
    if not (isinstance(there, dict) and isinstance(asked, dict)):
        return [] if there == asked else [f"{name or 'it'} is {there!r} there and {asked!r} here"]
    return [
        difference
        for key in sorted({*there, *asked})
        for difference in _differences(there.get(key), asked.get(key), f"{name}.{key}".lstrip("."))
    ]


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())
