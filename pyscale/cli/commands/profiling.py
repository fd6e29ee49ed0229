"""``pyscale profile``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pyscale.cli.console import command, show, show_json, stdout_kept_clean, table
from pyscale.cli.opening import MODEL_HELP, open_model


@command
def profile(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=MODEL_HELP)],
    image_size: Annotated[int | None, typer.Option(help="Side of the pictures before scaling.")] = None,
    num_classes: Annotated[int | None, typer.Option(help="Outputs of the classifier.")] = None,
    in_channels: Annotated[int, typer.Option(help="Channels of the pictures.")] = 3,
    batch_size: Annotated[int, typer.Option(help="Pictures a timed pass.")] = 1,
    repeats: Annotated[int, typer.Option(help="Timed passes; 0 times nothing.")] = 10,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch; its own choice by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What networks cost: parameters, multiply-accumulates, activations, bytes, latency."""
    import torch

    from pyscale.models import profile as measure

    if threads is not None:
        torch.set_num_threads(threads)
    profiles = {}
    with stdout_kept_clean():
        for text in models:
            network = open_model(
                text,
                num_classes=num_classes,
                in_channels=in_channels,
                image_size=image_size,
                channels_from_data=False,
            )
            profiles[text] = measure(network, batch_size=batch_size, repeats=repeats)
    if as_json:
        show_json([{"model": text, **asdict(cost)} for text, cost in profiles.items()])
        return
    rows = table("model", "pixels", "parameters", "MACs", "activations", "MiB", "latency")
    for text, cost in profiles.items():
        rows.add_row(
            text,
            str(cost.image_size),
            f"{cost.parameters:,}",
            f"{cost.macs:,}",
            f"{cost.activations:,}",
            f"{cost.bytes / 2**20:.2f}",
            "" if repeats == 0 else f"{1e3 * cost.latency:.2f} ms",
        )
    show(rows)
