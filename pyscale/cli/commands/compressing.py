"""``pyscale deep-compress``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyscale.cli.console import command, interactive, say, show, show_json, stdout_kept_clean, table
from pyscale.cli.opening import DATA_HELP, open_data

if TYPE_CHECKING:
    from pyscale.studies import DeeplyCompressed, Step


@command
def deep_compress(
    plan: Annotated[str, typer.Argument(help="lenet_300_100 or lenet5, for pictures of 28 x 28; cifar_resnet20.")],
    data: Annotated[str, typer.Option(help=DATA_HELP)],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder; outputs/deep-compression/PLAN.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint that training goes on from; cifar_resnet20 asks for one.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of first weights and trainings.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train anew instead of taking up what is there.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch; its own choice by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a network, prune it, share its weights and Huffman-code them; sizes are files', accuracies are read back.

    Stopped, it goes on where it was when started again.
    """
    from pyscale.studies import compress_deeply

    folder = Path("outputs/deep-compression") / plan if out is None else out
    started = time.monotonic()

    def announce(step: Step) -> None:
        say(f"[{step.number:2d}/{step.total}] {step.title} ({time.monotonic() - started:.0f} s so far)")

    options: dict[str, Any] = {} if threads is None else {"threads": threads}
    with stdout_kept_clean():
        result = compress_deeply(
            plan,
            open_data(data),
            folder,
            seed=seed,
            weights=weights,
            resume=not fresh,
            progress=interactive(),
            on_step=announce,
            **options,
        )
    if as_json:
        show_json({"out": str(folder), **result.to_dict()})
        return
    _show(result)
    typer.echo(f"{result.points_lost:.2f} points of accuracy lost; in {result.stages[-1].path}")


def _show(result: DeeplyCompressed) -> None:
    rows = table("stage", "accuracy (95 %)", "bytes on disk", "times smaller")
    for stage in result.stages:
        rows.add_row(stage.name, str(stage.accuracy), f"{stage.report.bytes_file:,}", f"{stage.report.rate:.1f}")
    show(rows)
    typer.echo(f"\n{result.stages[-1].report}")
