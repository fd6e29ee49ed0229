"""What came of networks that cost the same, as tables and as sentences.

``equal_budget.csv`` has one line a way and budget; ``equal_budget_networks.csv`` one line a network. Ways without a
part stand in the first with their reason and no numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from pyscale.studies.budgets import RESOURCES
from pyscale.studies.equal_budget.contenders import (
    SEEDS_INTERVAL,
    Absentee,
    Contestant,
    EqualBudgetResult,
    Interval,
    Standing,
    paired_difference,
)
from pyscale.studies.equal_budget.question import WAYS, Contender

_LATENCY_TOLERANCE = 1.05  # a latency within the budget when the network was chosen, measured again
Row = dict[str, Any]


def standing_rows(contest: EqualBudgetResult) -> list[Row]:
    """One row a way and budget: means and intervals over seeds, or why it has no part."""
    standings = {standing.contender: standing for standing in contest.standings()}
    return [_standing_row(contest, contender, standings.get(contender)) for contender in contest.asked.contenders()]


def contestant_rows(contest: EqualBudgetResult) -> list[Row]:
    """One row a network, with everything that the means are of; the originals first."""
    originals: list[Row] = [
        {"way": "original", "resource": "", "share": 1.0, "seed": member.seed, **_measured(member), "change": 0.0}
        | {"similarity": 1.0, "used": 1.0, "within_budget": ""}
        for member in contest.originals
    ]
    return originals + [
        {
            "way": each.contender.way,
            "resource": each.contender.budget.resource,
            "share": each.contender.budget.limit,
            "seed": each.member.seed,
            **_measured(each.member),
            "change": each.change,
            "similarity": each.similarity,
            "used": each.used,
            "within_budget": keeps_budget(each),
        }
        for each in contest.contestants
    ]


def contest_sentences(contest: EqualBudgetResult) -> list[str]:
    """What the numbers say: one sentence or two for each budget, then the yardstick, then who had no part."""
    said = []
    for resource in contest.asked.resources:
        for share in contest.asked.shares:
            standings = contest.at(resource, share)
            if standings:
                said.append(f"At {100 * share:g} % of the original's {RESOURCES[resource]}, {_compared(standings)}")
    if said and contest.asked.passes:
        said.append(
            f"All of these have had {contest.asked.passes} more passes over the pictures than the originals, which "
            "alone may change accuracy: they are compared fairly with one another, and less so with the originals."
        )
    if contest.yardstick:
        low, high = min(contest.yardstick), max(contest.yardstick)
        spread = f"{low:.2f}" if len(contest.yardstick) == 1 else f"{low:.2f} to {high:.2f}"
        said.append(
            f"Originals that differ in nothing but the seed have a mean CKA of {spread} between their key layers: a "
            "network above that is nearer to its original than another training of it would be."
        )
    return [*said, *dict.fromkeys(_absence(contest, absentee) for absentee in contest.absentees)]


def _absence(contest: EqualBudgetResult, absentee: Absentee) -> str:
    """That a way has no part, whatever the budget, at one budget, or for one seed there; and why."""
    contender = absentee.contender
    question = f"the question of {RESOURCES[contender.budget.resource]}"
    if contest.asked.unable(contender) is None:
        question += f" at {100 * contender.budget.limit:g} %"
    if absentee.seed is not None:
        question += f" for seed {absentee.seed}"
    name = WAYS[contender.way]
    return f"{name[0].upper()}{name[1:]} have no part in {question}: {absentee.reason}."


def keeps_budget(contestant: Contestant) -> bool:
    """Whether a network costs no more than its budget; a latency may be 5 % off when measured again."""
    budget = contestant.contender.budget
    allowed = budget.limit * (_LATENCY_TOLERANCE if budget.resource == "latency" else 1.0)
    return contestant.used <= allowed


def within_budget(standing: Standing) -> bool:
    """Whether every network of a way costs no more than its budget: a way with one that costs more is not ranked."""
    return all(keeps_budget(each) for each in standing.contestants)


def over_budget(standing: Standing) -> str:
    """What is said of a way with a network over its budget."""
    again = " when timed again" if standing.contender.budget.resource == "latency" else ""
    over = [each for each in standing.contestants if not keeps_budget(each)]
    if len(over) == len(standing.contestants):
        return f"over the budget{again}"
    seeds = " and ".join(f"{100 * each.used:.0f} % for seed {each.member.seed}" for each in over)
    return f"{seeds} over the budget{again}"


def _compared(standings: list[Standing]) -> str:
    n = min(standing.accuracy.n for standing in standings)
    parts = [
        f"{WAYS[s.contender.way]} (which use {_used(s)}) change accuracy by {_points(s.change)} points "
        f"and have a CKA of {_value(s.similarity)} to it"
        for s in standings
    ]
    seeds = "one seed, so no interval" if n < 2 else f"{n} seeds, intervals are {SEEDS_INTERVAL}"
    text = f"{'; '.join(parts)} ({seeds})."
    ranked = [standing for standing in standings if within_budget(standing)]
    if len(standings) < 2:
        return text
    if len(ranked) < 2:
        within = f"Only {WAYS[ranked[0].contender.way]} are" if ranked else "None of them is"
        return f"{text} {within} within the budget, so none is said to lead."
    if min(standing.accuracy.n for standing in ranked) < 2:
        return text
    kept = _leader(ranked, "change", lambda d: f"{_points(d)} points")
    alike = _leader(ranked, "similarity", _value)
    most = "Most" if len(ranked) == len(standings) else "Of those within the budget, most"
    return f"{text} {most} accuracy is kept by {kept}. Most like the original inside are {alike}."


def _used(standing: Standing) -> str:
    share = f"{100 * standing.used.mean:.0f} %"
    return share if within_budget(standing) else f"{share}, {over_budget(standing)}"


def _leader(standings: list[Standing], measure: str, shown: Callable[[Interval], str]) -> str:
    """Who has most of something, and whether seeds alone could explain the lead over the next."""
    first, second = sorted(standings, key=lambda s: getattr(s, measure).mean, reverse=True)[:2]
    lead = paired_difference(first, second, measure)
    names = [WAYS[s.contender.way] for s in (first, second)]
    if lead.low > 0:
        return f"{names[0]}, ahead of {names[1]} by {shown(lead)}"
    return f"{names[0]} on average, but {names[1]} are no further off than seeds can explain ({shown(lead)})"


def _standing_row(contest: EqualBudgetResult, contender: Contender, standing: Standing | None) -> Row:
    nothing = Interval(math.nan, math.nan, math.nan, 0)
    measures = ("accuracy", "change", "similarity")
    found = {name: nothing if standing is None else getattr(standing, name) for name in measures}
    reasons = [a.reason for a in contest.absentees if a.contender == contender]
    return {
        "resource": contender.budget.resource,
        "share": contender.budget.limit,
        "way": contender.way,
        "n": found["accuracy"].n,
        "interval": SEEDS_INTERVAL,
        **{
            f"{name}{end}": getattr(interval, attribute)
            for name, interval in found.items()
            for end, attribute in (("", "mean"), ("_low", "low"), ("_high", "high"))
        },
        "original_accuracy": contest.original_accuracy.mean,
        "yardstick": float(np.mean(contest.yardstick)) if contest.yardstick else math.nan,
        "used": math.nan if standing is None else standing.used.mean,
        "within_budget": "" if standing is None else within_budget(standing),
        "no_part": "; ".join(dict.fromkeys(reasons)),
    }


def _measured(member: Any) -> Row:
    return {
        "network": member.name,
        "accuracy": member.trained.accuracy.value,
        "parameters": member.cost.parameters,
        "nonzero_parameters": sum(int(parameter.count_nonzero()) for parameter in member.network.parameters()),
        "macs": member.cost.macs,
        "file_bytes": member.file_bytes,
        "latency_seconds": member.cost.latency,
    }


def _points(interval: Interval) -> str:
    mean = f"{100 * interval.mean:+.1f}"
    return mean if interval.n < 2 else f"{mean} ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})"


def _value(interval: Interval) -> str:
    mean = f"{interval.mean:.3f}"
    return mean if interval.n < 2 else f"{mean} ({interval.low:.3f} to {interval.high:.3f})"
