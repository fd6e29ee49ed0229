"""Which figures a study has, what each shows in words, and their PNGs for light and dark pages."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyscale.comparison.dependencies import import_report_dependency
from pyscale.studies import captions, charts
from pyscale.studies.networks import Member
from pyscale.studies.results import StudyResult
from pyscale.studies.theme import THEMES

DPI = 192  # two device pixels a CSS pixel


@dataclass(frozen=True)
class Picture:
    """A figure as files.

    Attributes:
        name: Its file's name without the ending.
        caption: What it shows, under it.
        alt: What it shows, for those who don't see it: with the numbers that matter.
        width: In CSS pixels.
        height: In CSS pixels.
        pngs: The image by theme.
        network: The network it is about; None where it is about all.
    """

    name: str
    caption: str
    alt: str
    width: int
    height: int
    pngs: dict[str, bytes]
    network: str | None = None

    def filename(self, theme: str) -> str:
        """The file's name; the light one is plain."""
        return f"{self.name}.png" if theme == "light" else f"{self.name}-{theme}.png"


def draw_figures(result: StudyResult) -> list[Picture]:
    """Draw all figures of a study in every theme.

    Args:
        result: What was measured.

    Returns:
        Accuracy, cost, accuracy at cost, one figure of curves a similarity; then for each network a map a similarity
        and a profile of its layers.

    Raises:
        ImportError: If matplotlib is missing.
    """
    return [*_overview(result), *(picture for member in result.members[1:] for picture in _inside(result, member))]


def _overview(result: StudyResult) -> Iterator[Picture]:
    height = 0.9 + 0.36 * len(result.members)
    yield _picture(
        "accuracy",
        (5.2, height),
        partial(charts.draw_accuracy, result=result),
        caption="Accuracy on the held-out pictures. The band is the baseline's interval.",
        alt="Held-out accuracy: "
        + "; ".join(f"{member.name} {member.trained.accuracy}" for member in result.members)
        + ".",
    )
    yield _picture(
        "cost",
        (5.2, height),
        partial(charts.draw_cost, result=result),
        caption="What the networks cost, as multiples of the baseline.",
        alt="Costs as multiples of the baseline's: "
        + "; ".join(
            f"{member.name} "
            + ", ".join(f"{label} {result.ratio(member, cost):.2f}" for cost, label in charts.SHOWN_COSTS.items())
            for member in result.members
        )
        + ".",
    )
    yield _picture(
        "accuracy_at_cost",
        (5.2, 3.4),
        partial(charts.draw_accuracy_at_cost, result=result),
        caption="Accuracy beside compute, with 95 % intervals.",
        alt="Accuracy over million multiply-accumulates: "
        + "; ".join(f"{m.name} {m.cost.macs / 1e6:.1f} M, {m.trained.accuracy}" for m in result.members)
        + ".",
    )
    trained = charts.trained_here(result)
    if trained:
        yield _picture(
            "training",
            (5.2, 3.4),
            partial(charts.draw_training, result=result),
            caption="Loss on the training pictures while they were learned.",
            alt="Training loss in the last epoch: "
            + "; ".join(f"{m.name} {m.trained.history[-1]['train_loss']:.2g}" for m in trained)
            + ".",
        )
    for metric in result.study.metrics:
        yield _picture(
            f"curves_{metric}",
            (5.2, 3.6),
            partial(charts.draw_curves, result=result, metric=metric),
            caption=captions.curves_caption(metric),
            alt=captions.curves_in_words(result, metric),
        )


def _inside(result: StudyResult, member: Member) -> Iterator[Picture]:
    for metric in result.study.metrics:
        similarity = result.similarities[member.name][metric]
        yield _picture(
            f"map_{member.name}_{metric}",
            (3.5, 3.1),
            partial(charts.draw_map, result=result, member=member, metric=metric),
            caption=captions.map_caption(similarity),
            alt=captions.map_in_words(member, similarity),
            network=member.name,
        )
    yield _picture(
        f"profile_{member.name}",
        (3.5, 3.1),
        partial(charts.draw_profile, result=result, member=member),
        caption="The same along the network, layer by layer.",
        alt=captions.profile_in_words(member, list(result.similarities[member.name].values())),
        network=member.name,
    )


def _picture(
    name: str,
    inches: tuple[float, float],
    draw: Callable[..., None],
    *,
    caption: str,
    alt: str,
    network: str | None = None,
) -> Picture:
    matplotlib = import_report_dependency("matplotlib")
    figures = import_report_dependency("matplotlib.figure")
    pngs = {}
    for name_, theme in THEMES.items():
        with matplotlib.rc_context(theme.parameters()):
            figure = figures.Figure(figsize=inches, layout="constrained")  # no pyplot: nothing to close, no window
            draw(figure, theme=theme)
            pngs[name_] = _png(figure)
    width, height = (round(96 * side) for side in inches)
    return Picture(name, caption, alt, width, height, pngs, network)


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
