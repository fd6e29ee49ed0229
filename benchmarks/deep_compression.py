"""python -m benchmarks.deep_compression: the stages of deep compression on a network, with several seeds.

Trainings are kept under --out and taken up again where they were stopped. Rows of the networks go to
results/deep_compression.csv, rows of their layers to results/deep_compression_layers.csv.

    python -m benchmarks.deep_compression lenet5 --data mnist.npz
    python -m benchmarks.deep_compression lenet5 --data mnist.npz --held-out 10000 --amount 0.92 --out /tmp/less
    python -m benchmarks.deep_compression cifar_resnet20 --data cifar10.zip --weights resnet20.th --seeds 0
    python -m benchmarks.deep_compression lenet_300_100 --quick --results /tmp/x                    rehearses every line

With --held-out every accuracy is that of training pictures held out for it, and the test pictures are not touched: that
is how a plan is chosen. A plan that is tried wants a folder of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import page
from benchmarks.provenance import RESULTS, append_rows, provenance
from pyscale.compress import Schedule, TensorReport, load
from pyscale.studies import PLANS, CompressionPlan, DeeplyCompressed, compress_deeply
from pyscale.train import Accuracy, Data, digits, from_npz, image_folder

# Han, Mao and Dally 2016, tables 1 to 3: times smaller once pruned, shared, coded, with 32-bit weights before.
PUBLISHED = {"lenet_300_100": "12 / 32 / 40", "lenet5": "12 / 33 / 39"}
_STORED = ("bytes_pruned", "bytes_shared", "bytes_coded")


def main(arguments: list[str]) -> int:
    """Compress from every seed and write rows."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)  # results then don't depend on how many cores there are
    data, plan = _data(options), _plan(options)
    results = RESULTS if options.results is None else options.results
    out = options.out / _name(options) / options.network
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
    tuning, taught = done.plan.tuning, done.plan.distillation is not None
    return {
        "network": options.network,
        "data": _name(options),
        "pictures": "test" if options.held_out is None else "held-out training",
        "pruned": _pruned(done),
        "tuning": f"{done.plan.schedule.steps} × {tuning.epochs} at {tuning.lr:g}{', taught' * taught}",
        "shifts": f"{round(tuning.crop * data.image_size)} px" if tuning.crop else "none",
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
    """Yield a row for every convolution and linear layer, and one for all biases and norms together."""
    dense = {name: tensor.ndim > 1 for name, tensor in load(done.stages[-1].path).state_dict.items()}
    case = {"network": options.network, "data": _name(options), "seed": str(done.seed)}
    rest = []
    for tensors in zip(*(stage.report.tensors for stage in done.stages[1:]), strict=True):
        if dense[tensors[-1].name]:
            yield {**case, "layer": tensors[-1].name.removesuffix(".weight"), **_figures(*tensors)}
        else:
            rest.append((tensors[-1].weights, *(tensor.bytes_stored for tensor in tensors)))
    sums = dict(zip(("weights", *_STORED), (str(sum(column)) for column in zip(*rest, strict=True)), strict=True))
    yield {**case, "layer": "biases and norms", **dict.fromkeys(_figures(*tensors), ""), **sums}


def _figures(pruned: TensorReport, shared: TensorReport, coded: TensorReport) -> dict[str, str]:
    return {
        "weights": str(coded.weights),
        "kept": f"{100 * coded.kept_share:.1f} %",
        "weight_bits": str(shared.weight_bits),
        "weight_bits_coded": f"{coded.weight_bits_stored:.1f}",
        "index_bits": str(shared.index_bits or ""),
        "index_bits_coded": f"{coded.index_bits_stored:.1f}" if coded.index_bits else "",
        **dict(zip(_STORED, (str(stage.bytes_stored) for stage in (pruned, shared, coded)), strict=True)),
        "size": f"{100 * coded.size_share:.2f} %",
    }


def _pruned(done: DeeplyCompressed) -> str:
    """Return the share of the weights that is gone, biases and norms aside."""
    weights = [tensor for tensor in load(done.stages[1].path).state_dict.values() if tensor.ndim > 1]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return f"{100 * zeros / sum(weight.numel() for weight in weights):.1f} %"


def _accuracy(accuracy: Accuracy) -> str:
    return f"{100 * accuracy.value:.2f} ({100 * accuracy.low:.2f} to {100 * accuracy.high:.2f})"


def _plan(options: argparse.Namespace) -> CompressionPlan:
    plan = PLANS[options.network]
    if options.amount is not None:
        plan = replace(plan, amount=json.loads(options.amount))
    if options.tuning:
        changes = (change.split("=", 1) for change in options.tuning)
        plan = replace(plan, tuning=plan.tuning.but(**{name: json.loads(value) for name, value in changes}))
    if options.quick:
        short = {name: getattr(plan, name).but(epochs=1) for name in ("training", "tuning", "sharing")}
        plan = replace(plan, schedule=Schedule("cubic", 1), **short)
    return plan


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
    parser.add_argument("--amount", help="share of the weights to prune, or JSON by layer, instead of the plan's")
    parser.add_argument("--tuning", nargs="+", metavar="FIELD=VALUE", help="changes to the recipe of fine-tuning")
    parser.add_argument("--out", type=Path, default=Path("outputs/deep_compression"), help="where trainings are kept")
    parser.add_argument("--results", type=Path, help="folder for the rows, instead of benchmarks/results")
    parser.add_argument("--quick", action="store_true", help="rehearse with short trainings; give --results too")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
