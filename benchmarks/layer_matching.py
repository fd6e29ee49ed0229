"""python -m benchmarks.layer_matching: the sanity check of Kornblith et al. 2019, section 6.1 and table 2.

Networks of one architecture are trained from several seeds; for every layer of one, each similarity names the most
similar layer of another: how often is it the corresponding one? Trainings are kept under --out and taken up again where
they were stopped. Rows go to results/layer_matching.csv.

    python -m benchmarks.layer_matching                             the embedded digits
    python -m benchmarks.layer_matching --data cifar10.zip          pictures as folders, a zip file of them, or .npz
    python -m benchmarks.layer_matching --data cifar10.zip --device cuda --precision bf16-mixed --width 64 --batch 256
        --processes 5 --seconds 150 --samples 2000 --wide-samples 400 --threads 16 --weights outputs/weights
                                                                    on a GPU: as many epochs as fit into the time
    python -m benchmarks.layer_matching --data cifar10.zip --from-weights outputs/weights/*.pt
                                                                    compares those networks again
    python -m benchmarks.layer_matching --quick --results /tmp/x    rehearses every line
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import page, plain_trainings
from benchmarks.plain_trainings import Plan, Trainings
from benchmarks.provenance import RESULTS, append_rows, provenance
from pyscale.studies.matching.counting import LayerMatching, match_layers
from pyscale.studies.matching.directions import CANONICAL
from pyscale.studies.matching.tables import BANDWIDTHS
from pyscale.train import Data

# Table 2, in percent: ten networks of ten layers, CIFAR-10, all activations, logits left out.
PUBLISHED = {
    "cca": 1.4,
    "cca_r2": 10.6,
    "svcca": 9.9,
    "svcca_r2": 15.1,
    "pwcca": 11.1,
    "hsic": 22.2,
    "cka_biased": 99.3,
    "cka_rbf_0.2": 80.6,
    "cka_rbf_0.4": 99.1,
    "cka_rbf_0.8": 99.3,
}
LABELS = {
    "cka": "linear CKA, unbiased",
    "cka_biased": "linear CKA, biased",
    "cka_rbf_0.2": "RBF CKA, biased, 0.2",
    "cka_rbf_0.4": "RBF CKA, biased, 0.4",
    "cka_rbf_0.8": "RBF CKA, biased, 0.8",
    "hsic": "linear HSIC, unbiased",
    "cca": "CCA, mean ρ",
    "cca_r2": "CCA, R²",
    "svcca": "SVCCA, mean ρ",
    "svcca_r2": "SVCCA, R²",
    "pwcca": "PWCCA",
    "procrustes": "Procrustes",
}
GROUPS = (  # computed apart: what fails or comes too late takes none of the others along
    ("cka", "hsic"),
    ("cka_biased",),
    tuple(f"cka_rbf_{b:g}" for b in BANDWIDTHS),
    CANONICAL,
)
COMPARING = 0.3  # the share of --seconds that is left for comparing


@dataclass(frozen=True)
class Compared:
    """What was compared: the trained networks, their data, and how they came about."""

    plan: Plan
    data: Data
    trainings: Trainings


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    end = time.monotonic() + options.seconds if options.seconds else float("inf")
    if options.quick:
        options.seeds, options.epochs, options.width, options.pictures, options.samples = 2, 1, 2, 100, 60
    torch.set_num_threads(options.threads)
    plan = _plan(options)
    if options.only_train is not None:
        plain_trainings.train_in_turn(plan, plain_trainings.load(plan), options.only_train)
        return 0
    compared = _compared(options, plan)
    torch.backends.cudnn.allow_tf32 = False  # what is compared is float32's
    for network in compared.trainings.networks:
        network.to(options.device)
    results = RESULTS if options.results is None else options.results
    failed = False
    for group in GROUPS:
        for features in reversed(options.features) if group == CANONICAL else options.features:  # the longest last
            if time.monotonic() > end:
                print(f"{features} {', '.join(group)}: out of time", flush=True)
                failed = True
                continue
            failed |= not _match(options, compared, features, group, results)
    if results == RESULTS:
        page.main()
    return int(failed)


def rows(options: argparse.Namespace, compared: Compared, matching: LayerMatching) -> list[dict[str, str]]:
    """Return a row for every similarity."""
    origin = provenance(options.device)
    spread = sorted(100 * float(accuracy) for accuracy in compared.trainings.accuracies)
    return [
        {
            "data": compared.plan.name,
            "features": matching.features,
            "width": str(compared.plan.width),
            "similarity": LABELS[name],
            "value": f"{100 * matches.accuracy.value:.1f}",
            "low": f"{100 * matches.accuracy.low:.1f}",
            "high": f"{100 * matches.accuracy.high:.1f}",
            "trials": str(matches.trials),
            "ties": str(matches.tied),
            "chance": f"{100 * matching.chance:.1f}",
            "published": str(PUBLISHED.get(name, "")) if matching.features == "flatten" else "",
            "on_average": f"{sum(matches.on_average)} of {len(matches.on_average)}",
            "by_layer": " ".join(f"{found}" for found in matches.found),
            "networks": str(matching.networks),
            "layers": str(len(matching.layers)),
            "samples": str(matching.samples),
            "trained_on": str(len(compared.data.labels("train"))),
            "epochs": str(compared.trainings.epochs),
            "how": compared.trainings.how,
            "test_accuracy": f"{spread[0]:.1f} to {spread[-1]:.1f}",
            **origin,
        }
        for name, matches in matching.matches.items()
    ]


def _match(
    options: argparse.Namespace, compared: Compared, features: str, group: tuple[str, ...], results: Path
) -> bool:
    """Compare by one group of similarities, write its rows, and say whether it came to an end."""
    networks, data = compared.trainings.networks, compared.data
    layers = networks[0].layers
    if features == "pool":
        layers = layers[:-1]  # the pooled features are the last block's channel means
    wide = features == "flatten" and group == CANONICAL and options.wide_samples is not None
    samples = options.wide_samples if wide else options.samples
    if samples is not None:
        data = data.subset(len(data.labels("train")), test=samples)
    try:
        with _timed(f"{features} {', '.join(group)}"):
            matching = match_layers(networks, data, layers=layers, features=features, measures=group)  # type: ignore[arg-type]  # argparse checked it
    except (RuntimeError, ValueError, MemoryError):
        traceback.print_exc()
        return False
    append_rows("layer_matching", rows(options, compared, matching), results)
    for note in matching.notes:
        print(f"{features}: {note}")
    for name, matches in matching.matches.items():
        print(f"{features:8} {LABELS[name]:24} {matches.accuracy}, {matches.tied} ties of {matches.trials}", flush=True)
    return True


def _compared(options: argparse.Namespace, plan: Plan) -> Compared:
    """Train the networks, or read those that were trained."""
    if options.from_weights:
        data = plain_trainings.load(plan)
        trainings, width = plain_trainings.unarchived(options.from_weights, data)
        return Compared(Plan(plan.pictures, plan.name, width, plan.out), data, trainings)
    seeds = list(range(options.seeds))
    start = time.monotonic()
    if options.seconds:
        with _timed("decoding"):
            plan = plain_trainings.decoded(plan)
        left = (1 - COMPARING) * options.seconds - (time.monotonic() - start)
        with _timed("training"):
            plan, seeds = plain_trainings.train_side_by_side(plan, seeds, options.processes, left)
    data = plain_trainings.load(plan)
    with _timed("reading the networks" if options.seconds else "training"):
        trainings = plain_trainings.train_in_turn(plan, data, seeds)
    if options.weights is not None:
        for path in plain_trainings.archive(trainings, seeds, plan, options.weights):
            print(f"weights: {path}, {path.stat().st_size / 2**20:.1f} MiB", flush=True)
    return Compared(plan, data, trainings)


def _plan(options: argparse.Namespace) -> Plan:
    changes = {"batch_size": options.batch, "lr": options.lr}
    return Plan(
        pictures=options.data,
        name=str(options.name or Path(options.data).stem),
        width=options.width,
        out=options.out,
        limit=options.pictures,
        epochs=options.epochs,
        device=options.device,
        precision=options.precision,
        changes={name: value for name, value in changes.items() if value is not None},
    )


@contextmanager
def _timed(what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - start:.1f} s", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layer_matching", description=__doc__.split("\n\n")[1])
    parser.add_argument("--data", default="digits", help="digits, an .npz file, or a folder or zip file of pictures")
    parser.add_argument("--name", help="what rows call the data; its file's name by default")
    parser.add_argument("--pictures", type=int, help="training pictures; all by default")
    parser.add_argument("--seeds", type=int, default=10, help="networks")
    parser.add_argument("--only-train", type=int, nargs="+", metavar="SEED", help="train these, such as beside others")
    parser.add_argument("--epochs", type=int, help="of each training, with --seconds the most; else the recipe's")
    parser.add_argument("--width", type=int, default=16, help="channels of the first convolutions")
    parser.add_argument("--batch", type=int, help="pictures a step; the recipe's by default")
    parser.add_argument("--lr", type=float, help="the highest learning rate; the recipe's by default")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="to train and compare on")
    parser.add_argument("--precision", default="32-true", help="of the training: 32-true, bf16-mixed or 16-mixed")
    parser.add_argument("--seconds", type=float, help="for everything: trains side by side, what epochs fit")
    parser.add_argument("--processes", type=int, default=5, help="that train side by side, given --seconds")
    parser.add_argument("--threads", type=int, default=1, help="of the comparison; one repeats to the bit anywhere")
    parser.add_argument("--samples", type=int, help="held-out pictures to compare on; all by default")
    parser.add_argument("--wide-samples", type=int, help="of them, for canonical correlations of all activations")
    parser.add_argument("--features", nargs="+", choices=["flatten", "pool"], default=["flatten", "pool"])
    parser.add_argument("--out", type=Path, default=Path("outputs/layer_matching"), help="where trainings are kept")
    parser.add_argument("--weights", type=Path, help="folder for files of all networks' weights")
    parser.add_argument("--from-weights", type=Path, nargs="+", help="compare the networks of such files; no training")
    parser.add_argument("--results", type=Path, help="folder for the rows, instead of benchmarks/results")
    parser.add_argument("--quick", action="store_true", help="rehearse with tiny networks; give --results too")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
