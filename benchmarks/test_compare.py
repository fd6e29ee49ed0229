"""A whole comparison of two large networks beside the forward passes it contains, in time and in memory.

Errors are the largest difference of a similarity from that of float64 Grams.
"""

from __future__ import annotations

import sys
from functools import partial

import pytest

from benchmarks.contest import CONTENDERS, Contest, in_float64, installed, largest_difference, peak_bytes
from benchmarks.sizes import choose

MODELS = choose(["resnet18", "resnet34"], ["cifar_resnet8", "cifar_resnet14"])
BATCH, PIXELS = choose((256, 112), (8, 16))
ALLOWED = 1e-4


@pytest.mark.parametrize("batch", choose([256, 32], [8]))
def test_compare(beside, batch):
    contest = Contest.of(MODELS, batch, PIXELS)
    calls = {name: partial(contender, contest) if installed(name) else None for name, contender in CONTENDERS.items()}
    truth = in_float64(contest)
    found = {name: call() for name, call in calls.items() if call is not None}
    errors = {name: largest_difference(values, truth) for name, values in found.items() if values is not None}
    assert errors["pyscale"] < ALLOWED
    weighed = choose(list(found), ["pyscale"]) if sys.platform == "linux" else []
    figures = {name: {"peak_gib": f"{peak_bytes(name, MODELS, batch, PIXELS) / 2**30:.2f}"} for name in weighed}
    beside(
        "compare",
        {"op": "compare", "models": " vs ".join(MODELS), "layers": contest.layers()}
        | {"batch": batch, "batches": 1, "pixels": PIXELS},
        calls.pop("pyscale"),
        calls,
        rounds=choose(3, 1),
        errors=errors,
        figures=figures,
    )
