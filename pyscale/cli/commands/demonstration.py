"""``pyscale demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyscale.cli.console import command, interactive, say, show, show_json, stdout_kept_clean
from pyscale.cli.networks_table import networks_table

if TYPE_CHECKING:
    from pyscale.studies import Step


@command
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report.")] = Path("outputs/demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of every network but the yardstick, whose seed is the next.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few pictures, two epochs: how it works, not what it finds.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train anew instead of taking up what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings and the files as JSON.")] = False,
) -> None:
    """Train a small ResNet, then deeper, wider, higher-resolution and compound ones; report what it bought and changed.

    Takes about three minutes on two cores. Stopped, it goes on where it was when started again.
    """
    from pyscale.studies import demo as run_demo
    from pyscale.studies import findings

    started = time.monotonic()

    def announce(step: Step) -> None:
        say(f"[{step.number:2d}/{step.total}] {step.title} ({time.monotonic() - started:.0f} s so far)")

    with stdout_kept_clean():
        result = run_demo(out, seed=seed, quick=quick, resume=not fresh, progress=interactive(), on_step=announce)
        found = findings(result)
    if as_json:
        show_json(
            {
                "report": str(result.out / "report.html"),
                "study": str(result.out / "study.json"),
                "accuracy": {member.name: member.trained.accuracy.value for member in result.members},
                "findings": [finding.text for finding in found],
                "seconds": time.monotonic() - started,
            }
        )
        return
    show(networks_table(result))
    for finding in found:
        if finding.topic != "inside":
            typer.echo(f"\n{finding.text}")
    typer.echo(f"\nReport: {result.out / 'report.html'}")
