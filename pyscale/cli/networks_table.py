"""The networks of a finished study as a table in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from pyscale.cli.console import table

if TYPE_CHECKING:
    from pyscale.studies import StudyResult


def networks_table(result: StudyResult) -> Table:
    """One row a network: accuracy, costs, and how alike its key layers are to the baseline's."""
    rows = table("network", "accuracy (95 %)", "params", "MACs", "×", "file", "latency", "CKA")
    for member in result.members:
        similarity = result.similarities.get(member.name, {}).get("cka")
        rows.add_row(
            member.name,
            str(member.trained.accuracy),
            f"{member.cost.parameters / 1e6:.2f} M",
            f"{member.cost.macs / 1e6:.2f} M",
            f"{result.ratio(member, 'macs'):.2f}",
            "" if member.file_bytes is None else f"{member.file_bytes / 1e3:.0f} kB",
            f"{1e3 * member.cost.latency:.2f} ms",
            "" if similarity is None else f"{similarity.at_counterpart()[similarity.key_rows].mean():.2f}",
        )
    return rows
