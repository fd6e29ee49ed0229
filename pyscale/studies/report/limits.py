"""What a study cannot show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pyscale.studies.findings import Finding
from pyscale.studies.report.parts import Section, render
from pyscale.studies.report.values import accuracy_of, counted
from pyscale.studies.results import StudyResult


def limits_section(result: StudyResult, found: Sequence[Finding]) -> Section:
    """How far the numbers carry."""
    return Section("limits", "What this cannot show", "Limits", render("limits.html.j2", limits=list(_limits(result))))


def _limits(result: StudyResult) -> Iterator[str]:
    study, base = result.study, accuracy_of(result.baseline)
    if base is not None:
        yield (
            f"With {base.total} held-out pictures one picture is {100 / base.total:.2f} points of accuracy, and the "
            f"95 % interval of the baseline is {100 * (base.high - base.low):.1f} points wide."
        )
    given = [member.name for member in result.members if member.variant.weights is not None]
    if given:
        yield (
            f"{', '.join(given)}: weights from a file. What they were trained on is not known here, and the held-out "
            "pictures may have been among it."
        )
    if len(given) < len(result.members):
        yield (
            f"Each variant {'trained here ' if given else ''}was trained from one seed. Intervals and standard errors "
            "cover the choice of pictures, not of seeds; "
            f"{'only the yardstick covers those' if result.twins else 'nothing here covers those'}."
        )
    source = study.data.image_size
    largest = max(member.network.image_size for member in result.members)
    if isinstance(source, int) and largest > source:
        yield (
            f"The pictures have {source} × {source} pixels. Networks that take more see them resampled: more "
            "pixels, no more detail."
        )
    yield (
        f"Latency is the median of one picture at a time on {counted(study.threads, 'thread')} of this machine. It is "
        "not proportional to multiply-accumulates: small layers wait for the framework."
    )
    noted: dict[tuple[str, str], list[str]] = {}
    for name, by_metric in result.similarities.items():
        for similarity in by_metric.values():
            for note in similarity.notes:
                noted.setdefault((similarity.label, note), []).append(name)
    for (label, note), names in noted.items():
        yield f"{', '.join(names)}, {label}: {note}."
