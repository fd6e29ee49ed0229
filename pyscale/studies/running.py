"""A study from its description to its files: train, compare, time, write."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from pyscale.models import profile
from pyscale.studies.networks import LATENCY_REPEATS, LATENCY_ROUNDS, Member, train_member, using_threads
from pyscale.studies.provenance import describe_machine, describe_software, now
from pyscale.studies.results import StudyResult
from pyscale.studies.similarity import Similarity, compare_layers
from pyscale.studies.study import LABELS, Study


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
    study: Study,
    out: str | Path = "outputs",
    *,
    resume: bool = True,
    progress: bool = True,
    on_step: Callable[[Step], None] | None = None,
) -> StudyResult:
    """Train a study's networks, compare each with the baseline layer by layer, and write tables, figures and a report.

    Every training keeps its checkpoint in ``out/runs/<name>``: a killed study goes on where it stopped, and a finished
    one only compares, times and draws again. All files are replaced whole.

    Args:
        study: What to do.
        out: The folder: ``report.html``, ``study.json``, ``networks.csv``, ``layers.csv``, ``figures/``,
            ``comparisons/``, ``runs/``.
        resume: False trains anew.
        progress: Whether the trainings' progress bars are shown.
        on_step: Called as each part begins.

    Returns:
        Everything that was measured.

    Raises:
        TypeError: If ``study`` is none.
        ValueError: If ``out`` holds trainings of another study, or the study's parts do not fit together.
        ImportError: If the ``train`` or the ``report`` extra is not installed.
    """
    from pyscale.studies.files import write_files

    if not isinstance(study, Study):
        raise TypeError(f"study must be a pyscale.studies.Study, got {type(study).__name__}")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    steps = _Steps(study, on_step)
    with using_threads(study.threads):
        members = []
        for variant in study.members:
            steps.begin(f"train {variant.name}")
            members.append(train_member(study, variant, out / "runs" / variant.name, progress=progress, resume=resume))
        similarities = _compare(study, members, steps)
        steps.begin("time the networks")
        members = _timed(members)
    steps.begin("draw and write")
    result = StudyResult(study, tuple(members), similarities, _provenance(study, members, steps), out)
    write_files(result)
    return result


class _Steps:
    """Counts the parts of a study and the seconds each kind took."""

    def __init__(self, study: Study, on_step: Callable[[Step], None] | None) -> None:
        networks = len(study.members)
        self.total = networks + (networks - 1) * len(study.metrics) + 2
        self.number = 0
        self.seconds: dict[str, float] = {}
        self._on_step = on_step
        self._kind, self._started = "", time.perf_counter()

    def begin(self, title: str) -> None:
        self.stop()
        self._kind = title.partition(" ")[0]
        self.number += 1
        if self._on_step is not None:
            self._on_step(Step(self.number, self.total, title))

    def stop(self) -> None:
        now_ = time.perf_counter()
        if self._kind:
            self.seconds[self._kind] = self.seconds.get(self._kind, 0.0) + now_ - self._started
        self._kind, self._started = "", now_


def _compare(study: Study, members: list[Member], steps: _Steps) -> dict[str, dict[str, Similarity]]:
    baseline, *others = members
    found: dict[str, dict[str, Similarity]] = {}
    for member in others:
        found[member.name] = {}
        for metric in study.metrics:
            steps.begin(f"compare {member.name} with the baseline by {LABELS[metric]}")
            found[member.name][metric] = compare_layers(
                member.network,
                baseline.network,
                study.data,
                metric,
                key_layers=study.key_layers,
                batch_size=study.batch_size,
            )
    return found


def _timed(members: list[Member]) -> list[Member]:
    """The members with their latencies: medians over rounds that take turns, so that a busy moment hits them all."""
    rounds = [
        [profile(member.network, repeats=LATENCY_REPEATS).latency for member in members] for _ in range(LATENCY_ROUNDS)
    ]
    latencies = [median(each) for each in zip(*rounds, strict=True)]
    return [
        replace(member, cost=replace(member.cost, latency=latency))
        for member, latency in zip(members, latencies, strict=True)
    ]


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
