"""Two families, and two budgets of the one, searched on the digits; also a script that goes on where it was stopped."""

from __future__ import annotations

import sys
from pathlib import Path

from pyscale.studies import compare_searches, search
from pyscale.train import digits

SEEDS = range(6)
SEARCHES = {  # epochs of four candidates from six seeds together: one each, or five
    "resnet8-24": ("cifar_resnet8", 24),
    "resnet8-120": ("cifar_resnet8", 120),
    "resnet14-24": ("cifar_resnet14", 24),
}


def search_one(label, out):
    family, budget = SEARCHES[label]
    return search(
        family,
        digits(),
        budget=budget,
        seeds=SEEDS,
        image_size=8,
        out=Path(out) / label,
        threads=1,
        device="cpu",
        progress=False,
    )


def search_all(out):
    return compare_searches({label: search_one(label, out) for label in SEARCHES})


def as_text(compared):
    parts = [
        f"{label}\n{result.to_pandas().dropna(subset='rank').to_string()}\n{result}\n"
        for label, result in compared.results.items()
    ]
    return "\n".join([*parts, compared.to_pandas().to_string(), "", str(compared), ""])


if __name__ == "__main__":
    sys.stdout.write(as_text(search_all(sys.argv[1])))
