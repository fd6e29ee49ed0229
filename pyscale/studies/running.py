"""A study from its description to its files: train, compress, compare, time, write."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from pyscale.comparison import Comparisons
from pyscale.distributed import local_device
from pyscale.models import profile
from pyscale.models.timing import latency_share
from pyscale.studies.budgets import BudgetError
from pyscale.studies.equal_budget.contenders import EqualBudgetResult
from pyscale.studies.equal_budget.contest import Entry, plan_contest, run_contest, time_shares
from pyscale.studies.foresight import check_networks
from pyscale.studies.networks import LATENCY_REPEATS, LATENCY_ROUNDS, Member, Workshop, make_member, using_threads
from pyscale.studies.pool import make_together
from pyscale.studies.provenance import describe_machine, describe_software, now
from pyscale.studies.results import StudyResult
from pyscale.studies.run_cache import RunCache
from pyscale.studies.similarity import Similarity, as_similarity, compare_all, compare_layers, noted
from pyscale.studies.study import LABELS, Study, Variant
from pyscale.studies.weight_similarity.measuring import WeightRow, compare_named, compare_own


@dataclass(frozen=True)
class Step:
    """A part of a study that begins.

    Attributes:
        number: Which one, from 1.
        total: How many there are.
        title: What happens, such as ``"train deeper"``.
    """

    number: int
    total: int
    title: str


def run(
    study: Study | str | Path,
    out: str | Path = "outputs",
    *,
    resume: bool = True,
    progress: bool = True,
    workers: int = 1,
    device: str | None = None,
    cache: str | Path | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> StudyResult:
    """Make a study's networks, compare each with the baseline layer by layer, and write tables, figures and a report.

    Every training keeps its checkpoint in ``runs/<name>``: a killed study goes on where it stopped, and a finished one
    only compares, times and draws again. All files are replaced whole. A study with a name, such as one from a file,
    has a folder of that name inside ``out``, and shares finished trainings with the studies beside it by ``cache``.

    Args:
        study: What to do, or the path of a YAML file that says so (:meth:`Study.from_yaml`).
        out: The folder: ``report.html``, ``study.json``, ``networks.csv``, ``layers.csv``, ``figures/``,
            ``comparisons/``, ``runs/``; ``equal_budget.csv``, ``costs.csv``, ``weights.csv`` and ``pairs.csv`` where
            they are asked for.
        resume: False trains anew.
        progress: Whether the trainings' progress bars are shown, where one process trains.
        workers: Processes that make networks at the same time, each on the study's threads. Scripts that ask for more
            than one start their work under ``if __name__ == "__main__"``.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``; None is a GPU where there is one. Latency is the CPU's.
        cache: Folder of finished trainings, found by what decided them; None is ``out/cache`` for a study with a name,
            and none for others.
        on_step: Called as each part begins.

    Returns:
        Everything that was measured.

    Raises:
        TypeError: If ``study`` is none.
        ValueError: If ``out`` holds trainings of another study, or the study's parts do not fit together.
        BudgetError: If a compressed variant cannot be brought within its budget.
        ImportError: If the ``train`` or the ``report`` extra is not installed.
    """
    from pyscale.studies.files import write_costs, write_files

    if isinstance(study, (str, Path)):
        study = Study.from_yaml(study)
    if not isinstance(study, Study):
        raise TypeError(f"study must be a pyscale.studies.Study or the path of a file, got {type(study).__name__}")
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    check_networks(study)
    shop = workshop(study, out, resume=resume, progress=progress and workers == 1, device=device, cache=cache)
    folder = shop.out
    if study.costs is not None:
        write_costs(study.costs.rows(study.family), folder)
    weights = _named_weights(study)
    with using_threads(study.threads):
        plan = None if study.equal_budget is None else plan_contest(study, shop)
        entries = () if plan is None else plan.entries
        steps = _Steps(study, len(entries), workers, on_step)
        if workers > 1:
            _make_in_processes(study, entries, shop, workers, steps)
            shop = replace(shop, resume=True)  # what the processes made is new
        members = []
        for variant in study.members:
            how = "load" if variant.weights else "train" if variant.compression is None else "compress"
            steps.begin(f"{how} {variant.name}")
            members.append(_member(study, variant, shop))
        similarities, all_pairs = _compare(study, members, steps, shop.device)
        if study.compare_weights is not None and study.compare_weights.baseline is None:
            weights = compare_own(study.compare_weights, {member.name: member.network for member in members})
        contest = None
        if plan is not None:
            contest = run_contest(study, plan, members[: 1 + len(study.twin_seeds)], shop, steps.begin)
        steps.begin("time the networks")
        members, contest = _timed(members, contest)
    steps.begin("draw and write")
    origin = _provenance(study, members, steps)
    result = StudyResult(study, tuple(members), similarities, origin, folder, contest, all_pairs, weights)
    write_files(result)
    return result


def _named_weights(study: Study) -> tuple[WeightRow, ...]:
    """Weights of networks that need no training, compared before anything is trained."""
    if study.compare_weights is None or study.compare_weights.baseline is None:
        return ()
    return compare_named(study.compare_weights, study.seed)


def workshop(
    study: Study,
    out: str | Path,
    *,
    resume: bool,
    progress: bool,
    device: str | None,
    cache: str | Path | None,
) -> Workshop:
    """Return where and how a study's networks are made, as :func:`run` says."""
    if device is None and torch.cuda.is_available():
        device = str(local_device("cuda"))
    folder = Path(out) / study.name
    folder.mkdir(parents=True, exist_ok=True)
    if cache is None and study.name:
        cache = Path(out) / "cache"
    return Workshop(folder, progress, resume, device, None if cache is None else RunCache(cache))


def _member(study: Study, variant: Variant, shop: Workshop) -> Member:
    try:
        return make_member(study, variant, shop)
    except BudgetError as error:
        raise BudgetError(f"variants: {variant.name} cannot be made: {error}") from error


def _make_in_processes(study: Study, entries: Sequence[Entry], shop: Workshop, workers: int, steps: _Steps) -> None:
    """First what is trained, then what is made of it; what a clock decides is left for later, when no one disturbs."""
    jobs = [(study, variant) for variant in study.members]
    jobs += [(e.study, e.variant) for e in entries]
    trained = [job for job in jobs if job[1].compression is None]
    made = [job for job in jobs if job[1].compression is not None and not needs_clock(job[1])]
    for title, phase in (("train", trained), ("compress", made)):
        if phase:
            steps.begin(f"{title} {len(phase)} networks in {min(workers, len(phase))} processes")
            make_together(phase, shop, workers, steps.note)


def needs_clock(variant: Variant) -> bool:
    """Whether a network's budget is one of latency, which is measured while nothing else runs."""
    budget = None if variant.compression is None else variant.compression.budget
    return budget is not None and budget.resource == "latency"


class _Steps:
    """Counts the parts of a study and the seconds each kind took."""

    def __init__(self, study: Study, entries: int, workers: int, on_step: Callable[[Step], None] | None) -> None:
        networks = len(study.members)
        comparisons = 1 if study.pairs == "all" else networks - 1
        self.total = networks + comparisons * len(study.metrics) + entries + 2
        if workers > 1:
            compress = entries or any(variant.compression is not None for variant in study.members)
            self.total += 2 if compress else 1
        self.number = 0
        self.seconds: dict[str, float] = {}
        self._on_step = on_step
        self._kind, self._started = "", time.perf_counter()

    def begin(self, title: str) -> None:
        self.stop()
        self._kind = title.partition(" ")[0]
        self.number += 1
        self.note(title)

    def note(self, title: str) -> None:
        """Say something within a part."""
        if self._on_step is not None:
            self._on_step(Step(self.number, self.total, title))

    def stop(self) -> None:
        now_ = time.perf_counter()
        if self._kind:
            self.seconds[self._kind] = self.seconds.get(self._kind, 0.0) + now_ - self._started
        self._kind, self._started = "", now_


def _compare(
    study: Study, members: list[Member], steps: _Steps, device: str | None
) -> tuple[dict[str, dict[str, Similarity]], dict[str, Comparisons]]:
    """Similarities to the baseline by name and metric, and, where they are asked for, all pairs by metric."""
    baseline, *others = members
    found: dict[str, dict[str, Similarity]] = {}
    if study.pairs == "all":
        return _compare_all(study, members, steps, device)
    for member in others:
        found[member.name] = {}
        for metric in study.metrics:
            steps.begin(f"compare {member.name} with the baseline by {LABELS[metric]}")
            found[member.name][metric] = compare_layers(
                member.network,
                baseline.network,
                study.data,
                metric,
                layers=study.layers_for(metric),
                key_layers=study.key_layers,
                batch_size=study.batch_size,
                device=device,
            )
    return found, {}


def _compare_all(
    study: Study, members: list[Member], steps: _Steps, device: str | None
) -> tuple[dict[str, dict[str, Similarity]], dict[str, Comparisons]]:
    baseline, *others = members
    networks = {member.name: member.network for member in members}
    found: dict[str, dict[str, Similarity]] = {member.name: {} for member in others}
    every: dict[str, Comparisons] = {}
    for metric in study.metrics:
        steps.begin(f"compare all pairs of networks by {LABELS[metric]}")
        with noted() as notes:
            every[metric] = compare_all(
                networks,
                study.data,
                metric,
                layers=study.layers_for(metric),
                batch_size=study.batch_size,
                device=device,
            )
        for member in others:
            comparison = every[metric][member.name, baseline.name]
            found[member.name][metric] = as_similarity(comparison, metric, study.key_layers, notes)
    return found, every


def _timed(members: list[Member], contest: EqualBudgetResult | None) -> tuple[list[Member], EqualBudgetResult | None]:
    """All networks with their latencies: medians over rounds that take turns, so that a busy moment hits them all.

    What a latency is of the baseline's, or of the original's at equal budgets, is measured in turns with that network.
    """
    contestants = () if contest is None else contest.contestants
    everyone = [*members, *(each.member for each in contestants)]
    rounds = [
        [profile(member.network, repeats=LATENCY_REPEATS).latency for member in everyone] for _ in range(LATENCY_ROUNDS)
    ]
    latencies = [median(each) for each in zip(*rounds, strict=True)]
    timed = [
        replace(member, cost=replace(member.cost, latency=latency))
        for member, latency in zip(everyone, latencies, strict=True)
    ]
    (baseline, *rest), others = timed[: len(members)], timed[len(members) :]
    rest = [replace(member, latency_share=latency_share(member.network, baseline.network)) for member in rest]
    members = [replace(baseline, latency_share=1.0), *rest]
    return members, None if contest is None else time_shares(contest.with_members(members, others))


def _provenance(study: Study, members: list[Member], steps: _Steps) -> dict[str, Any]:
    steps.stop()
    return {
        "date": now(),
        "machine": describe_machine(),
        "software": describe_software(),
        "threads": study.threads,
        "seconds": {
            "training": sum(member.trained.seconds for member in members),  # those of an earlier run included
            "comparing": steps.seconds["compare"],
            "timing": steps.seconds["time"],
        },
        "taken_up": [m.name for m in members if m.trained.resumed_at > 0],
    }
