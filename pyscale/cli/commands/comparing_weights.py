"""``pyscale compare-weights``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pyscale.cli.commands.comparing import check_suffixes, show_closest, write_comparison
from pyscale.cli.console import command, say, show_json, stdout_kept_clean
from pyscale.cli.opening import MODEL_HELP, open_model


@command
def compare_weights(
    model_x: Annotated[str, typer.Argument(help=f"{MODEL_HELP} Its layers are the rows.")],
    model_y: Annotated[str, typer.Argument(help="Likewise; its layers are the columns.")],
    weights_x: Annotated[Path | None, typer.Option(help="Checkpoint of MODEL_X; a named model has none.")] = None,
    weights_y: Annotated[Path | None, typer.Option(help="Checkpoint of MODEL_Y.")] = None,
    layers: Annotated[list[str] | None, typer.Option(help="Layer or glob pattern; may be repeated.")] = None,
    layers_y: Annotated[list[str] | None, typer.Option(help="The same for MODEL_Y; as for MODEL_X.")] = None,
    rows: Annotated[
        str, typer.Option(help="What two layers must have in common: inputs (channels and kernel), or outputs.")
    ] = "inputs",
    metric: Annotated[str, typer.Option(help="cka, cca, cca_r2, svcca, pwcca or procrustes.")] = "cka",
    kernel: Annotated[str, typer.Option(help="linear or rbf.")] = "linear",
    estimator: Annotated[str, typer.Option(help="unbiased or biased.")] = "unbiased",
    unequal: Annotated[
        str | None, typer.Option(help="error or nan: of layers without common rows; nan unless both were named.")
    ] = None,
    num_classes: Annotated[int | None, typer.Option(help="Of named models; their own.")] = None,
    in_channels: Annotated[int, typer.Option(help="Channels of the pictures of named models.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of fresh weights of MODEL_X; MODEL_Y has the next.")] = 0,
    out: Annotated[
        list[Path] | None, typer.Option("--out", "-o", help="File: .npz, .html, .png, .csv; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the weights of two networks layer by layer, beside what unrelated weights would get; no pictures.

    Only layers whose rows mean the same in both are compared, and nothing is padded. Without checkpoints the weights
    are fresh, from two seeds: whatever they score is chance.
    """
    from pyscale.comparison import compare_weights as compare_all

    files = out or []
    check_suffixes(files)
    shape: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels, "channels_from_data": False}
    x = open_model(model_x, weights=weights_x, seed=seed, **shape)
    y = open_model(model_y, weights=weights_y, seed=seed + 1, **shape)
    with stdout_kept_clean():
        comparison = compare_all(
            x,
            y,
            layers=layers,
            layers_y=layers_y,
            rows=rows,  # type: ignore[arg-type]  # compare_weights checks these
            metric=metric,  # type: ignore[arg-type]
            kernel=kernel,  # type: ignore[arg-type]
            estimator=estimator,  # type: ignore[arg-type]
            unequal=unequal,  # type: ignore[arg-type]
        )
        for file in files:
            write_comparison(comparison, file)
            say(f"wrote {file}")
    if as_json:
        show_json(
            {"rows": comparison.rows, "columns": comparison.columns, **comparison.arrays(), "meta": comparison.meta}
        )
    else:
        show_closest(comparison, model_x, model_y)
