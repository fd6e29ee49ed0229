"""``pyscale compare-searches``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyscale.cli.console import command, show, show_json, table

if TYPE_CHECKING:
    from pyscale.studies import SearchComparison


@command
def compare_searches(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Finished searches, at least two: what --out named.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask of each search's best bases how they stand in the others: another family, budget or data set."""
    from pyscale.studies import compare_searches, open_search

    if len(folders) < 2:
        raise ValueError(f"folders: expected at least two finished searches, got {len(folders)}")
    labels = [folder.resolve().name for folder in folders]
    if len(set(labels)) < len(labels):
        labels = [str(folder) for folder in folders]
    if repeated := sorted({label for label in labels if labels.count(label) > 1}):
        raise ValueError(f"folders: {repeated[0]} is given more than once")
    compared = compare_searches({label: open_search(folder) for label, folder in zip(labels, folders, strict=True)})
    if as_json:
        show_json(compared.to_dict())
    else:
        _show(compared)


def _show(compared: SearchComparison) -> None:
    rows = table("search", "family", "budget", "epochs", "α", "β", "γ", "true", "accuracy", "alike")
    for row in compared.to_dict()["searches"]:
        interval = f"{100 * row['accuracy']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
        numbers = (f"{row[name]:g}" for name in ("alpha", "beta", "gamma"))
        budget = f"{row['budget']:g} {row['unit']}"
        alike = f"{row['not_distinguishable']} of {row['candidates'] - 1}"
        rows.add_row(
            row["search"], row["family"], budget, str(row["epochs"]), *numbers, f"{row['growth']:.2f}", interval, alike
        )
    show(rows)
    typer.echo(str(compared))
