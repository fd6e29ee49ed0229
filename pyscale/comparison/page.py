"""A comparison as one HTML page that needs no other file."""

from __future__ import annotations

import base64
import io
import json
import math
from html import escape
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from pyscale.comparison.dependencies import import_report_dependency
from pyscale.comparison.files import replacing
from pyscale.comparison.plotting import describe_chance

if TYPE_CHECKING:
    from pyscale.comparison.result import Comparison

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
img { max-width: 100%; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .15rem .8rem .15rem 0; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number { text-align: right; }
"""


def write_page(comparison: Comparison, path: str | PathLike[str]) -> None:
    """Write heat map, the closest column of each row, and provenance to ``path``, whole or not at all."""
    models = " and ".join(escape(str(comparison.meta.get(key, key))) for key in ("model_x", "model_y"))
    html = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{models}</title><style>{STYLE}</style></head><body>
<h1>{models}</h1>
<p>{escape(comparison.title)} of {len(comparison.rows)} x {len(comparison.columns)} layers on
{escape(comparison.basis)}; {escape(describe_chance(comparison))}.</p>
<img alt="Heat map of {escape(comparison.title)}" src="data:image/png;base64,{_picture(comparison)}">
<h2>Closest layers</h2>
{closest_layers(comparison)}
<h2>Provenance</h2>
{provenance_table(comparison)}
</body></html>
"""
    with replacing(path) as file:
        file.write(html.encode())


def _picture(comparison: Comparison) -> str:
    figures = import_report_dependency("matplotlib.figure")
    figure = figures.Figure(figsize=(9, 7.5), layout="constrained")  # no pyplot: nothing to close, no window
    comparison.plot(figure.subplots())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()


def closest_layers(comparison: Comparison) -> str:
    """A table of the closest column of each row."""
    arrays = comparison.arrays()
    head = "".join(f"<th>{escape(title)}</th>" for title in ("row", "closest column", *arrays))
    lines = []
    for i, row in enumerate(comparison.rows):
        if np.isnan(comparison.values[i]).all():
            lines.append(f"<tr><td>{escape(row)}</td><td colspan={len(arrays) + 1}>not defined</td></tr>")
            continue
        j = int(np.nanargmax(comparison.values[i]))
        numbers = "".join(f'<td class="number">{format_number(array[i, j])}</td>' for array in arrays.values())
        lines.append(f"<tr><td>{escape(row)}</td><td>{escape(comparison.columns[j])}</td>{numbers}</tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def provenance_table(comparison: Comparison) -> str:
    """A table of where a comparison came from."""
    lines = (
        f"<tr><th>{escape(key)}</th><td>{escape(value if isinstance(value, str) else json.dumps(value))}</td></tr>"
        for key, value in comparison.meta.items()
    )
    return f"<table>{''.join(lines)}</table>"


def format_number(value: float) -> str:
    """Four digits; a dash where there is no number."""
    return "–" if math.isnan(value) else f"{value:.4g}"
