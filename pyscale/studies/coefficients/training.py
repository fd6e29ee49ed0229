"""One candidate of a search trained from one seed, and which held-out pictures it then names rightly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyscale.comparison.files import replacing
from pyscale.models import Network
from pyscale.studies.coefficients.planning import SearchPlan
from pyscale.studies.coefficients.rungs import Rung
from pyscale.studies.coefficients.space import Candidate
from pyscale.studies.networks import right_answers
from pyscale.studies.trained_networks import build_seeded, keep_recipe
from pyscale.train import Accuracy, Data, DivergenceError, evaluate, fit
from pyscale.train.fitting import target_device


@dataclass(frozen=True, eq=False)
class Run:
    """A candidate from one seed at the end of one rung.

    Attributes:
        seed: Of first weights, data order and augmentation.
        epochs: Passes over the training pictures behind it.
        right: (n,) bool, which held-out pictures it names rightly; all False where it diverged.
        seconds: Spent in the epochs that the rung trained.
        diverged: Whether its loss became infinite or NaN, so that there is no network to measure.
    """

    seed: int
    epochs: int
    right: NDArray[np.bool_]
    seconds: float
    diverged: bool = False

    @property
    def accuracy(self) -> Accuracy | None:
        """Share of the held-out pictures, with the interval of these pictures; None where it diverged."""
        return None if self.diverged else Accuracy(int(self.right.sum()), len(self.right))

    def to_json(self) -> str:
        """As text; :meth:`from_json` undoes it."""
        values = {
            "seed": self.seed,
            "epochs": self.epochs,
            "pictures": len(self.right),
            "right": np.packbits(self.right).tobytes().hex(),
            "seconds": self.seconds,
            "diverged": self.diverged,
        }
        return json.dumps(values) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Undo :meth:`to_json`.

        Raises:
            ValueError: If the text is something else.
        """
        try:
            values = json.loads(text)
            packed = np.frombuffer(bytes.fromhex(values["right"]), dtype=np.uint8)
            right = np.unpackbits(packed, count=values["pictures"]).astype(np.bool_)
            return cls(values["seed"], values["epochs"], right, values["seconds"], values["diverged"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the record of a run: {error}") from error


def run_record(folder: Path, candidate: Candidate, seed: int, epochs: int) -> Path:
    """The file in the folder of all candidates that a finished run leaves."""
    return folder / candidate.name / f"seed{seed}-epochs{epochs}.json"


@dataclass(frozen=True)
class CandidateTrainer:
    """Trains candidates of a plan in folders of their own, or takes up what is there.

    A finished run leaves ``<candidate>/seed<s>-epochs<e>.json``, so that it is not trained again, nor loaded.

    Args:
        plan: What is searched.
        data: What is trained on, and as its test split ranked by.
        folder: Of all candidates.
        options: Of :func:`pyscale.train.fit`: device, threads, precision, workers, progress.
    """

    plan: SearchPlan
    data: Data
    folder: Path
    options: dict[str, Any]

    def run(self, candidate: Candidate, rung: Rung, seed: int) -> Run:
        """Train a candidate to the end of a rung.

        Raises:
            ValueError: If its folder holds something else.
        """
        record = run_record(self.folder, candidate, seed, rung.epochs)
        if record.is_file():
            try:
                return Run.from_json(record.read_text())
            except ValueError as error:
                raise ValueError(f"out: {record} is damaged ({error}); pass resume=False to start anew") from error
        run = self._train(candidate, rung, seed)
        record.parent.mkdir(parents=True, exist_ok=True)
        with replacing(record) as file:
            file.write(run.to_json().encode())
        return run

    def tested(self, candidate: Candidate, rung: Rung, seed: int, pictures: Data) -> Accuracy:
        """Accuracy of a finished run's network on the test pictures of other data.

        Raises:
            DivergenceError: If it diverged.
        """
        network, _ = self._fit(candidate, rung, seed)
        device = target_device(self.options["device"], self.options["precision"])
        return evaluate(network, pictures, split="test", device=device)

    def _train(self, candidate: Candidate, rung: Rung, seed: int) -> Run:
        try:
            network, seconds = self._fit(candidate, rung, seed)
        except DivergenceError:
            nothing = np.zeros(len(self.data.labels("test")), dtype=np.bool_)
            return Run(seed, rung.epochs, nothing, 0.0, diverged=True)
        network.to(target_device(self.options["device"], self.options["precision"]))
        return Run(seed, rung.epochs, right_answers(network, self.data), sum(seconds[rung.epochs - rung.trained :]))

    def _fit(self, candidate: Candidate, rung: Rung, seed: int) -> tuple[Network, list[float]]:
        space = self.plan.space
        network = build_seeded(
            space.family,
            seed,
            scaling=candidate.scaling,
            num_classes=space.num_classes,
            in_channels=space.in_channels,
            image_size=space.image_size,
        )
        name = f"seed{seed}" if self.plan.continues else f"seed{seed}-epochs{rung.epochs}"
        folder = self.folder / candidate.name / name
        trained = fit(
            network, self.data, epochs=rung.epochs, seed=seed, out=folder, recipe=self.plan.recipe, **self.options
        )
        keep_recipe(network, folder)
        return network, trained.history.column("seconds")
