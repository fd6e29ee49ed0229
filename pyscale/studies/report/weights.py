"""The weights of single layers from network to network, each value beside what unrelated weights would get."""

from __future__ import annotations

from collections.abc import Sequence

from pyscale.studies.findings import Finding
from pyscale.studies.report.parts import Section, render
from pyscale.studies.report.values import number
from pyscale.studies.results import StudyResult
from pyscale.studies.weight_similarity.question import WEIGHT_LABELS


def weights_section(result: StudyResult, found: Sequence[Finding]) -> Section | None:
    """A table of all pairs; None where no weights were compared."""
    if not result.weights:
        return None
    html = render(
        "weights.html.j2",
        sentences=[finding.text for finding in found if finding.topic == "weights"],
        baseline=result.weights[0].baseline,
        rows=[
            {
                "network": row.network,
                "state": row.state,
                "part": row.part,
                "layer": row.layer,
                "metric": WEIGHT_LABELS[row.metric],
                "shape": f"{row.rows} × {row.columns_baseline}, {row.columns}" if row.rows else "",
                "numbers": [number(row.value, 3), number(row.chance, 3), number(row.zscore, 1)],
                "note": row.note,
            }
            for row in result.weights
        ],
    )
    return Section("weights", "Weights of single layers", "Weights", html)
