"""The whole page: its sections in order, and what it carries with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from pyscale.comparison.dependencies import import_report_dependency
from pyscale.studies.findings import Finding
from pyscale.studies.report.costs import costs_section
from pyscale.studies.report.equal_budget import equal_budget_section
from pyscale.studies.report.inside import inside_section
from pyscale.studies.report.limits import limits_section
from pyscale.studies.report.networks import networks_section
from pyscale.studies.report.origin import origin_section
from pyscale.studies.report.overview import overview_section
from pyscale.studies.report.parts import MakeSection, embed, render
from pyscale.studies.report.summary import lede, tiles
from pyscale.studies.report.summary import short_findings as short
from pyscale.studies.report.weights import weights_section
from pyscale.studies.results import StudyResult
from pyscale.studies.theme import THEMES, Theme

SECTIONS: tuple[MakeSection, ...] = (
    networks_section,
    costs_section,
    equal_budget_section,
    overview_section,
    inside_section,
    weights_section,
    limits_section,
    origin_section,
)
"""The sections under the summary, in order; a further one is one more entry."""


def render_report(result: StudyResult, found: Sequence[Finding], sections: Sequence[MakeSection] = SECTIONS) -> str:
    """Render the page.

    Args:
        result: What was measured.
        found: Its findings.
        sections: What follows the summary; one that returns None is left out.

    Returns:
        HTML that loads nothing: Plotly's script is in it, once.

    Raises:
        ImportError: If Jinja2 or Plotly is missing.
    """
    made = [section for make in sections if (section := make(result, found)) is not None]
    script = import_report_dependency("plotly.offline").get_plotlyjs()
    page = render(
        "report.html.j2",
        study=result.study,
        software=result.provenance["software"],
        date=result.provenance["date"],
        lede=lede(result),
        tiles=list(tiles(result)),
        short=short(result, found),
        sections=made,
        themes=THEMES,
        palettes=embed({name: _colours(theme) for name, theme in THEMES.items()}),
        plotly=import_report_dependency("markupsafe").Markup(script),
    )
    return str(page)


def _colours(theme: Theme) -> list[Any]:
    *single, networks = astuple(theme)
    return [*single, *networks]
