"""Which candidates are trained, and how far: all alike, by successive halving, or by a Parzen estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyscale.studies.coefficients.planning import SearchPlan
from pyscale.studies.coefficients.results import Outcome
from pyscale.studies.coefficients.rungs import Rung
from pyscale.studies.coefficients.space import Candidate, Counting, on_surface
from pyscale.studies.coefficients.training import Run

if TYPE_CHECKING:
    import optuna

Train = Callable[[Candidate, Rung, int], Run]
Found = tuple[list[Outcome], list[Candidate]]

_ASKED_FOR_EACH = 25  # points asked for at most for each network to be trained: most round to one that was
_BEYOND = 0.15  # of a share's range, at either end: a block more in every stage is what any depth above 1 costs


def climb(plan: SearchPlan, train: Train) -> Found:
    """Train all candidates of the first rung, the best of them in the next, and so on.

    Args:
        plan: With the candidates and the rungs; one rung is a plain grid search.
        train: Trains a candidate to the end of a rung from a seed.

    Returns:
        The outcomes, the best first, and the candidates that were not trained.
    """
    outcomes = [Outcome(candidate, ()) for candidate in plan.trained]
    behind: list[Outcome] = []
    for rung in plan.rungs:
        behind = [*outcomes[rung.candidates :], *behind]
        outcomes = ranked([_trained_on(outcome, rung, plan.seeds, train) for outcome in outcomes[: rung.candidates]])
    return [*outcomes, *behind], [candidate for candidate in plan.candidates if candidate.skipped]


def ranked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Outcomes of one rung, the most accurate first; of equal ones the cheaper; those that diverged last."""

    def key(outcome: Outcome) -> tuple[float, int, str]:
        return math.inf if outcome.diverged else -outcome.mean, outcome.candidate.macs, outcome.name

    return sorted(outcomes, key=key)


def estimate_parzen(plan: SearchPlan, train: Train) -> Found:
    """Let Optuna's tree-structured Parzen estimator choose one candidate after another from what those before scored.

    It draws two shares: of depth in the growth, and of width in what depth leaves; a little beyond [0, 1] and cut, so
    that not to scale a dimension at all has a chance too. A point whose network misses the cost is told as pruned, with
    how far it misses as a constraint. So is one that rounds to a network that was trained: told as good, it would draw
    the others after it, to no new network. Neither costs anything. The draws depend on ``plan.search_seed`` and the
    accuracies alone, so a search that was killed asks for the same points again and finds their runs done.

    Args:
        plan: With the number of networks to train.
        train: Trains a candidate to the end of a rung from a seed.

    Returns:
        The outcomes, the best first, and the points that were not trained.

    Raises:
        ImportError: Optuna is missing: ``pip install 'pyscale[search]'``.
        ValueError: If no point that was asked for meets the cost.
    """
    optuna = import_optuna()
    counting, rung = Counting(plan.space), plan.rungs[0]
    outcomes: dict[str, Outcome] = {}
    skipped: dict[str, Candidate] = {}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        sampler = optuna.samplers.TPESampler(seed=plan.search_seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for _ in range(_ASKED_FOR_EACH * rung.candidates):
            if len(outcomes) == rung.candidates:
                break
            trial, candidate = _ask(study, counting, plan)
            outcome = None
            if candidate.skipped:
                skipped[candidate.name] = candidate
            elif candidate.name not in outcomes:  # the same bases may be drawn twice
                outcome = _trained_on(Outcome(candidate, ()), rung, plan.seeds, train)
                outcomes[candidate.name] = outcome
            _tell(study, trial, outcome)
    finally:
        optuna.logging.set_verbosity(verbosity)
    if not outcomes:
        raise ValueError(
            f"none of {_ASKED_FOR_EACH * rung.candidates} points costs {plan.space.growth:g} ± "
            f"{plan.space.cost_tolerance:.0%} times the baseline once it is rounded: raise cost_tolerance, or take a "
            "larger baseline, which rounding moves less"
        )
    return ranked(list(outcomes.values())), list(skipped.values())


def import_optuna() -> Any:
    """Optuna, or how to install it.

    Raises:
        ImportError: It is not installed; the message names the extra.
    """
    try:
        return import_module("optuna")
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise  # it is there but broken: its own message says more
        raise ImportError("strategy \"tpe\" needs optuna: pip install 'pyscale[search]'", name="optuna") from error


def _trained_on(outcome: Outcome, rung: Rung, seeds: Sequence[int], train: Train) -> Outcome:
    return Outcome(outcome.candidate, (*outcome.rungs, tuple(train(outcome.candidate, rung, seed) for seed in seeds)))


def _ask(study: optuna.Study, counting: Counting, plan: SearchPlan) -> tuple[optuna.Trial, Candidate]:
    from optuna.distributions import FloatDistribution

    share = FloatDistribution(-_BEYOND, 1 + _BEYOND)
    trial = study.ask({"depth": share, "split": share})
    depth, split = (min(max(trial.params[name], 0.0), 1.0) for name in ("depth", "split"))
    candidate = counting.candidate(on_surface(plan.space.growth, depth, split))
    trial.set_constraint("cost", counting.violation(candidate))
    return trial, candidate


def _tell(study: optuna.Study, trial: optuna.Trial, outcome: Outcome | None) -> None:
    from optuna.trial import TrialState

    if outcome is None or outcome.diverged:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, outcome.mean)
