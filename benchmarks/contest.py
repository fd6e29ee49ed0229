"""A whole comparison, as each contender does it: what is timed, and how much memory a fresh process takes for it.

python -m benchmarks.contest '{"contender": "pyscale", "models": ["resnet18", "resnet34"], "batch": 256, "pixels": 112}'
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

import pyscale as ps
from benchmarks.plain import unbiased_centred
from benchmarks.rivals import module

LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
ROOT = Path(__file__).resolve().parents[1]


class Contest(NamedTuple):
    """Two models on one batch."""

    models: list[nn.Module]
    batch: Tensor

    @classmethod
    def of(cls, names: list[str], batch: int, pixels: int) -> Contest:
        """Return models with fresh weights on noise: nobody's time depends on either."""
        torch.manual_seed(0)
        return cls([ps.models.build(name).eval() for name in names], torch.randn(batch, 3, pixels, pixels))

    def layers(self) -> str:
        """Return how many layers are compared, as "41 × 73"."""
        return " × ".join(str(len(selected(model))) for model in self.models)


Contender = Callable[[Contest], Tensor | None]


def pyscale(contest: Contest) -> Tensor:
    found = ps.compare(*contest.models, [contest.batch], layers=list(LAYERS), progress=False)
    return torch.from_numpy(found.values)


def forwards(contest: Contest) -> None:
    """What any comparison contains."""
    with torch.inference_mode():
        for model in contest.models:
            model(contest.batch)


def kept_activations(contest: Contest) -> Tensor:
    """Minibatch CKA as one would write it: keep copies of all activations, a Gram a layer, all pairs in one product."""
    kept = [outputs(model, contest.batch, lambda out: out.clone().flatten(1)) for model in contest.models]
    return ratios(*(torch.stack([unbiased_centred(x @ x.T) for x in side]) for side in kept))


def in_float64(contest: Contest) -> Tensor:
    """The truth: Grams of the same activations in float64."""
    return ratios(*(torch.stack(outputs(model, contest.batch, gram_in_float64)) for model in contest.models))


def pytorch_cka(contest: Contest) -> Tensor:
    package = module("pytorch-cka")
    assert package is not None
    x, y = (list(selected(model)) for model in contest.models)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own
        return package.compute_cka(
            *contest.models, [[contest.batch]], layers=x, model2_layers=y, device="cpu", progress=False
        )[0]


CONTENDERS: dict[str, Contender] = {
    "pyscale": pyscale,
    "forward passes": forwards,
    "pytorch-cka compute_cka": pytorch_cka,
    "torch, activations kept": kept_activations,
}


def installed(contender: str) -> bool:
    return contender != "pytorch-cka compute_cka" or module("pytorch-cka") is not None


def selected(model: nn.Module) -> dict[str, nn.Module]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, LAYERS)}


def outputs(model: nn.Module, batch: Tensor, take: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Return what ``take`` makes of every selected layer's output, at the moment it is there."""
    taken: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out: taken.append(take(out))) for layer in selected(model).values()
    ]
    with torch.inference_mode():
        model(batch)
    for hook in hooks:
        hook.remove()
    return taken


def gram_in_float64(activation: Tensor) -> Tensor:
    K = torch.zeros((len(activation), len(activation)), dtype=torch.float64)
    for part in activation.flatten(1).split(1 << 16, dim=1):
        wide = part.double()
        wide -= wide.mean(dim=0)
        K.addmm_(wide, wide.T)
    return unbiased_centred(K)


def ratios(v: Tensor, w: Tensor) -> Tensor:
    v, w = v.flatten(1).double(), w.flatten(1).double()
    return v @ w.T / (v.norm(dim=1)[:, None] * w.norm(dim=1)[None, :])


def largest_difference(values: Tensor, truth: Tensor) -> float:
    return float((values.double() - truth).abs().max())


def peak_bytes(contender: str, names: list[str], batch: int, pixels: int) -> int:
    """Return by how much a fresh process grows for one call, beyond the models and the batch."""
    case = {"contender": contender, "models": names, "batch": batch, "pixels": pixels}
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.contest", json.dumps(case)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(found.stdout)


def _main() -> None:
    case = json.loads(sys.argv[1])
    contest = Contest.of(case["models"], case["batch"], case["pixels"])
    call = CONTENDERS[case["contender"]]
    call(Contest.of(["cifar_resnet8"] * 2, 8, 32))  # imports, pools of threads
    before = _memory("VmRSS")
    call(contest)
    print(max(0, _memory("VmHWM") - before))


def _memory(entry: str) -> int:
    """Return the bytes this program holds, "VmRSS", or ever held, "VmHWM".

    ``getrusage`` would tell of the process it was started from, too.
    """
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith(entry)).split()[1])


if __name__ == "__main__":
    _main()
