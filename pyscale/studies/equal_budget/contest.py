"""Networks that cost the same, made in every way and for every seed, and held to their originals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pyscale.comparison.files import replacing
from pyscale.models import Network, Scaling
from pyscale.models.timing import latency_share
from pyscale.studies.budgets import BudgetError
from pyscale.studies.equal_budget.contenders import Absentee, Contestant, EqualBudgetResult, pairs
from pyscale.studies.equal_budget.question import Contender, EqualBudgets
from pyscale.studies.networks import Member, Workshop, make_member
from pyscale.studies.scaled_budgets import scaled_to_budget
from pyscale.studies.similarity import compare_layers
from pyscale.studies.study import Study, Variant

PLAN_FILE = "equal_budget_plan.json"
_SECONDS = 2.0  # of measuring what a network chosen by its latency takes: its last word


@dataclass(frozen=True)
class Entry:
    """A network to make.

    Attributes:
        contender: Its way and budget.
        study: What trains it: the study, with the passes that scaled networks are given.
        variant: The network.
    """

    contender: Contender
    study: Study
    variant: Variant


@dataclass(frozen=True)
class Plan:
    """All networks to make, and who has no part."""

    entries: tuple[Entry, ...]
    absentees: tuple[Absentee, ...]


def plan_contest(study: Study, shop: Workshop) -> Plan:
    """Decide which networks to make; sizes of scaled ones are found here, once, and written down.

    A latency is measured, and another measurement may find another network: so what was found stands in
    ``equal_budget_plan.json``, and a study that is taken up again reads it there.

    Args:
        study: Asks for equal budgets.
        shop: Its folder keeps the plan.

    Returns:
        The plan: entries in the order of the question, for each seed.

    Raises:
        ValueError: If the folder holds the plan of another question.
    """
    asked = study.equal_budget
    assert asked is not None
    entries: list[Entry] = []
    absentees: list[Absentee] = []
    found = _scalings(study, asked, shop)
    for contender in asked.contenders():
        reason = asked.unable(contender)
        scaling = found.get(contender.name)
        if reason is None and isinstance(scaling, str):
            reason = scaling
        if reason is not None:
            absentees.append(Absentee(contender, reason))
            continue
        for seed in (study.seed, *study.twin_seeds):
            entries.append(_entry(study, asked, contender, seed, scaling))
    return Plan(tuple(entries), tuple(absentees))


def run_contest(
    study: Study, plan: Plan, originals: Sequence[Member], shop: Workshop, announce: Callable[[str], None]
) -> EqualBudgetResult:
    """Make every network of a plan and compare it with the original of its seed.

    Args:
        study: What they belong to.
        plan: Which networks.
        originals: The trained baseline and its twins.
        shop: Where and how.
        announce: Called with what is done next.

    Returns:
        The result, latencies not yet measured.
    """
    assert study.equal_budget is not None
    of_seed = {original.seed: original for original in originals}
    contestants, absentees = [], list(plan.absentees)
    for entry in plan.entries:
        announce(f"make {entry.variant.name}")
        original = of_seed[entry.study.seed_of(entry.variant)]
        try:
            member = make_member(entry.study, entry.variant, shop)
        except BudgetError as error:
            absentees.append(Absentee(entry.contender, str(error), original.seed))
            continue
        similarity = mean_similarity(study, member.network, original.network, shop.device)
        contestants.append(Contestant(entry.contender, member, original, similarity))
    yardstick = tuple(mean_similarity(study, a.network, b.network, shop.device) for a, b in pairs(originals))
    return EqualBudgetResult(study.equal_budget, tuple(originals), tuple(contestants), tuple(absentees), yardstick)


def time_shares(contest: EqualBudgetResult) -> EqualBudgetResult:
    """Measure again what networks with a budget of latency take of their original's, each in turns with it."""
    return replace(contest, contestants=tuple(_timed(each) for each in contest.contestants))


def mean_similarity(study: Study, network: Network, original: Network, device: str | None) -> float:
    """Mean unbiased CKA of a network's key layers to their counterparts in the original, on held-out pictures."""
    similarity = compare_layers(
        network,
        original,
        study.data,
        "cka",
        key_layers=study.key_layers,
        batch_size=study.batch_size,
        device=device,
    )
    return float(np.nanmean(similarity.at_counterpart()[similarity.key_rows]))


def _timed(contestant: Contestant) -> Contestant:
    if contestant.contender.budget.resource != "latency":
        return contestant
    network, original = contestant.member.network, contestant.original.network
    return replace(contestant, latency_share=latency_share(network, original, seconds=_SECONDS))


def _entry(study: Study, asked: EqualBudgets, contender: Contender, seed: int, scaling: Scaling | str | None) -> Entry:
    name = f"{contender.name}-seed{seed}"
    if isinstance(scaling, Scaling):
        epochs = study.data.recipe.epochs if study.epochs is None else study.epochs
        return Entry(contender, replace(study, epochs=epochs + asked.passes), Variant(name, scaling, seed=seed))
    return Entry(contender, study, Variant(name, seed=seed, compression=asked.compression(contender)))


def _scalings(study: Study, asked: EqualBudgets, shop: Workshop) -> dict[str, Scaling | str]:
    """Factors, or why there are none, of every scaled contender by name; from the file where it is there."""
    path = shop.out / PLAN_FILE
    question = json.loads(
        json.dumps(
            {
                "family": study.family,
                "baseline": asdict(study.baseline),
                "image_size": study.image_size,
                "classes": study.data.num_classes,
                "channels": study.data.channels,
                "equal_budget": asdict(asked),
            }
        )
    )
    if path.exists() and shop.resume:
        there = json.loads(path.read_text())
        if there["question"] != question:
            raise ValueError(
                f"out: {path} is the plan of another question; choose another folder, or pass resume=False"
            )
        found = there["scaled"]
    else:
        found = dict(_search(study, asked))
        with replacing(path) as file:
            file.write((json.dumps({"question": question, "scaled": found}, indent=2) + "\n").encode())
    return {name: value if isinstance(value, str) else Scaling(**value) for name, value in found.items()}


def _search(study: Study, asked: EqualBudgets) -> Iterator[tuple[str, dict[str, float] | str]]:
    shape: dict[str, Any] = {
        "num_classes": study.data.num_classes,
        "in_channels": study.data.channels,
        "image_size": study.image_size,
    }
    for contender in asked.contenders():
        if contender.way != "scaled":
            continue
        try:
            scaling = scaled_to_budget(study.family, contender.budget, asked.rule, baseline=study.baseline, **shape)
        except ValueError as error:
            yield contender.name, str(error)
        else:
            yield contender.name, asdict(scaling)
