"""Trainings that one process and several are to agree on; as a module, all of them on every rank of torchrun."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

import pyscale as ps
from pyscale.train import from_arrays, from_datasets


def data(train=50, val=7, test=3):
    """Return random pictures: fewer of a split than there are ranks, and none divisible by them."""
    rng = np.random.default_rng(0)
    arrays = [
        part
        for n in (train, test, val)
        for part in (rng.integers(0, 256, (n, 8, 8), dtype=np.uint8), np.arange(n, dtype=np.int64) % 3)
    ]
    return from_arrays(*arrays)


def as_datasets(pictures):
    """Return the same as datasets that are read picture by picture."""
    return from_datasets(
        *(
            [(image, int(label)) for image, label in zip(part.images, part.labels, strict=True)]
            for part in (pictures.train, pictures.test)
        )
    )


def network(rank=0, norm=False):
    with torch.random.fork_rng():
        torch.manual_seed(rank)  # rank 0's first weights are to count
        layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4) if norm else nn.Identity(), nn.ReLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(144, 3))


RECIPE = {"epochs": 2, "batch_size": 16, "lr": 0.05, "crop": 0.125, "flip": True, "clip": 1.0}
TRAININGS = {
    "pictures": lambda rank, out: fit(network(rank), data(), out=out),
    "fewer pictures than ranks": lambda rank, out: fit(network(rank), data(), batch_size=3, out=out),
    "picture by picture": lambda rank, out: fit(network(rank), as_datasets(data()), batch_size=3, out=out),
    "batch normalisation": lambda rank, out: fit(network(rank, norm=True), data(), out=out),
}


def fit(model, pictures, **changes):
    return ps.train.fit(model, pictures, progress=False, device="cpu", **{**RECIPE, **changes})


def described(trained):
    """Return what a training gave, as plain values and tensors; the seconds it took differ between runs."""
    return {
        "weights": trained.model.state_dict(),
        "history": trained.history.rows,
        "accuracy": trained.accuracy.to_dict(),
        "resumed_at": trained.resumed_at,
    }


def main(folder):
    rank = int(os.environ["RANK"])
    found = {}
    for name, train in TRAININGS.items():
        out = Path(folder) / f"{name} of rank {rank}"  # only rank 0's may come to be
        found[name] = described(train(rank, out))
        found[f"{name} again"] = described(train(rank + 7, out))
        found[f"files of {name}"] = sorted(file.name for file in out.glob("*"))
    torch.save(found, f"{folder}/{rank}.pt")


class Deadly(nn.Sequential):
    """A network that kills its process in the second epoch."""

    def forward(self, x):
        if self.training and torch.is_grad_enabled():
            self.steps = getattr(self, "steps", 0) + 1
            if self.steps == 6 and os.environ["RANK"] == "1":
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)


def interrupted(out, deadly):
    """Train with a network that may kill rank 1; say how it ends."""
    rank = int(os.environ["RANK"])
    model = Deadly(*network(rank)) if deadly == "deadly" else nn.Sequential(*network(rank))
    model.__class__.__name__ = "Sequential"  # the run knows its network's type by name
    try:
        trained = fit(model, data(), epochs=3, out=out)
    except ps.distributed.PeerError as error:
        sys.stdout.write(f"failed {error}\n")
        return
    torch.save(described(trained), f"{out}.{rank}.pt")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1]) if len(sys.argv) == 2 else interrupted(*sys.argv[1:])
