"""python -m benchmarks.tuning_rate: at which rate a pruned network is fine-tuned best.

Networks of the embedded digits are pruned and fine-tuned at several shares of the rate they were trained at, and
measured on training pictures held out for it: the test pictures are not touched. Trainings are kept under --out and
taken up again where they were stopped. Rows go to results/tuning_rate.csv; studies fine-tune at what loses little
(``tuning_recipe`` of pyscale.studies.compressed_networks).

    python -m benchmarks.tuning_rate --seeds 2 --epochs 1 --results /tmp/x    rehearses every line
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from benchmarks import page
from benchmarks.provenance import RESULTS, append_rows, provenance
from pyscale.compress import prune
from pyscale.studies.budgets import Compression
from pyscale.studies.compressed_networks import tuning_recipe
from pyscale.studies.equal_budget.contenders import over_seeds
from pyscale.studies.trained_networks import build_seeded
from pyscale.train import Data, Trained, digits, evaluate, fit

FAMILY = "cifar_resnet8"
SHARES = {"1": 1.0, "1/3": 1 / 3, "1/10": 1 / 10, "1/100": 1 / 100}  # of the rate of training
WAYS = {"channels": Compression(granularity="channel", amount=0.75), "weights": Compression(amount=0.85)}
PASSES = 3  # of fine-tuning, as many as equal budgets give by default
HELD_OUT = 0.25
QUIET = {"progress": False, "device": "cpu", "threads": 1}


def main(arguments: list[str]) -> int:
    """Train, prune, fine-tune, measure, and write rows."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)  # results then don't depend on how many cores there are
    split = digits().holding_out(HELD_OUT)
    assert split.val is not None
    data = replace(split, test=split.val, val=None)
    changes: dict[tuple[str, str], list[float]] = {}
    for seed in range(options.seeds):
        network = build_seeded(FAMILY, seed, num_classes=data.num_classes, in_channels=1, image_size=data.size[0])
        out = options.out / f"seed{seed}"
        original = fit(network, data, seed=seed, epochs=options.epochs, out=out / "original", **QUIET)
        for way, share, change in tuned(original, data, out):
            changes.setdefault((way, share), []).append(100 * change)
            print(f"seed {seed}: {way} at {share} of the rate: {100 * change:+.2f} points", flush=True)
    results = RESULTS if options.results is None else options.results
    append_rows("tuning_rate", rows(changes, data), results)
    if results == RESULTS:
        page.main()
    return 0


def tuned(original: Trained, data: Data, out: Path) -> Iterator[tuple[str, str, float]]:
    """Yield ways, shares of the rate, and the change of accuracy from the original's."""
    for way, compression in WAYS.items():
        for name, share in SHARES.items():
            recipe = tuning_recipe(original.recipe, replace(compression, epochs=PASSES))
            recipe = recipe.but(lr=share * original.recipe.lr)

            run = out / f"{way}-{name.replace('/', '-')}"

            def finetune(model: nn.Module, recipe=recipe, run=run) -> None:
                fit(model, data, recipe=recipe, seed=original.seed, out=run, **QUIET)

            network = prune(
                copy.deepcopy(original.model),
                compression.amount,
                granularity=compression.granularity,
                finetune=finetune,
            )
            yield way, name, evaluate(network, data).value - original.accuracy.value


def rows(changes: dict[tuple[str, str], list[float]], data: Data) -> Iterator[dict[str, str]]:
    """Yield a row for every way and share."""
    origin = provenance()
    for (way, share), points in changes.items():
        mean = over_seeds(points)
        yield {
            "network": FAMILY,
            "pruned": f"{100 * WAYS[way].amount:g} % of its {way}",
            "share_of_rate": share,
            "value": f"{mean.mean:+.2f}",
            "low": f"{mean.low:+.2f}",
            "high": f"{mean.high:+.2f}",
            "seeds": str(mean.n),
            "passes": str(PASSES),
            "trained_on": str(len(data.train)),
            "held_out": str(len(data.test)),
            **origin,
        }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning_rate", description=__doc__.split("\n\n")[1])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--epochs", type=int, help="of the originals; the recipe's by default")
    parser.add_argument("--out", type=Path, default=Path("outputs/tuning_rate"), help="where trainings are kept")
    parser.add_argument("--results", type=Path, help="folder for the rows, instead of benchmarks/results")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
