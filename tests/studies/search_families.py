"""Two families searched with two budgets each, on the digits; also a script that goes on where it was stopped."""

from __future__ import annotations

import sys
from pathlib import Path

from pyscale.models import Scaling
from pyscale.studies import compare_searches, search
from pyscale.train import digits

FAMILIES = {
    "cifar_resnet8": {"image_size": 8},
    "mobilenet_v2": {"image_size": 32, "baseline": Scaling(width=0.25), "lr": 0.03},
}
BUDGETS = {"short": 18, "long": 90}  # epochs of all candidates and seeds together
LABELS = [f"{family}-{length}" for family in FAMILIES for length in BUDGETS]


def search_one(label, out):
    family, _, length = label.partition("-")
    return search(
        family,
        digits(),
        budget=BUDGETS[length],
        out=Path(out) / label,
        threads=1,
        device="cpu",
        progress=False,
        **FAMILIES[family],
    )


def search_all(out):
    return compare_searches({label: search_one(label, out) for label in LABELS})


def as_text(compared):
    parts = [
        f"{label}\n{result.to_pandas().dropna(subset='rank').to_string()}\n{result}\n"
        for label, result in compared.results.items()
    ]
    return "\n".join([*parts, compared.to_pandas().to_string(), "", str(compared), ""])


if __name__ == "__main__":
    sys.stdout.write(as_text(search_all(sys.argv[1])))
