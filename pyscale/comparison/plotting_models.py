"""Pictures of many models: models beside models, maps of layers as bare pixels, layers along a sequence."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pyscale.comparison.dependencies import import_report_dependency
from pyscale.comparison.plotting import colours, ticks
from pyscale.comparison.scores import Matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pyscale.comparison.comparisons import Comparisons
    from pyscale.comparison.trajectory import Reference, Trajectory

MOST_NUMBERED = 12  # models, beyond which cells of the maps bear no numbers
_LEAST_PIXELS = 3  # of a cell of a map of layers


def model_maps(comparisons: Comparisons) -> Figure:
    """Draw two maps of models beside models: of corresponding layers, and of best matches."""
    figures = import_report_dependency("matplotlib.figure")
    side = min(9.0, 2.2 + 0.45 * len(comparisons.names))
    figure: Figure = figures.Figure(figsize=(2 * side, side), layout="constrained")  # no pyplot: nothing to close
    tables = {
        "corresponding layers": (comparisons.aligned, comparisons.aligned_chance),
        "best match": (comparisons.best_match, comparisons.best_match_chance),
    }
    title = comparisons.held[comparisons.names[0], comparisons.names[0]].title
    for ax, (what, (values, chance)) in zip(figure.subplots(1, 2), tables.items(), strict=True):
        image = _map(ax, values, comparisons.names)
        ax.set_title(f"mean {title},\n{what}", fontsize=10)
        bar = figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
        bar.set_label(describe_level(chance, what))
        finite = chance[np.isfinite(chance)]
        for level in {float(finite.min()), float(finite.max())} if finite.size else ():
            bar.ax.axhline(level, color="red", linewidth=1.5)
    return figure


def describe_level(chance: Matrix, what: str) -> str:
    """Return the chance level of a summary in words."""
    finite = chance[np.isfinite(chance)]
    if not finite.size:
        return "chance not known"
    low, high = float(finite.min()), float(finite.max())
    bound = " at most" if what == "best match" else ""
    span = f"{low:.2f}" if math.isclose(low, high, abs_tol=0.005) else f"{low:.2f} to {high:.2f}"
    return f"chance{bound} {span}"


def layer_map_png(values: Matrix) -> bytes:
    """Return the picture of a map of layers, the first row at the bottom, a few pixels a cell, on the scale 0 to 1."""
    image = import_report_dependency("matplotlib.image")
    zoom = max(_LEAST_PIXELS, 240 // max(values.shape))
    cells = np.kron(values[::-1], np.ones((zoom, zoom)))
    painted = colours()(np.ma.masked_invalid(np.clip(cells, 0.0, 1.0)), bytes=True)
    buffer = io.BytesIO()
    image.imsave(buffer, painted, format="png")
    return buffer.getvalue()


def curves(trajectory: Trajectory, reference: Reference, ax: Axes | None) -> Axes:
    """Draw one curve a layer along a sequence of models."""
    matplotlib = import_report_dependency("matplotlib")
    if ax is None:
        ax = import_report_dependency("matplotlib.pyplot").subplots(figsize=(7, 4.5), layout="constrained")[1]
    drawn: Any = ax
    times = trajectory.times
    steps = list(range(len(trajectory.steps))) if times is None else times
    values = trajectory.to(reference)
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(trajectory.layers)))
    for layer, shade, curve in zip(trajectory.layers, shades, values.T, strict=True):
        drawn.plot(steps, curve, color=shade, linewidth=1.2, marker="o", markersize=2.5, label=layer or "(model)")
    chance = trajectory.chance[0]
    if np.isfinite(chance).any():
        drawn.axhline(float(np.nanmean(chance)), color="red", linewidth=1, linestyle="--", label="chance")
    if times is None:
        shown = ticks(len(steps))
        drawn.set_xticks(shown, [trajectory.steps[k] for k in shown], rotation=90, fontsize=7)
    drawn.set_xlabel("step")
    drawn.set_ylabel(f"{trajectory.title} to the {reference} state")
    drawn.set_ylim(min(0.0, float(np.nanmin(values, initial=0.0))) - 0.02, 1.02)
    if len(trajectory.layers) <= 24:
        drawn.legend(fontsize=6, ncols=2)
    else:
        norm = matplotlib.colors.Normalize(0, len(trajectory.layers) - 1)
        mapped = matplotlib.cm.ScalarMappable(norm, matplotlib.colormaps["viridis"])
        drawn.figure.colorbar(mapped, ax=drawn, label="layer, from input to output")
    axes: Axes = drawn
    return axes


def _map(ax: Any, values: Matrix, names: list[str]) -> Any:
    image = ax.imshow(np.ma.masked_invalid(values), interpolation="nearest", cmap=colours(), vmin=0.0, vmax=1.0)
    shown = ticks(len(names))
    ax.set_xticks(shown, [names[k] for k in shown], rotation=90, fontsize=8)
    ax.set_yticks(shown, [names[k] for k in shown], fontsize=8)
    ax.set_ylabel("layers of")
    ax.set_xlabel("beside")
    if len(names) <= MOST_NUMBERED:
        for (i, j), value in np.ndenumerate(values):
            colour = "black" if value > 0.6 else "white"
            ax.text(j, i, "–" if math.isnan(value) else f"{value:.2f}", ha="center", va="center", color=colour, size=8)
    return image
