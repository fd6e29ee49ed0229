"""The look of a study's figures: one palette for a light page and one for a dark one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyscale.comparison.dependencies import import_report_dependency

MARKERS = ("o", "s", "^", "D", "v", "P")
COLOUR_MAP = "magma"


@dataclass(frozen=True)
class Theme:
    """Colours of figures on one kind of page.

    Attributes:
        paper: Behind everything; the report's cards have the same.
        ink: Text, and the baseline.
        muted: Axes, the twin, what is secondary.
        grid: Lines and fills that stay in the background.
        networks: Of the variants in order, reused when there are more.
    """

    paper: str
    ink: str
    muted: str
    grid: str
    networks: tuple[str, ...]

    def parameters(self) -> Mapping[str, Any]:
        """Matplotlib's settings for this theme."""
        return {
            "figure.facecolor": self.paper,
            "savefig.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "axes.edgecolor": self.muted,
            "axes.labelcolor": self.ink,
            "axes.titlecolor": self.ink,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 0.7,
            "axes.labelsize": 8.5,
            "axes.titlesize": 9,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.axisbelow": True,
            "grid.color": self.grid,
            "grid.linewidth": 0.6,
            "text.color": self.ink,
            "font.family": "DejaVu Sans",  # ships with matplotlib: the same on every machine
            "font.size": 8.5,
            "xtick.color": self.muted,
            "ytick.color": self.muted,
            "xtick.labelcolor": self.ink,
            "ytick.labelcolor": self.ink,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "xtick.major.width": 0.7,
            "ytick.major.width": 0.7,
            "xtick.major.size": 2.5,
            "ytick.major.size": 2.5,
            "legend.frameon": False,
            "legend.fontsize": 8,
            "lines.linewidth": 1.6,
            "lines.markersize": 4.5,
            "image.cmap": COLOUR_MAP,
        }

    def colour_map(self) -> Any:
        """The map of similarities, with what is not defined in the grid's colour."""
        return import_report_dependency("matplotlib").colormaps[COLOUR_MAP].with_extremes(bad=self.grid)


THEMES: dict[str, Theme] = {
    "light": Theme(
        paper="#ffffff",
        ink="#1b2130",
        muted="#6c7486",
        grid="#e3e6ec",
        networks=("#2563c9", "#c9560a", "#0a8270", "#9a3fb5", "#b3263f", "#6b7a0f"),
    ),
    "dark": Theme(
        paper="#171b24",
        ink="#e8eaf0",
        muted="#98a1b3",
        grid="#2c3340",
        networks=("#74abff", "#ff9f57", "#3fcdb2", "#d896f2", "#ff8296", "#c3d35a"),
    ),
}
