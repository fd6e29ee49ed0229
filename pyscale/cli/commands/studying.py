"""``pyscale study``."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyscale.cli.console import command_of_all, interactive, say, show, show_json, stdout_kept_clean, table
from pyscale.cli.networks_table import networks_table

if TYPE_CHECKING:
    from pyscale.studies import Estimate, Step, Study


@command_of_all
def study(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML file that describes the study.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all studies.")] = Path("outputs"),
    workers: Annotated[int, typer.Option(min=1, help="Processes that train at the same time.")] = 1,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; a GPU where there is one by default.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of finished trainings; OUT/cache by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and train nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train anew instead of taking up what is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings and the files as JSON.")] = False,
) -> None:
    """Run the study that a file describes: train, compress, compare, report. Stopped, it goes on where it was.

    Under torchrun each process makes some of the networks, in a folder that all can write to; rank 0 does the rest.
    """
    from pyscale.distributed import apart, is_first
    from pyscale.studies import Study, estimate, findings, run
    from pyscale.studies.ranks import make_networks

    started = time.monotonic()

    def announce(step: Step) -> None:
        say(f"[{step.number:2d}/{step.total}] {step.title} ({time.monotonic() - started:.0f} s so far)")

    asked = Study.from_yaml(file)
    if dry_run:
        if not is_first():
            return
        _show_estimate(asked, estimate(asked, workers=workers, device=device), as_json)
        return
    with stdout_kept_clean():
        shared = make_networks(asked, out, resume=not fresh, device=device, cache=cache, on_step=announce)
    if not is_first():
        return
    with stdout_kept_clean(), apart():
        result = run(
            asked,
            out,
            resume=shared or not fresh,
            progress=interactive(),
            workers=workers,
            device=device,
            cache=cache,
            on_step=announce,
        )
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


def _show_estimate(asked: Study, guess: Estimate, as_json: bool) -> None:
    counted = [] if asked.costs is None else asked.costs.rows(asked.family)
    if as_json:
        show_json(
            {
                "trainings": [{**asdict(row), "total_macs": row.total} for row in guess.rows],
                "total_macs": guess.total,
                "macs_per_second": guess.rate,
                "seconds": guess.seconds,
                "costs": counted,
            }
        )
        return
    rows = table("network", "of it", "parameters", "MACs", "pictures", "epochs", "training MACs")
    for row in guess.rows:
        most = "at most " if row.at_most else ""
        rows.add_row(
            row.name,
            str(row.networks),
            f"{most}{row.parameters:,}",
            f"{most}{row.macs:,}",
            f"{row.pictures:,}",
            str(row.epochs) if row.epochs else "from a file",
            f"{most}{row.total:.2e}",
        )
    show(rows)
    most = "at most " if guess.at_most else ""
    typer.echo(
        f"\n{most.capitalize()}{guess.total:.2e} multiply-accumulates; at the {guess.rate:.1e} a second measured now, "
        f"{most}about {_duration(guess.seconds)} by {guess.workers} worker{'s' * (guess.workers > 1)}."
    )
    if counted:
        show(_counted(counted))


def _counted(counted: list[dict[str, Any]]) -> Any:
    rows = table("counted", "φ", "depth", "width", "resolution", "pixels", "parameters", "MACs", "activations")
    for row in counted:
        rows.add_row(
            row["sweep"],
            f"{row['phi']:g}",
            *(f"{row[factor]:.3g}" for factor in ("depth", "width", "resolution")),
            *(f"{row[count]:,}" for count in ("image_size", "parameters", "macs", "activations")),
        )
    return rows


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
