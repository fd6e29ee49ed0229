"""Comparisons of many models as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import io
from html import escape
from itertools import combinations_with_replacement
from os import PathLike
from typing import TYPE_CHECKING

from pyscale.comparison.dependencies import import_report_dependency
from pyscale.comparison.export import SUMMARIES
from pyscale.comparison.files import replacing
from pyscale.comparison.page import STYLE, closest_layers, format_number, provenance_table
from pyscale.comparison.plotting import describe_chance
from pyscale.comparison.plotting_models import layer_map_png
from pyscale.comparison.trajectory import REFERENCES

if TYPE_CHECKING:
    from pyscale.comparison.comparisons import Comparisons
    from pyscale.comparison.result import Comparison

_STYLE = (
    STYLE.replace("max-width: 60rem", "max-width: 75rem")
    + """
.maps { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; max-width: 15.5rem; }
figure img { width: 15rem; height: auto; image-rendering: pixelated; }
figcaption { font-size: .85rem; }
details { margin: .3rem 0; }
"""
)
_TITLES = ("corresponding layers", "chance", "best match", "chance at most")
_LEAST_STEPS = 3


def write_models_page(comparisons: Comparisons, path: str | PathLike[str]) -> None:
    """Write models beside models, the sequence where they are one, every pair's map and closest layers, provenance."""
    names = comparisons.names
    first = comparisons.held[names[0], names[0]]
    title = f"{len(names)} models: {first.title}"
    html = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(title)}</h1>
<p>All pairs of layers of all pairs of models on {escape(first.basis)}.</p>
<h2>Models beside models</h2>
<p>Left: the mean over a model's layers of the similarity to the layer that each corresponds to, by its name where the
two have the same layers, else by its kind and relative depth. Right: the mean of the similarity to the layer most
alike; the greatest of many is high by chance too.</p>
<img alt="Maps of models beside models; the table below has their numbers" src="{_data(_overview(comparisons))}">
{_table(comparisons)}
{_sequence(comparisons)}
<h2>Layers beside layers</h2>
<p>Layers of the first upward, of the second to the right, from input to output; black is 0, light is 1, grey not
defined.</p>
<div class="maps">
{"".join(_tile(comparisons, x, y) for x, y in combinations_with_replacement(names, 2))}
</div>
<h2>Closest layers</h2>
{"".join(_closest(x, y, found) for (x, y), found in comparisons.items() if x != y)}
<h2>Provenance</h2>
{provenance_table(first)}
</body></html>
"""
    with replacing(path) as file:
        file.write(html.encode())


def _overview(comparisons: Comparisons) -> bytes:
    buffer = io.BytesIO()
    comparisons.plot().savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def _table(comparisons: Comparisons) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in ("layers of", "beside", *_TITLES))
    lines = []
    for i, x in enumerate(comparisons.names):
        for j, y in enumerate(comparisons.names):
            numbers = (getattr(comparisons, name)[i, j] for name in SUMMARIES)
            cells = "".join(f'<td class="number">{format_number(value)}</td>' for value in numbers)
            lines.append(f"<tr><td>{escape(x)}</td><td>{escape(y)}</td>{cells}</tr>")
    return f"<details><summary>As numbers</summary><table><tr>{head}</tr>{''.join(lines)}</table></details>"


def _sequence(comparisons: Comparisons) -> str:
    """Layers along the models, where their names are numbers that grow and their layers are the same."""
    if len(comparisons.names) < _LEAST_STEPS:
        return ""
    try:
        trajectory = comparisons.trajectory()
    except ValueError:  # they have other layers
        return ""
    times = trajectory.times
    if times is None or sorted(set(times)) != times:
        return ""
    figures = import_report_dependency("matplotlib.figure")
    figure = figures.Figure(figsize=(15, 4.5), layout="constrained")
    for ax, reference in zip(figure.subplots(1, len(REFERENCES)), REFERENCES, strict=True):
        trajectory.plot(reference, ax)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    alt = "Similarity of every layer to its last, first and previous state along the sequence"
    return f'<h2>Along the sequence</h2><img alt="{alt}" src="{_data(buffer.getvalue())}">'


def _tile(comparisons: Comparisons, x: str, y: str) -> str:
    found = comparisons[x, y]
    i, j = comparisons.names.index(x), comparisons.names.index(y)
    level = format_number(comparisons.aligned[i, j])
    matches = " and ".join(format_number(comparisons.best_match[a, b]) for a, b in ((i, j), (j, i)))
    words = "with itself" if x == y else f"beside {escape(y)}"
    said = "" if x == y else f"<br>corresponding {level}, best match {matches}"
    return (
        f'<figure><img alt="Map of {len(found.rows)} by {len(found.columns)} layers" '
        f'src="{_data(layer_map_png(found.values))}"><figcaption>{escape(x)} {words}{said}<br>'
        f"{escape(describe_chance(found))}</figcaption></figure>"
    )


def _closest(x: str, y: str, found: Comparison) -> str:
    return f"<details><summary>{escape(x)} beside {escape(y)}</summary>{closest_layers(found)}</details>"


def _data(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
