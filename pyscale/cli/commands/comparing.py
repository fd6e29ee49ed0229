"""``pyscale compare``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyscale.cli.console import command_of_all, interactive, say, show, show_json, stdout_kept_clean, table
from pyscale.cli.normalising import MEAN_HELP, STD_HELP, normalised
from pyscale.cli.opening import DATA_HELP, MODEL_HELP, open_data, open_model

if TYPE_CHECKING:
    from pyscale.comparison import Comparison

SUFFIXES = (".npz", ".html", ".png", ".csv")
NETWORKS_BATCH = 64  # pictures


@command_of_all
def compare(
    model_x: Annotated[str, typer.Argument(help=f"{MODEL_HELP} Its layers are the rows.")],
    model_y: Annotated[str, typer.Argument(help="Likewise; its layers are the columns.")],
    weights_x: Annotated[Path | None, typer.Option(help="Checkpoint of MODEL_X.")] = None,
    weights_y: Annotated[Path | None, typer.Option(help="Checkpoint of MODEL_Y.")] = None,
    data: Annotated[str, typer.Option(help=DATA_HELP)] = "digits",
    split: Annotated[str, typer.Option(help="train, test or val.")] = "test",
    mean: Annotated[str | None, typer.Option(help=MEAN_HELP)] = None,
    std: Annotated[str | None, typer.Option(help=STD_HELP)] = None,
    num_classes: Annotated[int | None, typer.Option(help="Of named models; the data's.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Of named models before scaling; their own.")] = None,
    metric: Annotated[str, typer.Option(help="cka, cca, cca_r2, svcca, pwcca or procrustes.")] = "cka",
    mode: Annotated[str | None, typer.Option(help="minibatch or exact; what fits the metric.")] = None,
    kernel: Annotated[str, typer.Option(help="linear or rbf.")] = "linear",
    estimator: Annotated[str, typer.Option(help="unbiased or biased.")] = "unbiased",
    bandwidth: Annotated[float, typer.Option(help="Of rbf, in median distances.")] = 1.0,
    features: Annotated[str, typer.Option(help="flatten, pool or positions.")] = "flatten",
    layers: Annotated[list[str] | None, typer.Option(help="Layer or glob pattern; may be repeated.")] = None,
    layers_y: Annotated[list[str] | None, typer.Option(help="The same for MODEL_Y; as for MODEL_X.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures a minibatch.")] = NETWORKS_BATCH,
    max_batches: Annotated[int | None, typer.Option(min=1, help="Stop after that many.")] = None,
    permutations: Annotated[int, typer.Option(min=0, help="Size of the permutation null.")] = 0,
    memory: Annotated[str | None, typer.Option(help="What it may take, such as 2GiB; half of what is free.")] = None,
    device: Annotated[str | None, typer.Option(help="Where the models run.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of fresh weights and permutations.")] = 0,
    out: Annotated[
        list[Path] | None, typer.Option("--out", "-o", help="File: .npz, .html, .png, .csv; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare every layer of one network with every layer of another on the same pictures."""
    from pyscale.comparison import compare as compare_models
    from pyscale.distributed import is_first
    from pyscale.studies.similarity import batches_for

    files = out or []
    check_suffixes(files)
    pictures = normalised(open_data(data), mean, std)
    shape: dict[str, Any] = {
        "num_classes": pictures.num_classes if num_classes is None else num_classes,
        "in_channels": pictures.channels,
        "image_size": image_size,
    }
    x = open_model(model_x, weights=weights_x, seed=seed, **shape)
    same = (model_x, weights_x) == (model_y, weights_y)
    y = x if same else open_model(model_y, weights=weights_y, seed=seed, **shape)
    loader, loader_y = (batches_for(model, pictures, batch_size, split) for model in (x, y))  # type: ignore[arg-type]
    with stdout_kept_clean():
        comparison = compare_models(
            x,
            y,
            loader,
            loader_y=None if x.image_size == y.image_size else loader_y,
            layers=layers,
            layers_y=layers_y,
            metric=metric,  # type: ignore[arg-type]  # compare checks these four
            mode=mode,  # type: ignore[arg-type]
            kernel=kernel,  # type: ignore[arg-type]
            estimator=estimator,  # type: ignore[arg-type]
            bandwidth=bandwidth,
            features=features,  # type: ignore[arg-type]
            max_batches=max_batches,
            permutations=permutations,
            memory=memory,
            device=device,
            seed=seed,
            progress=interactive(),
        )
        for file in files if is_first() else ():
            write_comparison(comparison, file)
            say(f"wrote {file}")
    if as_json:
        arrays = {name: array for name, array in comparison.arrays().items()}
        show_json({"rows": comparison.rows, "columns": comparison.columns, **arrays, "meta": comparison.meta})
    else:
        show_comparison(comparison, model_x, model_y, "pictures")


def check_suffixes(files: list[Path]) -> None:
    """Raise ValueError unless results can be written to all of these."""
    for file in files:
        if file.suffix not in SUFFIXES:
            raise ValueError(f"out: expected a file ending in {', '.join(SUFFIXES)}, got {file}")


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write a comparison in the format that the file's name says."""
    from pyscale.comparison.files import replacing

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        comparison.save(path)
    elif path.suffix == ".html":
        comparison.to_html(path)
    elif path.suffix == ".csv":
        with replacing(path) as file:
            file.write(comparison.to_pandas(long=True).to_csv(index=False).encode())
    else:
        from matplotlib.figure import Figure

        height, width = comparison.values.shape
        figure = Figure(figsize=(3.5 + 0.09 * min(width, 100), 2.5 + 0.09 * min(height, 100)), layout="constrained")
        comparison.plot(figure.subplots())
        with replacing(path) as file:
            figure.savefig(file, format="png", dpi=160)


def show_comparison(comparison: Comparison, model_x: str, model_y: str, samples: str) -> None:
    """Print the closest layer of MODEL_Y to each of MODEL_X, and how much both saw."""
    show_closest(comparison, model_x, model_y)
    typer.echo(f"{comparison.meta['samples']} {samples} in {comparison.meta['batches']} batches")


def show_closest(comparison: Comparison, model_x: str, model_y: str) -> None:
    """Print the closest layer of MODEL_Y to each of MODEL_X."""
    import numpy as np

    rows = table(f"layer of {model_x}", f"closest of {model_y}", comparison.title, "± error", "chance", "z")
    for i, row in enumerate(comparison.rows):
        if np.isnan(comparison.values[i]).all():
            rows.add_row(row, "", "not defined")
            continue
        j = int(np.nanargmax(comparison.values[i]))
        rows.add_row(
            row,
            comparison.columns[j],
            _number(comparison.values[i, j], 4),
            _number(comparison.stderr[i, j], 4),
            _number(comparison.chance[i, j], 4),
            _number(comparison.zscores[i, j], 1),
        )
    show(rows)


def _number(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"
