"""python -m benchmarks.deep_compression: the stages of deep compression on a network, with several seeds.

Trainings are kept under --out and taken up again where they were stopped. Rows of the networks go to
results/deep_compression.csv, rows of their layers to results/deep_compression_layers.csv.

    python -m benchmarks.deep_compression lenet5 --data mnist.npz
    python -m benchmarks.deep_compression lenet5 --data mnist.npz --held-out 10000 --amount 0.92    tries another amount
    python -m benchmarks.deep_compression cifar_resnet20 --data cifar10.zip --weights resnet20.th --seeds 0
    python -m benchmarks.deep_compression lenet_300_100 --quick --results /tmp/x                    rehearses every line

With --held-out every accuracy is that of training pictures held out for it, and the test pictures are not touched: that
is how a plan is chosen.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import page
from benchmarks.provenance import RESULTS, append_rows, provenance
from pyscale.compress import Schedule, TensorReport
from pyscale.studies import PLANS, CompressionPlan, DeeplyCompressed, compress_deeply
from pyscale.train import Accuracy, Data, digits, from_npz, image_folder

# Han, Mao and Dally 2016, tables 1 to 3: times smaller once pruned, shared, coded, with 32-bit weights before.
PUBLISHED = {"lenet_300_100": "12 / 32 / 40", "lenet5": "12 / 33 / 39"}


def main(arguments: list[str]) -> int:
    """Compress from every seed and write rows."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)  # results then don't depend on how many cores there are
    data, plan = _data(options), _plan(options)
    results = RESULTS if options.results is None else options.results
    out = options.out / "-".join([_name(options), *_changes(options)]) / options.network
    done = [
        compress_deeply(
            plan,
            data,
            out / f"seed{seed}",
            seed=seed,
            weights=options.weights,
            progress=False,
            device="cpu",
            threads=1,
            on_step=lambda step, seed=seed: print(f"seed {seed}: {step.number}/{step.total} {step.title}", flush=True),
        )
        for seed in options.seeds
    ]
    origin = provenance()
    append_rows("deep_compression", [{**network_row(options, data, one), **origin} for one in done], results)
    if options.held_out is None:
        first = done[0]
        append_rows("deep_compression_layers", [{**row, **origin} for row in layer_rows(options, first)], results)
    for one in done:
        print(one, "", sep="\n")
    if results == RESULTS:
        page.main()
    return 0


def network_row(options: argparse.Namespace, data: Data, done: DeeplyCompressed) -> dict[str, str]:
    """Return a network's row; columns up to ``times_smaller`` tell the case."""
    trained, pruned, shared, coded = done.stages
    tuning = done.plan.tuning
    return {
        "network": options.network,
        "data": _name(options),
        "measured_on": "test" if options.held_out is None else "training, held out",
        "pruned": f"{100 * _share(done.plan):g} %",
        "tuning": f"{done.plan.schedule.steps} × {tuning.epochs}",
        "decay": f"{tuning.weight_decay:g}",
        "seed": str(done.seed),
        "times_smaller": f"{done.rate:.1f}",
        "after_pruning": f"{pruned.report.rate:.1f}",
        "after_sharing": f"{shared.report.rate:.1f}",
        "published": PUBLISHED.get(options.network, ""),
        "bytes_before": str(coded.report.bytes_before),
        "bytes_on_disk": str(coded.path.stat().st_size),
        "accuracy_before": _accuracy(trained.accuracy),
        "accuracy_pruned": f"{100 * pruned.accuracy.value:.2f}",
        "accuracy_after": _accuracy(coded.accuracy),
        "points_lost": f"{done.points_lost:.2f}",
        "trained_on": str(len(data.train)),
    }


def layer_rows(options: argparse.Namespace, done: DeeplyCompressed) -> Iterator[dict[str, str]]:
    """Yield a row for every layer with pruned or shared weights, in the order of the paper's columns, and the rest."""
    _, pruned, shared, coded = (stage.report for stage in done.stages)
    rest = [0, 0, 0, 0]
    for tensors in zip(pruned.tensors, shared.tensors, coded.tensors, strict=True):
        if "shared" in tensors[2].form:
            yield {**_layer(options, done.seed, tensors[2].name.removesuffix(".weight")), **_figures(*tensors)}
        else:
            sizes = (tensors[2].weights, *(tensor.bytes_stored for tensor in tensors))
            rest = [total + size for total, size in zip(rest, sizes, strict=True)]
    yield {
        **_layer(options, done.seed, "biases and norms"),
        **dict.fromkeys(("kept", "weight_bits", "weight_bits_coded", "index_bits", "index_bits_coded"), ""),
        "weights": str(rest[0]),
        **{f"bytes_{name}": str(size) for name, size in zip(("pruned", "shared", "coded"), rest[1:], strict=True)},
        "size": "",
    }


def _layer(options: argparse.Namespace, seed: int, name: str) -> dict[str, str]:
    return {"network": options.network, "data": _name(options), "seed": str(seed), "layer": name, "weights": ""}


def _figures(pruned: TensorReport, shared: TensorReport, coded: TensorReport) -> dict[str, str]:
    return {
        "weights": str(coded.weights),
        "kept": f"{100 * coded.kept_share:.1f} %",
        "weight_bits": str(shared.weight_bits),
        "weight_bits_coded": f"{coded.weight_bits_stored:.1f}",
        "index_bits": str(shared.index_bits or ""),
        "index_bits_coded": f"{coded.index_bits_stored:.1f}" if coded.index_bits else "",
        "bytes_pruned": str(pruned.bytes_stored),
        "bytes_shared": str(shared.bytes_stored),
        "bytes_coded": str(coded.bytes_stored),
        "size": f"{100 * coded.size_share:.2f} %",
    }


def _share(plan: CompressionPlan) -> float:
    assert isinstance(plan.amount, float)
    return plan.amount


def _accuracy(accuracy: Accuracy) -> str:
    return f"{100 * accuracy.value:.2f} ({100 * accuracy.low:.2f} to {100 * accuracy.high:.2f})"


def _plan(options: argparse.Namespace) -> CompressionPlan:
    plan = PLANS[options.network]
    if options.amount is not None:
        plan = replace(plan, amount=options.amount)
    if options.tuning_epochs is not None:
        plan = replace(plan, tuning=plan.tuning.but(epochs=options.tuning_epochs))
    if options.tuning_decay is not None:
        plan = replace(plan, tuning=plan.tuning.but(weight_decay=options.tuning_decay))
    if options.quick:
        plan = replace(
            plan, schedule=Schedule("cubic", 1), training=plan.training.but(epochs=1), tuning=plan.tuning.but(epochs=1)
        )
    return plan


def _changes(options: argparse.Namespace) -> Iterator[str]:
    """Yield what tells this measurement's folder from that of the plan as it is."""
    for name in ("held_out", "amount", "tuning_epochs", "tuning_decay"):
        if getattr(options, name) is not None:
            yield f"{name}={getattr(options, name):g}"


def _name(options: argparse.Namespace) -> str:
    return str(options.name or Path(options.data).stem)


def _data(options: argparse.Namespace) -> Data:
    if options.data == "digits":
        data = digits()
    elif Path(options.data).suffix == ".npz":
        data = from_npz(options.data)
    else:
        data = image_folder(options.data)
    if options.held_out is None:
        return data
    split = data.holding_out(options.held_out / len(data.train))
    assert split.val is not None
    return replace(split, test=split.val, val=None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deep_compression", description=__doc__.split("\n\n")[1])
    parser.add_argument("network", choices=sorted(PLANS))
    parser.add_argument("--data", default="digits", help="digits, an .npz file, or a folder or zip file of pictures")
    parser.add_argument("--name", help="what rows call the data; its file's name by default")
    parser.add_argument("--weights", help="a checkpoint that training goes on from")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="layers' rows are of the first")
    parser.add_argument("--held-out", type=int, metavar="N", help="measure on N training pictures held out for it")
    parser.add_argument("--amount", type=float, help="share of the weights to prune, instead of the plan's")
    parser.add_argument("--tuning-epochs", type=int, help="after each step of pruning, instead of the plan's")
    parser.add_argument("--tuning-decay", type=float, help="of the weights meanwhile, instead of the plan's")
    parser.add_argument("--out", type=Path, default=Path("outputs/deep_compression"), help="where trainings are kept")
    parser.add_argument("--results", type=Path, help="folder for the rows, instead of benchmarks/results")
    parser.add_argument("--quick", action="store_true", help="rehearse with short trainings; give --results too")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
