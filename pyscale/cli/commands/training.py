"""``pyscale train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pyscale.cli.console import command_of_all, interactive, show_json, stdout_kept_clean
from pyscale.cli.opening import DATA_HELP, open_data, parse_scaling


@command_of_all
def train(
    family: Annotated[str, typer.Argument(help="A name, such as cifar_resnet20; `pyscale train x` lists them.")],
    depth: Annotated[float | None, typer.Option(help="Factor on the blocks.")] = None,
    width: Annotated[float | None, typer.Option(help="Factor on the channels.")] = None,
    resolution: Annotated[float | None, typer.Option(help="Factor on the pictures' side.")] = None,
    phi: Annotated[str | None, typer.Option(help="Compound scaling instead: one exponent, or three: D,W,R.")] = None,
    max_resolution: Annotated[
        float | None, typer.Option(help="Largest factor of --phi on the pictures' side; EfficientNetV2 stops there.")
    ] = None,
    data: Annotated[str, typer.Option(help=DATA_HELP)] = "digits",
    image_size: Annotated[int | None, typer.Option(help="Side of the pictures before scaling; the data's own.")] = None,
    subset: Annotated[int | None, typer.Option(min=1, help="Train on this many pictures, stratified.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the pictures; the data's recipe.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate; the data's recipe.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Pictures a step; the data's recipe.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of first weights, order and augmentation.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the run; runs/FAMILY by default.")] = None,
    resume: Annotated[bool, typer.Option("--resume/--fresh", help="Take up the run in OUT, or train anew.")] = True,
    logger: Annotated[
        list[str] | None, typer.Option(help="csv or tensorboard, into OUT/logs, epoch by epoch; may be repeated.")
    ] = None,
    precision: Annotated[str, typer.Option(help="32-true, bf16-mixed or 16-mixed.")] = "32-true",
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU where there is one.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch; its own choice by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train one network and measure its accuracy; `pyscale compare` takes the folder it leaves."""
    from pyscale.distributed import is_first
    from pyscale.studies.trained_networks import build_seeded, keep_recipe
    from pyscale.train import fit

    folder = Path("runs") / family if out is None else out
    pictures = open_data(data)
    if subset is not None:
        pictures = pictures.subset(subset)
    if image_size is None and isinstance(pictures.image_size, int):
        image_size = pictures.image_size
    network = build_seeded(
        family,
        seed,
        scaling=parse_scaling(depth, width, resolution, phi, max_resolution=max_resolution),
        num_classes=pictures.num_classes,
        in_channels=pictures.channels,
        image_size=image_size,
    )
    changes: dict[str, Any] = {"epochs": epochs, "lr": lr, "batch_size": batch_size}
    with stdout_kept_clean():
        trained = fit(
            network,
            pictures,
            seed=seed,
            out=folder,
            resume=resume,
            precision=precision,  # type: ignore[arg-type]  # fit checks it
            device=device,
            threads=threads,
            logger=logger,  # type: ignore[arg-type]  # fit checks it
            progress=interactive(),
            **{name: value for name, value in changes.items() if value is not None},
        )
        if is_first():
            keep_recipe(network, folder)
    if as_json:
        show_json(
            {
                "out": str(folder),
                "model": network.recipe.to_dict() if network.recipe is not None else None,
                "accuracy": trained.accuracy.to_dict(),
                "recipe": trained.recipe.to_dict(),
                "seed": trained.seed,
                "resumed_at": trained.resumed_at,
                "training_seconds": trained.seconds,
                "history": {column: trained.history.column(column) for column in trained.history.columns},
            }
        )
        return
    accuracy = trained.accuracy
    typer.echo(f"{accuracy} of {accuracy.total} held-out pictures, {accuracy.classes_seen} classes")
    typer.echo(f"{trained.recipe.epochs} epochs in {trained.seconds:.1f} s; in {folder}")
