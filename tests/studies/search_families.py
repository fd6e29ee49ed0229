"""The searches of docs/studies.md, "Searches side by side"; also a script that goes on where it was stopped."""

from __future__ import annotations

import sys
from pathlib import Path

from pyscale.models import Scaling
from pyscale.studies import compare_searches, search
from pyscale.train import digits

HALF_AS_WIDE = Scaling(width=0.5)
EVERY_SEARCH = {"baseline": HALF_AS_WIDE, "growth": 4, "step": 1, "held_out": 0.5}
SMALL = {"family": "cifar_resnet8", "seeds": range(10), "cost_tolerance": 0.15}
LARGE = {"image_size": 32, "seeds": range(8), "budget": 192}
BUDGETS = {  # epochs of three candidates from ten seeds together: 3 each, or 16; two minutes of one core
    "short": {**SMALL, "image_size": 4, "budget": 90},
    "long": {**SMALL, "image_size": 4, "budget": 480},
}
FAMILIES = {  # of two candidates from eight seeds: 12 each; a quarter of an hour
    "resnet": {**LARGE, "family": "cifar_resnet8"},
    "mobilenet": {**LARGE, "family": "mobilenet_v1"},
}
QUIET = {"threads": 1, "device": "cpu", "progress": False}


def search_all(searches, out):
    """Search on the digits, each in a folder of its label."""
    results = {}
    for label, asked in searches.items():
        options = {**EVERY_SEARCH, **asked, **QUIET}
        results[label] = search(options.pop("family"), digits(), out=Path(out) / label, **options)
    return compare_searches(results)


def as_text(compared):
    parts = [
        f"{label}\n{result.to_pandas().dropna(subset='rank').to_string()}\n{result}\n"
        for label, result in compared.results.items()
    ]
    return "\n".join([*parts, compared.to_pandas().to_string(), "", str(compared), ""])


if __name__ == "__main__":
    for part in (BUDGETS, FAMILIES):
        sys.stdout.write(as_text(search_all(part, sys.argv[1])))
