"""Study results with numbers of our choosing, so that what is said about them is known beforehand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from pyscale.comparison import Comparison
from pyscale.models import Profile
from pyscale.studies import StudyResult
from pyscale.studies.networks import Member
from pyscale.studies.similarity import Similarity
from pyscale.studies.study import Variant
from pyscale.train import Accuracy

LAYERS = ["stem", "block.0.out", "block.1.out", "head"]


BASELINE_LATENCY = 1e-3


def member(name, right, macs=100, parameters=10, latency=BASELINE_LATENCY):
    right = np.asarray(right, dtype=bool)
    trained = SimpleNamespace(accuracy=Accuracy(int(right.sum()), len(right)))
    cost = Profile(parameters, macs, activations=1, bytes=1, latency=latency, image_size=8)
    network, share = SimpleNamespace(image_size=8), latency / BASELINE_LATENCY
    return Member(Variant(name), 0, network, trained, right, cost, latency_share=share)


def similarity(diagonal, *, metric="cka", stderr=0.01, chance=0.0, zscore=50.0, off=0.1):
    """Of two networks with LAYERS, with these values between corresponding layers."""
    n = len(LAYERS)
    values = np.full((n, n), off)
    np.fill_diagonal(values, diagonal)
    arrays = [np.full((n, n), number, dtype=float) for number in (stderr, chance, zscore)]
    comparison = Comparison(values, LAYERS, LAYERS, *arrays, None, {"metric": metric})
    return Similarity(metric, comparison, np.arange(n), np.arange(n))


def result(members, similarities, *, twins=1, metrics=("cka",)):
    study = SimpleNamespace(twin_seeds=tuple(range(1, 1 + twins)), metrics=metrics)
    return StudyResult(study, tuple(members), similarities, {}, Path("nowhere"))
