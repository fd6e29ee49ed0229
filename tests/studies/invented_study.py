"""A whole study result that nobody trained: of any size in an instant, with names that break careless pages."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from torch import nn

from pyscale.comparison import Comparison
from pyscale.models import Profile, Scaling
from pyscale.studies import Study, StudyResult, Variant
from pyscale.studies.networks import Member
from pyscale.studies.similarity import Similarity
from pyscale.train import Accuracy, digits

TITLE = 'Wider & <deeper> "nets"</title><script>document.title = "owned"</script>'
NASTY = "layer2.</script><img src=x onerror=alert(1)>"  # a layer's name: torch forbids only dots in them
NOTE = "<b>bold</b> & </script>"
COSTS = {"parameters": 70_000, "macs": 2_000_000, "activations": 30_000, "bytes": 280_000, "latency": 2e-3}
PICTURES = 180


class History:
    """What the page reads of a training's history."""

    columns = ("epoch", "train_loss")

    def __init__(self, losses):
        self.losses = losses

    def __len__(self):
        return len(self.losses)

    def column(self, name):
        return self.losses if name == "train_loss" else list(range(1, len(self) + 1))


def layer_names(count):
    names = [f"layer{1 + 3 * i // count}.{i}.relu" for i in range(count)]
    names[count // 2] = NASTY
    return names


def invented_member(variant, place, seed=0):
    rng = np.random.default_rng(place)
    right = rng.random(PICTURES) < 0.9 - 0.02 * place
    network = nn.Sequential(nn.Conv2d(1, 8 + place, 3), nn.Linear(8, 10))
    network.image_size = 8
    recipe = SimpleNamespace(epochs=3, to_dict=lambda: {"epochs": 3, "optimizer": "sgd"})
    losses = [2.0 / (epoch + 1) + 0.1 * place for epoch in range(3)]
    accuracy = Accuracy(int(right.sum()), PICTURES)
    trained = SimpleNamespace(accuracy=accuracy, recipe=recipe, history=History(losses), seconds=4.0, resumed_at=0)
    # every cost has an order of its own, so that sorting by the wrong column shows
    factors = [1 + ((place * stride) % 11) / 10 for stride in (3, 5, 7, 2, 4)]
    values = {name: value * factor for (name, value), factor in zip(COSTS.items(), factors, strict=True)}
    costs = {name: value if name == "latency" else round(value) for name, value in values.items()}
    cost = Profile(**costs, image_size=8)
    return Member(variant, seed, network, trained, right, cost, latency_share=factors[-1])


def invented_similarity(metric, layers, place):
    rng = np.random.default_rng(place)
    i = np.arange(layers)
    values = np.exp(-(((i[:, None] - i[None, :]) / (0.15 * layers)) ** 2)) * (0.95 - 0.03 * place)
    values = values + 0.02 * rng.standard_normal(values.shape)
    names = layer_names(layers)
    cka = metric == "cka"
    stderr = np.full_like(values, np.nan) if not cka else 0.01 + 0.001 * rng.random(values.shape)
    chance = np.zeros_like(values) if cka else 0.1 + 0.1 * rng.random(values.shape)
    meta = {"metric": metric, "samples": PICTURES, "batches": 4, "mode": "minibatch"}
    meta |= {"kernel": "linear", "estimator": "unbiased", "features": "flatten"}
    comparison = Comparison(values, names, names, stderr, chance, 60 * values, None, meta)
    return Similarity(metric, comparison, i[:: max(1, layers // 10)], i, ("few <samples>",) if place == 1 else ())


def invented_study(networks=4, layers=12, out="nowhere", *, twins=1):
    """A baseline, its twins and so many variants, each compared with it layer by layer in two ways."""
    variants = tuple(
        Variant(f"v{i}-{['wide', 'deep', 'fine'][i % 3]}", Scaling(width=1 + 0.1 * i), NOTE) for i in range(networks)
    )
    data = digits().subset(60, test=PICTURES)
    seeds = tuple(range(1, 1 + twins))
    study = Study(title=TITLE, family="cifar_resnet8", data=data, variants=variants, image_size=8, twin_seeds=seeds)
    members = tuple(invented_member(variant, place) for place, variant in enumerate(study.members))
    similarities = {
        member.name: {metric: invented_similarity(metric, layers, place) for metric in study.metrics}
        for place, member in enumerate(members)
        if place
    }
    provenance = {
        "date": "2026-01-01T00:00:00+00:00",
        "machine": {"processor": "a <processor>", "cores": 2, "instruction_set": "avx2", "system": "Linux"},
        "software": {"python": "3.11", "pyscale": "0.1.0", "torch": "2.13"},
        "threads": 1,
        "seconds": {"training": 240.0, "comparing": 8.0, "timing": 1.0},
        "taken_up": [],
    }
    return StudyResult(study, members, similarities, provenance, Path(out))
