"""Two curves a resource: what accuracy, and what likeness to the original, a network keeps for what it costs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pyscale.studies.budgets import RESOURCES, Resource
from pyscale.studies.equal_budget.contenders import EqualBudgetResult, Interval, Standing
from pyscale.studies.equal_budget.question import WAYS
from pyscale.studies.equal_budget.tables import over_budget, within_budget
from pyscale.studies.figures import Picture, _picture
from pyscale.studies.theme import MARKERS, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_equal_budget(contest: EqualBudgetResult) -> Picture:
    """Draw accuracy and similarity over the budget, one row of panels a resource, in every theme.

    Args:
        contest: What was measured.

    Returns:
        The figure; error bars are 95 % intervals over seeds, the band is the original's or the yardstick's.

    Raises:
        ImportError: If matplotlib is missing.
    """
    standings = list(contest.standings())
    rows = [r for r in contest.asked.resources if any(s.contender.budget.resource == r for s in standings)]
    hollow = "" if all(map(within_budget, standings)) else " Hollow marks are over the budget, and not ranked."
    return _picture(
        "equal_budget",
        (7.4, 0.7 + 2.3 * max(1, len(rows))),
        partial(_draw, contest=contest, rows=rows),
        caption="Accuracy, and mean CKA of key layers to the original, at equal budgets (the ticks); each network lies "
        "at what it spent, with 95 % intervals over seeds. Bands: accuracy of the originals, and how alike they are "
        f"among themselves.{hollow}",
        alt="At equal budgets: "
        + "; ".join(
            f"{s.contender.name} accuracy {100 * s.accuracy.mean:.1f} %, CKA {s.similarity.mean:.2f}"
            + ("" if within_budget(s) else f", {over_budget(s)}")
            for s in standings
        )
        + ".",
    )


def _draw(figure: Figure, *, contest: EqualBudgetResult, rows: list[Resource], theme: Theme) -> None:
    panels = figure.subplots(max(1, len(rows)), 2, squeeze=False, sharex=True)
    standings = list(contest.standings())
    for resource, (left, right) in zip(rows, panels, strict=True):
        own = [s for s in standings if s.contender.budget.resource == resource]
        left.set_ylabel("held-out accuracy, %")
        right.set_ylabel("CKA to the original")
        original = contest.original_accuracy
        _band(left, [100 * m.trained.accuracy.value for m in contest.originals], 100 * original.mean, theme)
        if contest.yardstick:
            _band(right, contest.yardstick, float(np.mean(contest.yardstick)), theme)
        for place, (way, label) in enumerate(WAYS.items()):
            curve = [s for s in own if s.contender.way == way]
            if curve:
                style = {"color": theme.networks[place], "marker": MARKERS[place], "label": label}
                _curve(left, curve, [_times(s.accuracy, 100) for s in curve], style, theme)
                _curve(right, curve, [s.similarity for s in curve], style, theme)
        _within(left, 0, 100)
        _within(right, -0.05, 1.02)
        for ax in (left, right):
            ax.set_xlabel(f"spent, share of the original's {RESOURCES[resource]}")
            ax.set_xscale("log", base=2)
            ax.set_xticks(contest.asked.shares, [f"{share:g}" for share in contest.asked.shares])
            ax.minorticks_off()
            ax.tick_params(labelbottom=True)
            ax.grid(axis="y")
    handles: dict[str, Any] = {}
    for ax in panels.flat:
        handles |= dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=2)


def _curve(ax: Axes, curve: list[Standing], values: list[Interval], style: dict[str, Any], theme: Theme) -> None:
    """A line with intervals, its marks hollow where a way is over its budget."""
    x = [s.used.mean for s in curve]
    means = np.array([value.mean for value in values])
    spread = np.abs(np.array([[v.low for v in values], [v.high for v in values]]) - means)
    ax.errorbar(x, means, yerr=None if np.isnan(spread).all() else np.nan_to_num(spread), capsize=2, **style)
    over = [i for i, standing in enumerate(curve) if not within_budget(standing)]
    if over:
        hollow: dict[str, Any] = {"markerfacecolor": theme.paper, "linestyle": "none", "zorder": 3}
        ax.plot([x[i] for i in over], means[over], **{**style, "label": f"{style['label']}, over the budget"}, **hollow)


def _within(ax: Axes, low: float, high: float) -> None:
    """No room beyond what a value can be, however wide an interval is."""
    bottom, top = ax.get_ylim()
    ax.set_ylim(max(low, bottom), min(high, top))


def _band(ax: Axes, values: list[float] | tuple[float, ...], mean: float, theme: Theme) -> None:
    ax.axhspan(min(values), max(values), color=theme.grid, linewidth=0)
    ax.axhline(mean, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 3)))


def _times(interval: Interval, factor: float) -> Interval:
    return Interval(factor * interval.mean, factor * interval.low, factor * interval.high, interval.n)
