"""Rows as text in columns."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence


def render(rows: Sequence[Mapping[str, object]], hidden: Container[str] = ()) -> str:
    """Return a table of the rows without the hidden columns and those that are empty throughout.

    Names are on the left of their columns, numbers on the right.
    """
    columns = [name for name in rows[0] if name not in hidden and any(str(row[name]) for row in rows)]
    cells = [columns, *([str(row[name]) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    right = [all(_is_number(line[i]) for line in cells[1:] if line[i]) for i in range(len(columns))]
    return "\n".join(
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in cells
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
