"""``pyscale prune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pyscale.cli.console import command, interactive, show, show_json, stdout_kept_clean, table
from pyscale.cli.normalising import MEAN_HELP, STD_HELP, normalised
from pyscale.cli.opening import DATA_HELP, MODEL_HELP, open_data, open_model


@command
def prune(
    model: Annotated[str, typer.Argument(help=f"{MODEL_HELP} It is left as it is.")],
    amount: Annotated[float | None, typer.Option(help="Share to remove; or one of the four budgets.")] = None,
    macs: Annotated[float | None, typer.Option(help="Most multiply-accumulates; below 1 a share of MODEL's.")] = None,
    parameters: Annotated[float | None, typer.Option(help="Most parameters that are not zero, likewise.")] = None,
    file_bytes: Annotated[float | None, typer.Option("--bytes", help="Largest file, likewise.")] = None,
    latency: Annotated[float | None, typer.Option(help="Share of MODEL's latency.")] = None,
    granularity: Annotated[
        str, typer.Option(help="weight sets single ones to zero; channel takes them out.")
    ] = "weight",
    scope: Annotated[
        str, typer.Option(help="global lets all layers compete; layer takes the amount from each.")
    ] = "global",
    schedule: Annotated[
        str | None, typer.Option(help="cubic or iterative: in steps, fine-tuned after each; one step by default.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of the schedule.")] = 8,
    bits: Annotated[int | None, typer.Option(min=1, max=8, help="Let weights of a layer share 2**BITS values.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of fine-tuning, after each step.")] = 2,
    lr: Annotated[
        float | None, typer.Option(help="Rate that MODEL was trained with, of which tuning takes a third; the data's.")
    ] = None,
    data: Annotated[str, typer.Option(help=DATA_HELP)] = "digits",
    mean: Annotated[str | None, typer.Option(help=MEAN_HELP)] = None,
    std: Annotated[str | None, typer.Option(help=STD_HELP)] = None,
    image_size: Annotated[int | None, typer.Option(help="Of a named model before scaling; its own.")] = None,
    subset: Annotated[int | None, typer.Option(min=1, help="Tune on this many pictures, stratified.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of order and augmentation.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the pruned network.")] = Path("runs/pruned"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew instead of taking up what is there.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU where there is one.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Of torch; its own choice by default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Prune a trained network, fine-tune it and measure it; `evaluate` and `compare` take the folder it leaves."""
    from pyscale.models import profile
    from pyscale.studies.amounts import file_bytes as size_of
    from pyscale.studies.budgets import Budget, Compression
    from pyscale.studies.compressed_networks import compressed
    from pyscale.train import History, Trained, evaluate

    limits = {"macs": macs, "parameters": parameters, "bytes": file_bytes, "latency": latency}
    budgets = [Budget(name, limit) for name, limit in limits.items() if limit is not None]  # type: ignore[arg-type]
    if len(budgets) + (amount is not None) != 1:
        raise ValueError("amount: expected exactly one of --amount, --macs, --parameters, --bytes and --latency")
    asked = Compression(
        granularity=granularity,  # type: ignore[arg-type]  # Compression checks these
        scope=scope,  # type: ignore[arg-type]
        schedule=schedule,  # type: ignore[arg-type]
        steps=steps,
        amount=amount,
        budget=budgets[0] if budgets else None,
        bits=bits,
        epochs=epochs,
    )
    pictures = normalised(open_data(data), mean, std)
    if subset is not None:
        pictures = pictures.subset(subset)
    shape: dict[str, Any] = {"num_classes": pictures.num_classes, "in_channels": pictures.channels}
    original = open_model(model, image_size=image_size, **shape)
    recipe = pictures.recipe if lr is None else pictures.recipe.but(lr=lr)
    with stdout_kept_clean():
        before = Trained(original, History(), evaluate(original, pictures, device=device), recipe, seed, None)
        options: dict[str, Any] = {"device": device, "threads": threads, "progress": interactive()}
        after = compressed(before, pictures, asked, out, resume=not fresh, **options)
    networks = []
    for name, trained, sparse in (("original", before, False), ("pruned", after, asked.in_sparse_file)):
        weights = sum(int(parameter.count_nonzero()) for parameter in trained.model.parameters())
        cost = profile(trained.model, repeats=0)
        size = size_of(trained.model, sparse=sparse)
        networks.append(
            {"network": name, "accuracy": trained.accuracy, "macs": cost.macs, "nonzero": weights, "bytes": size}
        )
    if as_json:
        plain = [{**network, "accuracy": network["accuracy"].to_dict()} for network in networks]  # type: ignore[attr-defined]
        show_json({"out": str(out), "networks": plain})
        return
    rows = table("network", "accuracy (95 %)", "MACs", "parameters not zero", "bytes on disk")
    for network in networks:
        counts = (f"{network[name]:,}" for name in ("macs", "nonzero", "bytes"))
        rows.add_row(str(network["network"]), str(network["accuracy"]), *counts)
    show(rows)
    typer.echo(f"in {out}")
