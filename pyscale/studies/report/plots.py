"""What all charts share: layout, axes, and the colour and marker of each network."""

from __future__ import annotations

from typing import Any

from pyscale.comparison.dependencies import import_report_dependency
from pyscale.studies.networks import Member
from pyscale.studies.report.values import lines
from pyscale.studies.results import StudyResult
from pyscale.studies.theme import COLOUR_MAP, MARKERS, THEMES

LIGHT = THEMES["light"]
SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross"}
"""Plotly's names of matplotlib's markers, so that a network looks alike on the page and on paper."""

HOVER = "%{text}<extra></extra>"  # the text of a point and nothing else


def style(result: StudyResult, member: Member) -> tuple[str, str]:
    """Colour (of the light theme) and symbol of a network, the same in every chart."""
    role = result.role(member)
    if role != "variant":
        return (LIGHT.ink, "circle") if role == "baseline" else (LIGHT.muted, "circle-open")
    place = result.variants.index(member)
    return LIGHT.networks[place % len(LIGHT.networks)], SYMBOLS[MARKERS[place % len(MARKERS)]]


def colour_scale() -> list[list[Any]]:
    """The stops of the static maps' colours, which Plotly's script does not know by name."""
    stops: list[list[Any]] = import_report_dependency("plotly.colors").get_colorscale(COLOUR_MAP)
    return stops


def axis(title: str, **options: Any) -> dict[str, Any]:
    """An axis with a title, in the theme's colours."""
    return {
        "title": {"text": lines(title), "standoff": 8},
        "gridcolor": LIGHT.grid,
        "linecolor": LIGHT.muted,
        "tickcolor": LIGHT.muted,
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
        **options,
    }


def layout(x: dict[str, Any], y: dict[str, Any], **options: Any) -> dict[str, Any]:
    """A layout in the theme's colours, the legend over the chart, where no axis is in its way.

    The legend's names are no switches: a keyboard could not reach them.
    """
    return {
        "xaxis": x,
        "yaxis": y,
        "paper_bgcolor": LIGHT.paper,
        "plot_bgcolor": LIGHT.paper,
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": LIGHT.ink},
        "hoverlabel": {
            "bgcolor": LIGHT.paper,
            "bordercolor": LIGHT.muted,
            "font": {"color": LIGHT.ink},
            "align": "left",
        },
        "hovermode": "closest",
        "dragmode": False,
        "margin": {"l": 8, "r": 22, "t": 14, "b": 8},
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"size": 11},
            "itemclick": False,
            "itemdoubleclick": False,
        },
        **options,
    }
