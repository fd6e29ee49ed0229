"""What a page is made of: sections, charts, and the templates that write them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from pyscale.comparison.dependencies import import_report_dependency
from pyscale.studies.findings import Finding
from pyscale.studies.results import StudyResult


@dataclass(frozen=True)
class Chart:
    """A chart that the page draws with Plotly when it comes into view.

    Attributes:
        name: Unique in the page, without white space.
        data: Plotly's traces, in the colours of the light theme; the page exchanges them for those of the dark one.
        layout: Plotly's layout.
        caption: What it shows, under it.
        alt: What it shows, for those who don't see it: with the numbers that matter.
        height: In CSS pixels; None makes it square.
        pairs: What the first trace, a map, says of each pair of layers (:func:`pyscale.studies.report.maps.map_chart`).
    """

    name: str
    data: Sequence[dict[str, Any]]
    layout: dict[str, Any]
    caption: str
    alt: str
    height: int | None = 340
    pairs: dict[str, Any] | None = None

    @property
    def json(self) -> Any:
        """What the page reads, as text that is safe inside a script element."""
        return embed({"data": self.data, "layout": self.layout, "pairs": self.pairs})


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own.

    Attributes:
        anchor: Its address in the page.
        title: Its heading.
        link: Its name in the contents.
        html: Safe HTML, as :func:`render` returns it.
    """

    anchor: str
    title: str
    link: str
    html: Any


MakeSection = Callable[[StudyResult, Sequence[Finding]], "Section | None"]
"""Writes a section from what was measured and found; None where a study has nothing to show there."""


def render(template: str, **context: Any) -> Any:
    """Fill a template of ``pyscale/studies/templates``; text is escaped, HTML from here is not escaped twice.

    Raises:
        ImportError: If Jinja2 is missing.
    """
    return import_report_dependency("markupsafe").Markup(_templates().get_template(template).render(context))


@cache
def _templates() -> Any:
    jinja2 = import_report_dependency("jinja2")
    return jinja2.Environment(
        loader=jinja2.PackageLoader("pyscale.studies"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def embed(value: Any) -> Any:
    r"""JSON that can stand inside a script element: no text in it can end the element or begin a comment.

    Matrices become Plotly's own form for them, little-endian float32 in base64.

    Example:
        >>> print(embed({"name": "</script>", "value": float("nan")}))
        {"name":"\u003c/script\u003e","value":null}
    """
    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return import_report_dependency("markupsafe").Markup(text)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.ndim == 2:
        numbers = np.ascontiguousarray(value, dtype="<f4")
        shape = ", ".join(map(str, value.shape))
        return {"dtype": "f4", "bdata": base64.b64encode(numbers.tobytes()).decode(), "shape": shape}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and not np.isfinite(plain) else plain
