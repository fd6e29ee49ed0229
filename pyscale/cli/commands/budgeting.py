"""``pyscale scale-to``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from pyscale.cli.console import command, show, show_json, stdout_kept_clean, table


@command
def scale_to(
    family: Annotated[str, typer.Argument(help="A name, such as resnet18.")],
    macs: Annotated[float | None, typer.Option(help="Multiply-accumulates of a picture, at most.")] = None,
    parameters: Annotated[float | None, typer.Option(help="Parameters, at most.")] = None,
    activations: Annotated[float | None, typer.Option(help="Outputs of all convolutions, at most.")] = None,
    latency: Annotated[float | None, typer.Option(help="Milliseconds of a forward pass here, at most.")] = None,
    rule: Annotated[
        str, typer.Option(help="What shares the growth: dWr, uniform, d, w, r, or three shares D,W,R.")
    ] = "dWr",
    max_image_size: Annotated[int | None, typer.Option(min=1, help="Largest side of the pictures.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the pictures before scaling.")] = None,
    num_classes: Annotated[int | None, typer.Option(help="Outputs of the classifier.")] = None,
    in_channels: Annotated[int, typer.Option(help="Channels of the pictures.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The largest network of a family within a budget, smaller or larger than the one it is named after."""
    import torch

    from pyscale.models import build, profile
    from pyscale.models import scale_to as solve

    fitted: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    with stdout_kept_clean():
        scaling = solve(
            family,
            macs=macs,
            parameters=parameters,
            activations=activations,
            latency=None if latency is None else latency / 1e3,
            rule=_rule(rule),
            max_image_size=max_image_size,
            **fitted,
        )
        with torch.device("meta"):
            base, found = (profile(build(family, scaling=s, **fitted), repeats=0) for s in (None, scaling))
    if as_json:
        show_json({"model": family, "scaling": asdict(scaling), **asdict(found)})
        return
    rows = table(family, "depth", "width", "resolution", "pixels", "parameters", "MACs", "activations")
    for label, factors, cost in (("as named", None, base), ("scaled", scaling, found)):
        numbers = (1.0, 1.0, 1.0) if factors is None else (factors.depth, factors.width, factors.resolution)
        counts = (cost.image_size, cost.parameters, cost.macs, cost.activations)
        rows.add_row(label, *(f"{number:.4g}" for number in numbers), *(f"{count:,}" for count in counts))
    show(rows)


def _rule(text: str) -> Any:
    """A rule's name, or three shares."""
    if "," not in text:
        return text
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"rule: expected a name or three numbers D,W,R, got {text!r}") from None
