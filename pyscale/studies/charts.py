"""Drawing: each function fills a figure with one picture of a study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pyscale.studies.networks import Member
from pyscale.studies.results import StudyResult
from pyscale.studies.similarity import Similarity
from pyscale.studies.theme import MARKERS, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN_COSTS = {"macs": "MACs", "parameters": "parameters", "latency": "latency"}


def draw_accuracy(figure: Figure, result: StudyResult, theme: Theme) -> None:
    """Accuracy of every network with its 95 % interval; the baseline's interval as a band."""
    ax = figure.subplots()
    base = result.baseline.trained.accuracy
    ax.axvspan(100 * base.low, 100 * base.high, color=theme.grid, linewidth=0)
    ax.axvline(100 * base.value, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 3)))
    for place, member in enumerate(result.members):
        accuracy = member.trained.accuracy
        colour, marker = _style(result, member, theme)
        ax.plot(
            [100 * accuracy.low, 100 * accuracy.high], [place, place], color=colour, linewidth=2, solid_capstyle="round"
        )
        ax.plot(100 * accuracy.value, place, marker, color=colour, markersize=7, markeredgecolor=theme.paper)
        ax.annotate(
            f"{100 * accuracy.value:.1f} %",
            (100 * accuracy.value, place),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    _name_rows(ax, result)
    ax.set_ylim(len(result.members) - 0.5, -0.75)
    ax.set_xlabel(f"held-out accuracy, % of {base.total} pictures (95 % interval)")


def draw_cost(figure: Figure, result: StudyResult, theme: Theme) -> None:
    """Costs of every network as multiples of the baseline's, one panel a cost."""
    panels = figure.subplots(1, len(SHOWN_COSTS), sharey=True)
    for ax, (cost, label) in zip(panels, SHOWN_COSTS.items(), strict=True):
        ratios = [result.ratio(member, cost) for member in result.members]
        for place, (member, ratio) in enumerate(zip(result.members, ratios, strict=True)):
            ax.barh(place, ratio, height=0.56, color=_style(result, member, theme)[0])
            ax.annotate(
                f"{ratio:.2f}",
                (ratio, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
                bbox={"facecolor": theme.paper, "edgecolor": "none", "pad": 0.8},
            )
        ax.axvline(1, color=theme.muted, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.5)
        ax.set_xlim(0, 1.28 * max(ratios))
        ax.set_title(label)
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
    _name_rows(panels[0], result)
    panels[0].set_ylim(len(result.members) - 0.5, -0.5)
    figure.supxlabel("times the baseline's", fontsize=8.5)


def draw_accuracy_at_cost(figure: Figure, result: StudyResult, theme: Theme) -> None:
    """Accuracy over multiply-accumulates, with 95 % intervals."""
    ax = figure.subplots()
    for member in result.members:
        accuracy = member.trained.accuracy
        colour, marker = _style(result, member, theme)
        ax.errorbar(
            member.cost.macs / 1e6,
            100 * accuracy.value,
            yerr=[[100 * (accuracy.value - accuracy.low)], [100 * (accuracy.high - accuracy.value)]],
            color=colour,
            marker=marker,
            markersize=6,
            markeredgecolor=theme.paper,
            linestyle="none",
            elinewidth=1.4,
            capsize=3,
            label=member.name,
        )
    ax.grid(axis="y")
    ax.set_xlabel("million multiply-accumulates an image")
    ax.set_ylabel("held-out accuracy, %")
    ax.margins(x=0.12)
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.4, columnspacing=1.4)


def trained_here(result: StudyResult) -> list[Member]:
    """The networks that have a history of training."""
    return [member for member in result.members if len(member.trained.history)]


def draw_training(figure: Figure, result: StudyResult, theme: Theme) -> None:
    """Training loss of every network after each epoch."""
    ax = figure.subplots()
    for member in trained_here(result):
        colour, marker = _style(result, member, theme)
        losses = member.trained.history.column("train_loss")
        ax.plot(range(1, len(losses) + 1), losses, color=colour, marker=marker, markersize=3.5, label=member.name)
    ax.set_ylim(bottom=0)
    ax.grid(axis="y")
    ax.locator_params(axis="x", integer=True)
    ax.set_xlabel("epoch")
    ax.set_ylabel("training loss")
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.5, columnspacing=1.4)


def draw_curves(figure: Figure, result: StudyResult, theme: Theme, metric: str) -> None:
    """Similarity of every network to the baseline's corresponding layers, along depth; chance as a dashed line."""
    ax = figure.subplots()
    for member in (*result.twins, *result.variants):
        similarity = result.similarities[member.name][metric]
        place = (similarity.key_rows + 0.5) / len(similarity.comparison.rows)
        values = similarity.at_counterpart()[similarity.key_rows]
        stderr = similarity.at_counterpart("stderr")[similarity.key_rows]
        colour, marker = _style(result, member, theme)
        twin = result.role(member) == "twin"
        if not twin:
            ax.fill_between(place, values - 2 * stderr, values + 2 * stderr, color=colour, alpha=0.13, linewidth=0)
        ax.plot(
            place,
            values,
            color=colour,
            marker=None if twin else marker,
            markersize=3.5,
            linewidth=3 if twin else 1.4,
            alpha=0.55 if twin else 1,
            label=f"{member.name} (yardstick)" if twin else member.name,
        )
        _draw_chance(ax, place, similarity, similarity.key_rows, colour if metric != "cka" else theme.muted)
    ax.plot([], [], color=theme.muted, linestyle=(0, (2, 2)), linewidth=1, label="chance")
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.04, 1.03)
    ax.set_xticks([0, 0.5, 1], ["input", "depth of the network", "output"])
    ax.get_xticklabels()[0].set_horizontalalignment("left")
    ax.get_xticklabels()[-1].set_horizontalalignment("right")
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="y")
    ax.set_ylabel(f"{similarity.label} to the baseline")
    figure.legend(loc="outside lower center", ncols=3, handletextpad=0.5, columnspacing=1.4)


def draw_map(figure: Figure, result: StudyResult, theme: Theme, member: Member, metric: str) -> None:
    """Similarity of every layer (upward) to every layer of the baseline (rightward), on the scale 0 to 1."""
    similarity = result.similarities[member.name][metric]
    comparison = similarity.comparison
    ax = figure.subplots()
    image = ax.imshow(
        np.ma.masked_invalid(comparison.values),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=theme.colour_map(),
        vmin=0,
        vmax=1,
    )
    ax.set_box_aspect(1)
    key = similarity.key_rows
    for colour, width in (("black", 2.0), ("white", 0.9)):  # cased, to be seen on dark and bright cells
        ax.plot(similarity.counterpart[key], key, color=colour, linewidth=width, alpha=0.8)
    best = similarity.best[key]
    ax.plot(best[best >= 0], key[best >= 0], "o", color="white", markersize=2.4, markeredgecolor="black", mew=0.4)
    _mark_stages(ax, "y", comparison.rows, theme)
    _mark_stages(ax, "x", comparison.columns, theme)
    ax.set_xlabel("baseline")
    ax.set_ylabel(member.name)
    bar = figure.colorbar(image, ax=ax, fraction=0.05, pad=0.03, ticks=[0, 0.5, 1])
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    low, high = chance_span(similarity)
    bar.ax.axhspan(low, max(high, low + 0.008), facecolor="none", edgecolor=theme.ink, linewidth=1.2, clip_on=False)
    bar.ax.annotate(
        "chance",
        (1, (low + high) / 2),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0 if low > 0.07 else 9),
        textcoords="offset points",
        va="center",
        fontsize=7,
        rotation=90 if low > 0.07 else 0,
    )


def draw_profile(figure: Figure, result: StudyResult, theme: Theme, member: Member) -> None:
    """Layer by layer: similarity to the counterpart and to the best match, the yardstick, and chance."""
    metrics = result.study.metrics
    layers = [result.similarities[member.name][metric].comparison.rows for metric in metrics]
    together = all(rows == layers[0] for rows in layers)
    panels = np.atleast_1d(figure.subplots(len(metrics), 1, sharex=together))
    for ax, metric in zip(panels, metrics, strict=True):
        _draw_layers(ax, result, theme, member, metric)
    for ax, rows in zip(panels[-1:] if together else panels, layers[-1:] if together else layers, strict=True):
        _mark_stages(ax, "x", rows, theme)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, handletextpad=0.5, columnspacing=1.2)


def chance_span(similarity: Similarity) -> tuple[float, float]:
    """Lowest and highest chance level among the pairs of layers."""
    chance = similarity.comparison.chance
    return float(np.nanmin(chance)), float(np.nanmax(chance))


def stages(names: Sequence[str]) -> list[tuple[str, int, int]]:
    """Runs of layers whose names begin alike, as (name, first, last).

    Example:
        >>> stages(["stem", "layer1.0.conv", "layer1.1.conv", "head"])
        [('stem', 0, 0), ('layer1', 1, 2), ('head', 3, 3)]
    """
    runs: list[tuple[str, int, int]] = []
    for i, name in enumerate(names):
        first = name.partition(".")[0]
        if runs and runs[-1][0] == first:
            runs[-1] = (first, runs[-1][1], i)
        else:
            runs.append((first, i, i))
    return runs


def _draw_layers(ax: Axes, result: StudyResult, theme: Theme, member: Member, metric: str) -> None:
    similarity = result.similarities[member.name][metric]
    comparison, key = similarity.comparison, similarity.key_rows
    colour = _style(result, member, theme)[0]
    rows = np.arange(len(comparison.rows))
    values, stderr = similarity.at_counterpart(), similarity.at_counterpart("stderr")
    best = np.where(similarity.best >= 0, comparison.values[rows, similarity.best], np.nan)
    yardstick = result.yardstick(similarity)
    if yardstick is not None and result.role(member) != "twin":
        ax.plot(key, yardstick[0][key], color=theme.muted, linewidth=3, alpha=0.5, label="another seed")
    ax.plot(rows, values, ".", color=colour, markersize=2.5, alpha=0.45, label="every layer")
    ax.fill_between(key, (values - 2 * stderr)[key], (values + 2 * stderr)[key], color=colour, alpha=0.16, linewidth=0)
    ax.plot(key, values[key], color=colour, linewidth=1.5, label="corresponding layer")
    ax.plot(key, best[key], color=colour, linewidth=0.9, linestyle=(0, (1, 1.5)), label="best match")
    _draw_chance(ax, rows, similarity, rows, theme.muted, label="chance")
    ax.set_ylim(-0.05, 1.05)
    ax.set_yticks([0, 0.5, 1])
    ax.set_ylabel(similarity.label)
    ax.grid(axis="y")


def _draw_chance(
    ax: Axes, place: Any, similarity: Similarity, rows: Any, colour: str, label: str | None = None
) -> None:
    levels = similarity.at_counterpart("chance")[rows]
    ax.plot(place, levels, color=colour, linestyle=(0, (2, 2)), linewidth=1, label=label)


def _mark_stages(ax: Axes, axis: str, names: Sequence[str], theme: Theme) -> None:
    """Name the long runs of layers at their middle, and part them by thin lines."""
    shown = [run for run in stages(names) if run[2] - run[1] + 1 >= 0.08 * len(names)]
    middles, labels = [(first + last) / 2 for _, first, last in shown], [name for name, _, _ in shown]
    line = ax.axvline if axis == "x" else ax.axhline
    on_image = bool(ax.images)
    for edge in sorted({edge for _, first, last in shown for edge in (first - 0.5, last + 0.5)}):
        line(edge, color="white" if on_image else theme.grid, linewidth=0.5 if on_image else 0.8, alpha=0.6)
    if axis == "x":
        ax.set_xticks(middles, labels)
    else:
        ax.set_yticks(middles, labels, rotation=90, va="center")
    ax.tick_params(axis=axis, length=0)  # type: ignore[arg-type]


def _style(result: StudyResult, member: Member, theme: Theme) -> tuple[str, str]:
    """Colour and marker of a network, the same in every figure."""
    role = result.role(member)
    if role != "variant":
        return (theme.ink if role == "baseline" else theme.muted), "o"
    place = result.variants.index(member)
    return theme.networks[place % len(theme.networks)], MARKERS[place % len(MARKERS)]


def _name_rows(ax: Axes, result: StudyResult) -> None:
    ax.set_yticks(range(len(result.members)), [member.name for member in result.members])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
