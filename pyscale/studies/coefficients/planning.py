"""What a search will train and spend, known before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

from pyscale.models import Scaling
from pyscale.models.scaling import finite, positive
from pyscale.studies.coefficients.rungs import Rung, plan_rungs, rung_sizes
from pyscale.studies.coefficients.space import Candidate, SearchSpace
from pyscale.train import Data, Recipe
from pyscale.train.datasets import DataLike, as_data
from pyscale.train.runs import data_digest
from pyscale.train.seeding import check_seed

Strategy = Literal["grid", "halving", "tpe"]
Unit = Literal["epochs", "macs"]


@dataclass(frozen=True, eq=False)
class SearchPlan:
    """The candidates of a search, how long each is trained, and what that costs at most.

    Attributes:
        space: Family, baseline, and the constraint on the bases.
        strategy: ``"grid"``, ``"halving"`` or ``"tpe"``.
        candidates: Every grid point, those that are not trained with the reason; empty for ``"tpe"``, which chooses as
            it goes.
        rungs: How many candidates are trained to how many epochs, rung after rung.
        seeds: Each candidate is trained once from each.
        budget: The most it may spend, in ``unit``.
        unit: ``"epochs"`` or ``"macs"``.
        recipe: Of every training, but for the number of epochs.
        pictures: How many are trained on, and how many are held out to rank by.
        data_name: Of the data.
        digest: Of the pictures and labels.
        search_seed: Of TPE's draws.
        rate: Forward MACs per second of training, where it was given.
    """

    space: SearchSpace
    strategy: Strategy
    candidates: tuple[Candidate, ...]
    rungs: tuple[Rung, ...]
    seeds: tuple[int, ...]
    budget: float
    unit: Unit
    recipe: Recipe
    pictures: tuple[int, int]
    data_name: str
    digest: str
    search_seed: int = 0
    rate: float | None = None

    @property
    def continues(self) -> bool:
        """Whether a rung goes on from the checkpoints of the one before, rather than training anew."""
        return self.recipe.open_ended

    @property
    def trained(self) -> tuple[Candidate, ...]:
        """The grid points that are trained."""
        return tuple(candidate for candidate in self.candidates if not candidate.skipped)

    @property
    def trainings(self) -> int:
        """How many times a network is trained or trained on."""
        return sum(rung.candidates for rung in self.rungs) * len(self.seeds)

    @property
    def epochs(self) -> int:
        """Passes over the training pictures, over all candidates, seeds and rungs."""
        return sum(rung.spent for rung in self.rungs) * len(self.seeds)

    @cached_property
    def macs(self) -> float:
        """Forward multiply-accumulates of those passes, at most: as if the dearest candidates survived."""
        prices = self.prices()
        return sum(
            rung.trained * len(self.seeds) * self.pictures[0] * sum(prices[: rung.candidates]) for rung in self.rungs
        )

    @property
    def seconds(self) -> float | None:
        """Training time at the given rate; None where none was given."""
        return None if self.rate is None else self.macs / self.rate

    def prices(self) -> list[float]:
        """MACs of one picture, the dearest candidate first; TPE's are bounded by the tolerance on the cost."""
        if self.candidates:
            return sorted((float(candidate.macs) for candidate in self.trained), reverse=True)
        most = self.space.growth * (1 + self.space.cost_tolerance) * self.space.baseline_macs()
        return [most] * self.rungs[0].candidates

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: all that decides the outcome, but the pictures themselves."""
        return {
            "space": asdict(self.space),
            "strategy": self.strategy,
            "rungs": [asdict(rung) for rung in self.rungs],
            "seeds": list(self.seeds),
            "budget": self.budget,
            "unit": self.unit,
            "recipe": {name: value for name, value in self.recipe.to_dict().items() if name != "epochs"},
            "data": {
                "name": self.data_name,
                "train": self.pictures[0],
                "held_out": self.pictures[1],
                "digest": self.digest,
            },
            "search_seed": self.search_seed,
        }

    def __str__(self) -> str:
        how = "going on from checkpoints" if self.continues else "each rung anew: the schedule depends on its length"
        lines = [
            f"{self.strategy} search of {self.space.family} for {self.space.growth:g} times the baseline's MACs, "
            f"{len(self.seeds)} seeds"
        ]
        if self.candidates:
            same = sum(candidate.same_as is not None for candidate in self.candidates)
            off = len(self.candidates) - len(self.trained) - same
            lines.append(
                f"{len(self.candidates)} grid points: {len(self.trained)} trained, {off} miss the cost once rounded, "
                f"{same} round to the network of another"
            )
        lines += [f"rung {k}: {rung}" for k, rung in enumerate(self.rungs, 1)]
        if len(self.rungs) > 1:
            lines.append(how)
        time = "" if self.seconds is None else f", about {self.seconds:.0f} s"
        lines.append(
            f"{self.epochs} epochs of {self.pictures[0]} pictures, at most {self.macs:.3g} MACs forward{time}; "
            f"ranked on {self.pictures[1]} held-out pictures"
        )
        return "\n".join(lines)


def search_plan(
    family: str,
    data: DataLike,
    *,
    budget: float,
    strategy: Strategy = "grid",
    unit: Unit = "epochs",
    seeds: Sequence[int] = (0, 1, 2),
    image_size: int | None = None,
    baseline: Scaling | None = None,
    growth: float = 2.0,
    tolerance: float = 0.05,
    step: float = 0.1,
    cost_tolerance: float = 0.1,
    held_out: float = 0.2,
    reduction: int = 3,
    trials: int = 20,
    search_seed: int = 0,
    rate: float | None = None,
    **changes: Any,
) -> SearchPlan:
    r"""Say what :func:`search` would train, and what it would spend, without training anything.

    The budget decides how long candidates are trained. One *epoch* is one pass of one network over the training
    pictures; ``unit="macs"`` counts the forward multiply-accumulates of those passes, MACs of one picture × pictures ×
    epochs, so that dear networks use more of it (the backward pass takes about twice that again, everywhere alike).

    - ``"grid"``: all candidates are trained equally long.
    - ``"halving"``: with n candidates and reduction η there are :math:`\lceil \log_\eta n \rceil` rungs, each with an
      equal part of the budget; the best 1/η of a rung, rounded up, go on to the next, and the best of the last wins.
    - ``"tpe"``: ``trials`` networks, each chosen by Optuna's tree-structured Parzen estimator from the accuracies of
      those before, on the continuous surface α β² γ² = growth; all trained equally long.

    Going on from a checkpoint is the same as a longer training only where no step's learning rate depends on the number
    of epochs: ``schedule="constant", warmup=0``. Then a rung pays for the epochs that it adds. Under any other recipe a
    rung trains anew, under a schedule of its full length, and pays for all of it.

    Args:
        family: A name that :func:`pyscale.models.build` knows.
        data: Pictures; a :class:`pyscale.train.Data` or what :func:`pyscale.train.fit` takes.
        budget: The most that the search may spend, in ``unit``.
        strategy: ``"grid"``, ``"halving"`` or ``"tpe"``.
        unit: ``"epochs"`` or ``"macs"``.
        seeds: Each candidate is trained once from each; at least 2.
        image_size: Side of the family's pictures in pixels before scaling; None is the family's own.
        baseline: Factors that make the baseline of the family; None is the family as published.
        growth: How many times the baseline's MACs a network is to cost.
        tolerance: How far, relatively, α β² γ² of a grid point may be from ``growth``.
        step: Of the grid, in each base.
        cost_tolerance: How far, relatively, the counted cost may be from ``growth`` times the baseline's; candidates
            beyond are reported and not trained.
        held_out: Share of the training pictures to rank by; not used where the data have a validation split, which
            then serves. The test pictures are not looked at.
        reduction: η of successive halving, at least 2.
        trials: Networks that TPE trains, at least 2.
        search_seed: Of TPE's draws.
        rate: Forward MACs per second of training, for an estimate of the time; a result's ``rate`` is a measured one.
        **changes: Fields of :class:`pyscale.train.Recipe` to change, such as ``lr=0.05``.

    Returns:
        The plan.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: The budget does not suffice for one epoch each, no grid point meets the cost, or an option is out of
            its range; an unknown family.

    Example:
        >>> from pyscale.train import digits
        >>> plan = search_plan("cifar_resnet8", digits(), image_size=8, budget=40, seeds=(0, 1), strategy="halving")
        >>> print(plan)
        halving search of cifar_resnet8 for 2 times the baseline's MACs, 2 seeds
        22 grid points: 4 trained, 10 miss the cost once rounded, 8 round to the network of another
        rung 1: 4 candidates to 2 epochs
        rung 2: 2 candidates to 6 epochs
        each rung anew: the schedule depends on its length
        40 epochs of 1150 pictures, at most 7.34e+10 MACs forward; ranked on 288 held-out pictures

    References:
        Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019, section 3.3
        and equation 3.
        Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016.
        Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011 (the Parzen estimator).
    """
    pictures = as_data(data)
    seeds = _checked_seeds(seeds)
    for name, value, known in (("strategy", strategy, get_args(Strategy)), ("unit", unit, get_args(Unit))):
        if value not in known:
            raise ValueError(f"{name} must be one of {known}, got {value!r}")
    for name, count in (("reduction", reduction), ("trials", trials)):
        if isinstance(count, bool) or not isinstance(count, int) or count < 2:
            raise ValueError(f"{name} must be an int of at least 2, got {count!r}")
    if not 0 < finite("held_out", held_out) < 1:
        raise ValueError(f"held_out must lie between 0 and 1, a share of the training pictures, got {held_out!r}")
    if "epochs" in changes:
        raise TypeError("epochs: the budget decides how long candidates are trained; change budget")
    space = SearchSpace(
        family,
        pictures.num_classes,
        pictures.channels,
        image_size,
        Scaling() if baseline is None else baseline,
        growth,
        tolerance,
        step,
        cost_tolerance,
    )
    candidates = () if strategy == "tpe" else _grid_candidates(space)
    ranked = ranking_data(pictures, held_out)
    plan = SearchPlan(
        space=space,
        strategy=strategy,
        candidates=candidates,
        rungs=(Rung(trials, 0, 0),),  # how many; how long follows from the budget
        seeds=seeds,
        budget=positive("budget", budget),
        unit=unit,
        recipe=pictures.recipe.but(**changes),
        pictures=(len(ranked.labels("train")), len(ranked.labels("test"))),
        data_name=pictures.name,
        digest=data_digest(replace(ranked, val=ranked.test)),
        search_seed=check_seed(search_seed, "search_seed"),
        rate=None if rate is None else positive("rate", rate),
    )
    prices = plan.prices()
    sizes = rung_sizes(len(prices), reduction) if strategy == "halving" else [len(prices)]
    per_epoch = [1.0 if unit == "epochs" else price * plan.pictures[0] for price in prices]
    return replace(plan, rungs=plan_rungs(sizes, per_epoch, plan.budget, len(seeds), continues=plan.continues))


def ranking_data(data: Data, held_out: float) -> Data:
    """The data that a search sees: its "test" pictures are validation pictures, and the real ones are left alone."""
    split = data if data.val is not None else data.holding_out(held_out)
    return replace(split, test=split.split("val"), val=None)


def _grid_candidates(space: SearchSpace) -> tuple[Candidate, ...]:
    candidates = space.candidates(space.grid())
    if not candidates:
        raise ValueError(
            f"no grid point has α β² γ² within {space.tolerance:.0%} of {space.growth:g}: lower step, "
            f"now {space.step:g}"
        )
    if all(candidate.skipped for candidate in candidates):
        nearest = min(candidates, key=lambda c: abs(c.growth - space.growth))
        raise ValueError(
            f"no network of the grid costs {space.growth:g} ± {space.cost_tolerance:.0%} times the baseline once it is "
            f"rounded; the nearest, {nearest.name}, costs {nearest.growth:.3g}. Lower step, raise cost_tolerance, or "
            "take a larger baseline, which rounding moves less"
        )
    return candidates


def _checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    try:
        given = tuple(seeds)
    except TypeError as error:
        raise TypeError(
            f"seeds must be a sequence of at least 2 different ints, such as (0, 1, 2), got {seeds!r}"
        ) from error
    checked = tuple(check_seed(seed, "seeds") for seed in given)
    if len(checked) < 2 or len(set(checked)) < len(checked):
        raise ValueError(
            f"seeds must be at least 2 different ones, or nothing is known of what a seed changes; got {seeds}"
        )
    return checked
