"""A study's numbers as the page shows them: what a network lacks is a dash, and never a reason to have no page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from math import isfinite, nan

from pyscale.studies.networks import Member
from pyscale.studies.results import StudyResult
from pyscale.studies.similarity import Similarity
from pyscale.train import Accuracy

DASH = "–"


@dataclass(frozen=True)
class Cost:
    """How a cost is written.

    Attributes:
        title: Over a column.
        axis: Along an axis.
        scale: From the unit of :class:`pyscale.models.Profile` to that of the axis.
        write: With its unit.
    """

    title: str
    axis: str
    scale: float
    write: Callable[[float], str]


def _whole(value: float) -> str:
    return f"{round(value):,}".replace(",", "\N{THIN SPACE}")


COSTS = {
    "macs": Cost("MACs", "million MACs a picture", 1e-6, lambda value: f"{value / 1e6:.2f} M"),
    "parameters": Cost("Parameters", "parameters", 1, _whole),
    "activations": Cost("Activations", "activations a picture", 1, _whole),
    "bytes": Cost("Weights", "weights, MiB", 2**-20, lambda value: f"{value / 2**20:.2f} MiB"),
    "latency": Cost("Latency", "latency, ms", 1e3, lambda value: f"{1e3 * value:.2f} ms"),
}


def accuracy_of(member: Member) -> Accuracy | None:
    """A network's accuracy on the held-out pictures, or None where it was not measured."""
    return getattr(member.trained, "accuracy", None)


def cost_of(member: Member, name: str) -> float:
    """A cost, or NaN where it was not measured."""
    value = getattr(member.cost, name, None)
    return nan if value is None else float(value)


def ratio_of(result: StudyResult, member: Member, name: str) -> float:
    """A cost relative to the baseline's, or NaN where one of them is missing."""
    base = cost_of(result.baseline, name)
    return result.ratio(member, name) if base > 0 and isfinite(cost_of(member, name)) else nan


def similarity_of(result: StudyResult, member: Member, metric: str) -> Similarity | None:
    """A network's similarity to the baseline, or None where the two were not compared."""
    return result.similarities.get(member.name, {}).get(metric)


def compared(result: StudyResult) -> list[Member]:
    """The networks that were compared with the baseline by some metric."""
    return [member for member in result.members if result.similarities.get(member.name)]


def number(value: float, digits: int = 2) -> str:
    """A number of so many decimals; a dash where it is not defined."""
    return f"{value:.{digits}f}" if isfinite(value) else DASH


def percent(value: float) -> str:
    """A share of 1, as a percentage without the sign."""
    return f"{100 * value:.1f}"


def written(cost: str, value: float) -> str:
    """A cost with its unit; a dash where it was not measured."""
    return COSTS[cost].write(value) if isfinite(value) else DASH


def ratio_in_words(ratio: float) -> str:
    """Times the baseline's; empty where it is not defined."""
    return f"× {ratio:.2f}" if isfinite(ratio) else ""


def counted(count: int, noun: str) -> str:
    """A number of things.

    Example:
        >>> counted(1, "core"), counted(2, "core")
        ('1 core', '2 cores')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def lines(*texts: str) -> str:
    """Text for Plotly, which reads some HTML: escaped, one under the other.

    Example:
        >>> lines("<b>", "2 & 3")
        '&lt;b&gt;<br>2 &amp; 3'
    """
    return "<br>".join(escape(text, quote=False) for text in texts)
