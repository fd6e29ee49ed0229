"""A search small enough for every test run; also a script that runs it."""

from __future__ import annotations

import sys

from pyscale.studies import search
from pyscale.train import digits


def few():
    return digits().subset(100, test=60)


def miniature_search(out=None, **changes):
    options = {
        "image_size": 4,
        "budget": 24,
        "strategy": "halving",
        "seeds": (0, 1),
        "cost_tolerance": 0.1,
        "schedule": "constant",
        "warmup": 0.0,
        "lr": 0.05,
        "reduction": 2,
        "threads": 1,
        "device": "cpu",
        "progress": False,
        "data": few(),
    }
    options.update(changes)
    return search("cifar_resnet8", options.pop("data"), out=out, **options)


if __name__ == "__main__":
    miniature_search(sys.argv[1])
