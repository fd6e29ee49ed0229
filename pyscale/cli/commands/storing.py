"""``pyscale extract`` and ``pyscale compare-stores``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyscale.cli.commands.comparing import NETWORKS_BATCH, check_suffixes, show_comparison, write_comparison
from pyscale.cli.console import command_of_all, interactive, say, show, show_json, stdout_kept_clean, table
from pyscale.cli.normalising import MEAN_HELP, STD_HELP, normalised
from pyscale.cli.opening import DATA_HELP, MODEL_HELP, open_data, open_model

STORE_HELP = "A folder or file of activations (Zarr, .npy, .npz, .safetensors, .h5), or an address such as s3://..."
CACHE_HELP = "Folder for the state of a comparison of stores under way; the user's cache folder."
FRESH_HELP = "Begin a comparison of stores that was stopped anew."
STORES_BATCH = 256


@command_of_all
def extract(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    store: Annotated[str, typer.Argument(help="Where to: a new folder such as acts.zarr, or an address: s3://...")],
    weights: Annotated[Path | None, typer.Option(help="Checkpoint of MODEL.")] = None,
    data: Annotated[str, typer.Option(help=DATA_HELP)] = "digits",
    split: Annotated[str, typer.Option(help="train, test or val.")] = "test",
    mean: Annotated[str | None, typer.Option(help=MEAN_HELP)] = None,
    std: Annotated[str | None, typer.Option(help=STD_HELP)] = None,
    num_classes: Annotated[int | None, typer.Option(help="Of a named model; the data's.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Of a named model before scaling; its own.")] = None,
    features: Annotated[str, typer.Option(help="flatten (all numbers) or pool (means of channels).")] = "flatten",
    layers: Annotated[list[str] | None, typer.Option(help="Layer or glob pattern; may be repeated.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures a batch.")] = NETWORKS_BATCH,
    max_batches: Annotated[int | None, typer.Option(min=1, help="Stop after that many.")] = None,
    device: Annotated[str | None, typer.Option(help="Where the model runs.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of fresh weights.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin an unfinished store anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the activations of a network's layers to a store; one that was stopped goes on."""
    from pyscale.comparison import extract as extract_layers
    from pyscale.studies.similarity import batches_for

    pictures = normalised(open_data(data), mean, std)
    network = open_model(
        model,
        weights=weights,
        seed=seed,
        num_classes=pictures.num_classes if num_classes is None else num_classes,
        in_channels=pictures.channels,
        image_size=image_size,
    )
    with stdout_kept_clean():
        written = extract_layers(
            network,
            batches_for(network, pictures, batch_size, split),  # type: ignore[arg-type]  # checked there
            store,
            layers=layers,
            features=features,  # type: ignore[arg-type]  # checked there
            device=device,
            max_batches=max_batches,
            resume=not fresh,
            progress=interactive(),
        )
    found = [
        (name, list(layer.shape), str(layer.dtype).removeprefix("torch.")) for name, layer in written.layers.items()
    ]
    if as_json:
        described = [{"layer": name, "shape": shape, "dtype": dtype} for name, shape, dtype in found]
        show_json({"store": store, "samples": written.samples, "bytes": written.bytes, "layers": described})
        return
    rows = table("layer", "shape", "type")
    for name, shape, dtype in found:
        rows.add_row(name, " x ".join(map(str, shape)), dtype)
    show(rows)
    typer.echo(f"{written.samples} pictures, {written.bytes / 2**20:.1f} MiB of activations in {store}")


@command_of_all
def compare_stores(
    store_x: Annotated[str, typer.Argument(help=f"{STORE_HELP} Its layers are the rows.")],
    store_y: Annotated[str, typer.Argument(help="Likewise; its layers are the columns.")],
    metric: Annotated[str, typer.Option(help="cka, cca, cca_r2, svcca, pwcca or procrustes.")] = "cka",
    mode: Annotated[str | None, typer.Option(help="minibatch or exact; what fits the metric.")] = None,
    kernel: Annotated[str, typer.Option(help="linear or rbf.")] = "linear",
    estimator: Annotated[str, typer.Option(help="unbiased or biased.")] = "unbiased",
    bandwidth: Annotated[float, typer.Option(help="Of rbf, in median distances.")] = 1.0,
    features: Annotated[str, typer.Option(help="flatten, pool or positions.")] = "flatten",
    layers: Annotated[list[str] | None, typer.Option(help="Layer or glob pattern; may be repeated.")] = None,
    layers_y: Annotated[list[str] | None, typer.Option(help="The same for STORE_Y; as for STORE_X.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples a minibatch.")] = STORES_BATCH,
    max_batches: Annotated[int | None, typer.Option(min=1, help="Stop after that many.")] = None,
    permutations: Annotated[int, typer.Option(min=0, help="Size of the permutation null.")] = 0,
    memory: Annotated[str, typer.Option(help="What the process may take, such as 2GiB.")] = "2GiB",
    seed: Annotated[int, typer.Option(min=0, help="Of the permutations.")] = 0,
    cache: Annotated[Path | None, typer.Option(help=CACHE_HELP)] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help=FRESH_HELP)] = False,
    out: Annotated[
        list[Path] | None, typer.Option("--out", "-o", help="File: .npz, .html, .png, .csv; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare every layer of one store of activations with every layer of another, whatever their size."""
    from pyscale.comparison import compare_stores as compare
    from pyscale.distributed import is_first

    files = out or []
    check_suffixes(files)
    with stdout_kept_clean():
        comparison = compare(
            store_x,
            store_y,
            layers=layers,
            layers_y=layers_y,
            metric=metric,  # type: ignore[arg-type]  # compare_stores checks these five
            mode=mode,  # type: ignore[arg-type]
            kernel=kernel,  # type: ignore[arg-type]
            estimator=estimator,  # type: ignore[arg-type]
            bandwidth=bandwidth,
            features=features,  # type: ignore[arg-type]
            batch_size=batch_size,
            max_batches=max_batches,
            permutations=permutations,
            memory=memory,
            seed=seed,
            cache=cache,
            resume=not fresh,
            progress=interactive(),
        )
        for file in files if is_first() else ():
            write_comparison(comparison, file)
            say(f"wrote {file}")
    if as_json:
        arrays = comparison.arrays()
        show_json({"rows": comparison.rows, "columns": comparison.columns, **arrays, "meta": comparison.meta})
    else:
        show_comparison(comparison, store_x, store_y, "samples")
