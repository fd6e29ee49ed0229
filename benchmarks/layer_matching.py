"""python -m benchmarks.layer_matching: the sanity check of Kornblith et al. 2019, section 6.1 and table 2.

Networks of one architecture are trained from several seeds; for every layer of one, each similarity names the most
similar layer of another: how often is it the corresponding one? Trainings are kept under --out and taken up again where
they were stopped. Rows go to results/layer_matching.csv.

    python -m benchmarks.layer_matching                             the embedded digits
    python -m benchmarks.layer_matching --data cifar10.zip          pictures as folders, or a zip file of them
    python -m benchmarks.layer_matching --quick --results /tmp/x    rehearses every line
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import page
from benchmarks.provenance import RESULTS, append_rows, provenance
from pyscale.studies.matching.counting import LayerMatching, match_layers
from pyscale.studies.matching.plain_network import PlainNetwork
from pyscale.train import Accuracy, Data, digits, fit, image_folder

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
DIGITS_SIZE = 16  # the network halves its pictures twice and then takes two pixels off


@dataclass(frozen=True)
class Trainings:
    """The networks, and how well each classifies the held-out pictures."""

    networks: list[PlainNetwork]
    accuracies: list[Accuracy]
    epochs: int


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.quick:
        options.seeds, options.epochs, options.width, options.pictures, options.samples = 2, 1, 2, 100, 60
    torch.set_num_threads(1)  # results then don't depend on how many cores there are
    data = _data(options)
    if options.only_train is not None:
        _train(options, data, options.only_train)
        return 0
    trainings = _train(options, data, range(options.seeds))
    compared = data if options.samples is None else data.subset(len(data.train), test=options.samples)
    results = RESULTS if options.results is None else options.results
    for features in options.features:
        layers = trainings.networks[0].layers
        if features == "pool":
            layers = layers[:-1]  # the pooled features are the last block's channel means
        matching = match_layers(trainings.networks, compared, layers=layers, features=features)
        append_rows("layer_matching", rows(options, data, trainings, matching), results)
        for note in matching.notes:
            print(f"{features}: {note}")
        for name, matches in matching.matches.items():
            print(f"{features:8} {LABELS[name]:24} {matches.accuracy}, {matches.tied} ties of {matches.trials}")
    if results == RESULTS:
        page.main()
    return 0


def rows(
    options: argparse.Namespace, data: Data, trainings: Trainings, matching: LayerMatching
) -> list[dict[str, str]]:
    """Return a row for every similarity."""
    origin = provenance()
    spread = sorted(100 * float(accuracy) for accuracy in trainings.accuracies)
    return [
        {
            "data": _name(options),
            "features": matching.features,
            "width": str(options.width),
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
            "trained_on": str(len(data.train)),
            "epochs": str(trainings.epochs),
            "test_accuracy": f"{spread[0]:.1f} to {spread[-1]:.1f}",
            **origin,
        }
        for name, matches in matching.matches.items()
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layer_matching", description=__doc__.split("\n\n")[1])
    parser.add_argument("--data", default="digits", help="digits, or a folder or zip file of pictures")
    parser.add_argument("--name", help="what rows call the data; its file's name by default")
    parser.add_argument("--pictures", type=int, help="training pictures; all by default")
    parser.add_argument("--seeds", type=int, default=10, help="networks")
    parser.add_argument("--only-train", type=int, nargs="+", metavar="SEED", help="train these, such as beside others")
    parser.add_argument("--epochs", type=int, help="of each training; the recipe's by default")
    parser.add_argument("--width", type=int, default=16, help="channels of the first convolutions")
    parser.add_argument("--samples", type=int, help="held-out pictures to compare on; all by default")
    parser.add_argument("--features", nargs="+", choices=["flatten", "pool"], default=["flatten", "pool"])
    parser.add_argument("--out", type=Path, default=Path("outputs/layer_matching"), help="where trainings are kept")
    parser.add_argument("--results", type=Path, help="folder for the rows, instead of benchmarks/results")
    parser.add_argument("--quick", action="store_true", help="rehearse with tiny networks; give --results too")
    return parser


def _name(options: argparse.Namespace) -> str:
    return str(options.name or Path(options.data).stem)


def _data(options: argparse.Namespace) -> Data:
    data = digits(DIGITS_SIZE) if options.data == "digits" else image_folder(options.data)
    return data if options.pictures is None else data.subset(options.pictures)


def _train(options: argparse.Namespace, data: Data, seeds: Iterable[int]) -> Trainings:
    networks, accuracies, epochs = [], [], 0
    for seed in seeds:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = PlainNetwork(
                width=options.width,
                in_channels=data.channels,
                num_classes=data.num_classes,
                image_size=data.image_size,
            )
        out = options.out / f"{_name(options)}-width{options.width}-{len(data.train)}" / f"seed{seed}"
        trained = fit(network, data, epochs=options.epochs, seed=seed, out=out, device="cpu", threads=1, progress=False)
        print(f"seed {seed}: {trained.accuracy}", flush=True)
        networks.append(network)
        accuracies.append(trained.accuracy)
        epochs = trained.recipe.epochs
    return Trainings(networks, accuracies, epochs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
