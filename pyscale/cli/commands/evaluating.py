"""``pyscale evaluate``."""

from __future__ import annotations

from typing import Annotated

import typer

from pyscale.cli.console import command, show, show_json, stdout_kept_clean, table
from pyscale.cli.normalising import MEAN_HELP, STD_HELP, normalised
from pyscale.cli.opening import DATA_HELP, MODEL_HELP, open_data, open_model


@command
def evaluate(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help=MODEL_HELP)],
    data: Annotated[str, typer.Option(help=DATA_HELP)] = "digits",
    split: Annotated[str, typer.Option(help="train, test or val.")] = "test",
    mean: Annotated[str | None, typer.Option(help=MEAN_HELP)] = None,
    std: Annotated[str | None, typer.Option(help=STD_HELP)] = None,
    num_classes: Annotated[int | None, typer.Option(help="Of named models; the data's.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Of named models before scaling; their own.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures at a time.")] = 256,
    device: Annotated[str | None, typer.Option(help="Where the models run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Accuracy of networks on held-out pictures, each at its own resolution, with a 95 % interval."""
    from pyscale.train import evaluate as count

    pictures = normalised(open_data(data), mean, std)
    classes = pictures.num_classes if num_classes is None else num_classes
    found = {}
    with stdout_kept_clean():
        for text in models:
            network = open_model(text, num_classes=classes, in_channels=pictures.channels, image_size=image_size)
            found[text] = count(network, pictures, split=split, batch_size=batch_size, device=device)  # type: ignore[arg-type]
    if as_json:
        show_json([{"model": text, "accuracy": accuracy.to_dict()} for text, accuracy in found.items()])
        return
    rows = table("model", "accuracy (95 %)", "pictures")
    for text, accuracy in found.items():
        rows.add_row(text, str(accuracy), f"{accuracy.total:,}")
    show(rows)
