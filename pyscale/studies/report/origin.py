"""Where a study's numbers came from, and where they lie."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from pyscale.studies.findings import Finding
from pyscale.studies.report.parts import Section, render
from pyscale.studies.report.values import counted, similarity_of
from pyscale.studies.results import StudyResult

FILES = (
    ("study.json", "everything on this page as numbers, whole matrices included"),
    ("networks.csv", "accuracy and cost, one line a network"),
    ("layers.csv", "similarity, chance and yardstick, one line a layer"),
    ("comparisons/", "the matrices: pyscale.Comparison.load reads them"),
    ("figures/", "the pictures for papers and slides, on light and on dark ground"),
    ("runs/", "weights and histories; `pyscale compare` takes these folders as models"),
)


def origin_section(result: StudyResult, found: Sequence[Finding]) -> Section:
    """Machine, versions, seeds, durations, the study as JSON, and the files beside the page."""
    asked = json.dumps(result.study.to_dict(), indent=2, ensure_ascii=False)
    html = render("origin.html.j2", facts=list(_facts(result)), asked=asked, files=FILES)
    return Section("provenance", "Provenance", "Provenance", html)


def _facts(result: StudyResult) -> Iterator[tuple[str, str]]:
    study, provenance = result.study, result.provenance
    machine, software, seconds = provenance["machine"], provenance["software"], provenance["seconds"]
    yield "Date", provenance["date"]
    yield (
        "Machine",
        f"{machine['processor']}, {counted(machine['cores'], 'core')}, kernels in {machine['instruction_set']}, "
        f"{machine['system']}",
    )
    yield "Software", ", ".join(f"{name} {version}" for name, version in software.items())
    yield "Seeds", f"{study.seed}; yardstick {', '.join(map(str, study.twin_seeds)) or 'none'}"
    files = {member.name: member.variant.weights for member in result.members if member.variant.weights is not None}
    if files:
        yield "Weights", ", ".join(f"{name} from {Path(file).name}" for name, file in files.items())
    if len(files) < len(result.members):
        recipe = result.baseline.trained.recipe.to_dict()
        yield "Recipe", ", ".join(f"{name} {value}" for name, value in recipe.items())
    similarities = [
        s for member in result.members if (s := similarity_of(result, member, study.metrics[0])) is not None
    ]
    if similarities:
        meta = similarities[0].comparison.meta
        yield "Comparison", f"{meta['samples']} held-out pictures in {meta['batches']} shuffled minibatches"
    taken = provenance["taken_up"]
    yield (
        "Durations",
        f"training {_seconds(seconds['training'])}{', some of it in an earlier run' if taken else ''}; "
        f"comparing {_seconds(seconds['comparing'])}; timing {_seconds(seconds['timing'])}; "
        f"{counted(provenance['threads'], 'thread')}",
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{int(seconds // 60)} min {round(seconds % 60):d} s"
