"""A study small enough for every test run, with all three kinds of scaling; also a script that runs it."""

from __future__ import annotations

import sys

from pyscale.models import Scaling
from pyscale.studies import Study, Variant, run
from pyscale.train import digits

TITLE = 'Wider & <deeper> "nets"'  # what a careless template would break on


def miniature_study(**changes):
    options = {
        "title": TITLE,
        "family": "cifar_resnet8",
        "image_size": 8,
        "data": digits().subset(120, test=180),
        "variants": (
            Variant("wider", Scaling(width=1.5), "1.5 times the channels"),
            Variant("deeper", Scaling(depth=2), "twice the blocks"),
            Variant("finer", Scaling(resolution=1.5), "1.5 times the resolution"),
        ),
        "epochs": 3,
        "key_layers": ("relu", "*.relu#1", "linear"),
        "batch_size": 45,
    }
    return Study(**{**options, **changes})


if __name__ == "__main__":
    run(miniature_study(), sys.argv[1], progress=False)
