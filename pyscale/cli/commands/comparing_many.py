"""``pyscale compare-many``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyscale.cli.commands.comparing import NETWORKS_BATCH, check_suffixes
from pyscale.cli.commands.storing import CACHE_HELP, FRESH_HELP, STORES_BATCH
from pyscale.cli.console import command_of_all, interactive, say, show, show_json, stdout_kept_clean, table
from pyscale.cli.normalising import MEAN_HELP, STD_HELP, normalised
from pyscale.cli.opening import DATA_HELP, MODEL_HELP, is_store, open_data, open_model

if TYPE_CHECKING:
    from pyscale.comparison import Comparisons


@command_of_all
def compare_many(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=f"{MODEL_HELP} Or a store of activations.")],
    names: Annotated[str | None, typer.Option(help="Names instead of the arguments themselves: A,B,C.")] = None,
    data: Annotated[str, typer.Option(help=f"{DATA_HELP} Not used where there are stores only.")] = "digits",
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
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Samples a minibatch; 256 of stores alone, 64 where networks run.")
    ] = None,
    max_batches: Annotated[int | None, typer.Option(min=1, help="Stop after that many.")] = None,
    permutations: Annotated[int, typer.Option(min=0, help="Size of the permutation null.")] = 0,
    memory: Annotated[str | None, typer.Option(help="What it may take, such as 2GiB; half of what is free.")] = None,
    device: Annotated[str | None, typer.Option(help="Where the models run.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of fresh weights and permutations.")] = 0,
    cache: Annotated[Path | None, typer.Option(help=CACHE_HELP)] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help=FRESH_HELP)] = False,
    out: Annotated[
        list[Path] | None, typer.Option("--out", "-o", help="File: .npz, .html, .png, .csv; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare all pairs of networks and stores of activations, each network run once."""
    from pyscale.comparison import compare_many as compare_all
    from pyscale.comparison.export import SUMMARIES
    from pyscale.distributed import is_first

    files = out or []
    check_suffixes(files)
    called = _names(models, names)
    subjects: dict[str, Any] = {}
    loaders: dict[str, Any] | None = None
    if not all(is_store(text) for text in models):
        batch_size = batch_size or NETWORKS_BATCH
        shape = {"num_classes": num_classes, "image_size": image_size, "seed": seed}
        pictures = normalised(open_data(data), mean, std)
        subjects, loaders = _opened(models, called, pictures, split, batch_size, shape)
    else:
        subjects = dict(zip(called, models, strict=True))
    with stdout_kept_clean():
        found = compare_all(
            subjects,
            loaders,
            layers=layers,
            metric=metric,  # type: ignore[arg-type]  # compare_many checks these four
            mode=mode,  # type: ignore[arg-type]
            kernel=kernel,  # type: ignore[arg-type]
            estimator=estimator,  # type: ignore[arg-type]
            bandwidth=bandwidth,
            features=features,  # type: ignore[arg-type]
            batch_size=batch_size or STORES_BATCH,
            max_batches=max_batches,
            permutations=permutations,
            memory=memory,
            device=device,
            seed=seed,
            cache=cache,
            resume=not fresh,
            progress=interactive(),
        )
        for file in files if is_first() else ():
            _write(found, file)
            say(f"wrote {file}")
    if as_json:
        tables = {name: getattr(found, name) for name in SUMMARIES}
        show_json({"names": found.names, "layers": {name: found.layers(name) for name in found.names}, **tables})
    else:
        _show(found)


def _names(models: list[str], names: str | None) -> list[str]:
    """What the models are called: the names given, or the arguments."""
    called = models if names is None else [name.strip() for name in names.split(",")]
    if len(called) != len(models):
        raise ValueError(f"names: expected {len(models)} names, one for each model, got {len(called)}")
    repeated = sorted({name for name in called if called.count(name) > 1})
    if repeated:
        raise ValueError(f"names: {', '.join(repeated)} stands for several models; give others with --names")
    return called


def _opened(
    models: list[str], names: list[str], pictures: Any, split: str, batch_size: int, shape: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Networks and stores by name, and a loader for each network: networks of one resolution share theirs."""
    from pyscale.studies.similarity import batches_for

    shape = {**shape, "in_channels": pictures.channels}
    shape["num_classes"] = pictures.num_classes if shape["num_classes"] is None else shape["num_classes"]
    subjects: dict[str, Any] = {}
    loaders: dict[str, Any] = {}
    by_size: dict[int, Any] = {}
    for name, text in zip(names, models, strict=True):
        if is_store(text):
            subjects[name] = text
            continue
        network = subjects[name] = open_model(text, **shape)
        size = network.image_size
        if size not in by_size:
            by_size[size] = batches_for(network, pictures, batch_size, split)  # type: ignore[arg-type]
        loaders[name] = by_size[size]
    return subjects, loaders


def _write(found: Comparisons, path: Path) -> None:
    from pyscale.comparison.files import replacing

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        found.save(path)
    elif path.suffix == ".html":
        found.to_html(path)
    elif path.suffix == ".csv":
        with replacing(path) as file:
            file.write(found.to_pandas().to_csv(index=False).encode())
    else:
        with replacing(path) as file:
            found.plot().savefig(file, format="png", dpi=160)


def _show(found: Comparisons) -> None:
    first = found.held[found.names[0], found.names[0]]
    rows = table("layers of", "beside", f"{first.title}: corresponding", "chance", "best match", "chance at most")
    for i, x in enumerate(found.names):
        for j, y in enumerate(found.names):
            if i != j:
                levels = (found.aligned, found.aligned_chance, found.best_match, found.best_match_chance)
                rows.add_row(x, y, *(_number(level[i, j]) for level in levels))
    show(rows)
    typer.echo(f"{len(found.names)} models, {first.basis} in {first.meta['batches']} batches")


def _number(value: float) -> str:
    return "" if value != value else f"{value:.4f}"
