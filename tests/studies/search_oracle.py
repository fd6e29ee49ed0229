"""Searches planned and filed as ever, whose trainings are a law of our choosing, so that the truth is known."""

from __future__ import annotations

import numpy as np

from pyscale.studies import search
from pyscale.studies.coefficients.training import CandidateTrainer, Run
from pyscale.train import Accuracy, digits

SEED_SPREAD = 0.01  # standard deviation of a network's true accuracy from seed to seed
SHORT, LONG = 18, 180  # epochs of three candidates from six seeds: one and ten each


def searched(monkeypatch, family, budget, truth, out, **options):
    """A search whose networks answer rightly as often as ``truth(family, bases, epochs)`` says, give or take a seed."""

    def run(trainer, candidate, rung, seed):
        drawn = np.random.default_rng([seed, rung.epochs, candidate.macs, len(family)])
        accuracy = truth(family, candidate.bases, rung.epochs) + SEED_SPREAD * drawn.standard_normal()
        answers = Run(seed, rung.epochs, drawn.random(len(trainer.data.labels("test"))) < accuracy, 1.0)
        record = trainer.folder / candidate.name / f"seed{seed}-epochs{rung.epochs}.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(answers.to_json())
        return answers

    monkeypatch.setattr(CandidateTrainer, "run", run)
    monkeypatch.setattr(CandidateTrainer, "tested", lambda *_: Accuracy(300, 359))
    return search(family, digits(), budget=budget, seeds=range(6), image_size=8, step=0.2, out=out, **options)


def wide_first_then_deep(family, bases, epochs):
    """What learns fast is wide, what ends high is deep; in the deeper family it is resolution that pays."""
    if family == "cifar_resnet14":
        return 0.6 + 0.5 * (bases.resolution - 1)
    return 0.6 + (0.5 * (bases.width - 1) if epochs < 5 else 0.25 * (bases.depth - 1))


def always_wide(family, bases, epochs):
    """Width pays most, in whatever family and however long."""
    return {"cifar_resnet8": 0.5, "cifar_resnet14": 0.6}[family] + 0.01 * epochs + 0.5 * (bases.width - 1)


def all_alike(family, bases, epochs):
    """No base pays: whatever wins, wins by luck."""
    return 0.6
