"""Heat maps of layer by layer similarity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pyscale.comparison.dependencies import import_report_dependency

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from pyscale.comparison.result import Comparison

_MOST_TICKS = 40
_UNDEFINED = "0.8"  # grey: NaN is no low similarity


def heat_map(comparison: Comparison, ax: Axes | None = None, *, diagonal: bool = False) -> Axes:
    """Draw the values, model_x's layers upward and model_y's to the right, both in forward order.

    Args:
        comparison: What to draw.
        ax: Where to; None makes a figure that grows with the number of layers.
        diagonal: Outline the cells on the diagonal.

    Returns:
        The axes. The colour bar beside them names metric and estimator and marks the chance level.
    """
    if ax is None:
        ax = _new_axes(comparison)
    image = ax.imshow(
        np.ma.masked_invalid(comparison.values),
        origin="lower",
        aspect="equal",
        interpolation="nearest",
        cmap=colours(),
        vmin=min(0.0, _least(comparison.values)),
        vmax=1.0,
    )
    _label(ax, comparison)
    if diagonal:
        _outline_diagonal(ax, min(comparison.values.shape))
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03)
    bar.set_label(f"{comparison.title}\n{describe_chance(comparison)}")
    for level in _chance_levels(comparison):
        bar.ax.axhline(level, color="red", linewidth=1.5)
    return ax


def describe_chance(comparison: Comparison) -> str:
    """Return the chance level in words: one number, a range over the pairs of layers, or that it isn't known."""
    levels = _chance_levels(comparison)
    if not levels:
        return "chance not known"
    low, high = levels[0], levels[-1]
    return f"chance {low:.2f}" if math.isclose(low, high, abs_tol=0.005) else f"chance {low:.2f} to {high:.2f}"


def _new_axes(comparison: Comparison) -> Axes:
    pyplot = import_report_dependency("matplotlib.pyplot")
    height, width = (min(14.0, max(3.5, 0.16 * min(n, _MOST_TICKS) + 1.5)) for n in comparison.values.shape)
    _, ax = pyplot.subplots(figsize=(width + 2.0, height), layout="constrained")
    axes: Axes = ax
    return axes


def colours() -> Any:
    """The colour map of similarities, grey where there is none."""
    return import_report_dependency("matplotlib").colormaps["magma"].with_extremes(bad=_UNDEFINED)


def _least(values: np.ndarray[Any, Any]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.min()) if finite.size else 0.0


def _label(ax: Axes, comparison: Comparison) -> None:
    rows, columns = ticks(len(comparison.rows)), ticks(len(comparison.columns))
    ax.set_yticks(rows, [comparison.rows[i] or "(model)" for i in rows], fontsize=7)
    ax.set_xticks(columns, [comparison.columns[j] or "(model)" for j in columns], fontsize=7, rotation=90)
    ax.set_ylabel(str(comparison.meta.get("model_x", "model_x")))
    ax.set_xlabel(str(comparison.meta.get("model_y", "model_y")))


def ticks(count: int, most: int = _MOST_TICKS) -> list[int]:
    """Return at most ``most`` evenly spaced places among ``count``, the first one included.

    Example:
        >>> ticks(3), ticks(100, most=4)
        ([0, 1, 2], [0, 25, 50, 75])
    """
    return list(range(0, count, max(1, math.ceil(count / most))))


def _outline_diagonal(ax: Axes, count: int) -> None:
    patches = import_report_dependency("matplotlib.patches")
    for i in range(count):
        ax.add_patch(patches.Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=0.8))


def _chance_levels(comparison: Comparison) -> list[float]:
    finite = comparison.chance[np.isfinite(comparison.chance)]
    return [] if not finite.size else [float(finite.min())] if np.ptp(finite) == 0 else [finite.min(), finite.max()]
