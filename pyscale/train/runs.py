"""The folder of a run: what was asked, the checkpoint, and the result, so that a killed run can be taken up again."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyscale.train.accuracy import Accuracy
from pyscale.train.data import Data, listed_labels
from pyscale.train.pictures import PictureSet
from pyscale.train.results import History

FORMAT = 1  # of the folder; raised when an older one can no longer be taken up


class RunFolder:
    """The files of one run.

    ``config.json`` says what was asked for, ``checkpoint.ckpt`` is the state after the last whole epoch,
    ``history.csv`` the table so far. ``weights.pt`` (the final ``state_dict``) and ``result.json`` appear when the run
    is finished, and the checkpoint goes, unless more epochs may follow. Every file is replaced whole.

    Args:
        path: The folder; made where it does not exist.
        config: What decides the outcome, as plain values.
        open_ended: Whether a run of fewer epochs is the beginning of this one, and this one that of a longer.
    """

    def __init__(self, path: Path, config: dict[str, Any], *, open_ended: bool = False) -> None:
        self.path = path
        self.config = config
        self.open_ended = open_ended
        self.checkpoint = path / "checkpoint.ckpt"
        self._config = path / "config.json"
        self._history = path / "history.csv"
        self._weights = path / "weights.pt"
        self._result = path / "result.json"

    def open(self, resume: bool) -> None:
        """Start the folder, or check that what is there may be taken up; half-written files of a killed run go.

        Raises:
            ValueError: If ``resume`` and the folder holds a run that was asked for otherwise and can't be gone on with.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        files = (self._result, self.checkpoint, self._weights, self._history, self._config)
        for file in files:
            for unfinished in self.path.glob(f".{file.name}.*"):  # of a run that was killed as it wrote
                unfinished.unlink(missing_ok=True)
        if not resume:
            for file in files:
                file.unlink(missing_ok=True)
        elif self._config.exists():
            self._take_up()
            return
        elif self.checkpoint.exists() or self._result.exists():
            raise ValueError(f"out: {self.path} holds a run without its config.json; pass resume=False to start anew")
        write_whole(self._config, json.dumps(self.config, indent=2) + "\n")

    @property
    def finished(self) -> bool:
        """Whether the run has its result."""
        return self._result.exists()

    def write_history(self, history: History) -> None:
        """Write the table so far."""
        write_whole(self._history, history.to_csv())

    def finish(self, model: nn.Module, history: History, accuracy: Accuracy) -> None:
        """Write weights, history and result, in this order, then drop a checkpoint that nothing can follow."""
        temporary = _temporary_beside(self._weights)
        torch.save(model.state_dict(), temporary)
        temporary.replace(self._weights)
        self.write_history(history)
        write_whole(self._result, json.dumps({"accuracy": accuracy.to_dict()}, indent=2) + "\n")
        if not self.open_ended:
            self.checkpoint.unlink(missing_ok=True)

    def load(self, model: nn.Module) -> tuple[History, Accuracy]:
        """Load a finished run: weights into ``model``, history and accuracy returned.

        Raises:
            ValueError: If a file of the run is missing or damaged.
        """
        try:
            model.load_state_dict(torch.load(self._weights, map_location="cpu", weights_only=True))
            history = History.from_csv(self._history.read_text())
            accuracy = Accuracy.from_dict(json.loads(self._result.read_text())["accuracy"])
        except Exception as error:  # torch.load alone raises half a dozen types on a damaged file
            raise ValueError(f"out: the finished run in {self.path} is damaged ({error}); pass resume=False") from error
        return history, accuracy

    def _take_up(self) -> None:
        """Accept the run that is there: the one asked for, or its beginning; refuse any other."""
        try:
            there = json.loads(self._config.read_text())
        except ValueError as error:
            raise ValueError(f"out: {self._config} is not JSON; pass resume=False to start anew") from error
        asked = json.loads(json.dumps(self.config))
        if self._begins(there, asked):
            self._result.unlink(missing_ok=True)  # before the config: never may fewer epochs pass for more
            write_whole(self._config, json.dumps(self.config, indent=2) + "\n")
            return
        differences = [
            f"{name} is {there.get(name)!r} there and {asked.get(name)!r} here"
            for name in sorted({*there, *asked})
            if there.get(name) != asked.get(name)
        ]
        if differences:
            raise ValueError(
                f"out: {self.path} holds another run: {'; '.join(differences)}. "
                "Choose another folder, or pass resume=False to start anew"
            )

    def _begins(self, there: dict[str, Any], asked: dict[str, Any]) -> bool:
        """Whether the run that is there is the beginning of the one asked for, with the state to go on from."""
        return (
            self.open_ended
            and self.checkpoint.exists()
            and _without_epochs(there) == _without_epochs(asked)
            and there.get("epochs", asked["epochs"]) < asked["epochs"]
        )


def _without_epochs(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "epochs"}


def run_config(model: nn.Module, data: Data, recipe: dict[str, Any], seed: int, precision: str) -> dict[str, Any]:
    """Everything that decides the outcome of a run but the first weights, which a checkpoint replaces."""
    return {
        "format": FORMAT,
        "seed": seed,
        "precision": precision,
        **recipe,
        "model": type(model).__name__,
        "architecture": _architecture_digest(model),
        "data": data.name,
        "image_size": data.image_size,
        "samples": data_digest(data),
    }


def write_whole(path: Path, text: str) -> None:
    """Write a text file under a temporary name in its folder and rename it into place."""
    temporary = _temporary_beside(path)
    temporary.write_text(text)
    temporary.replace(path)


def _temporary_beside(path: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    return Path(name)


def _architecture_digest(model: nn.Module) -> str:
    lines = [f"{name} {tuple(tensor.shape)} {tensor.dtype}" for name, tensor in model.state_dict().items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def data_digest(data: Data) -> str:
    """16 hexadecimal digits that change with the pictures or labels of training and validation.

    Of datasets that decode their pictures as they go, type, length and listed labels count, not the pictures.
    """
    digest = hashlib.sha256()
    for dataset in (data.train, data.val):
        if isinstance(dataset, PictureSet):
            digest.update(_bytes(dataset.images))
            digest.update(_bytes(dataset.labels))
        elif dataset is not None:
            labels = listed_labels(dataset)
            size = len(dataset)  # type: ignore[arg-type]  # map-style: checked where Data is built
            digest.update(f"{type(dataset).__name__} {size}".encode() + (b"" if labels is None else labels.tobytes()))
    return digest.hexdigest()[:16]


def weights_digest(network: nn.Module) -> str:
    """A short name for exactly these weights."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(_bytes(tensor.detach().cpu().flatten()))
    return digest.hexdigest()[:16]


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().view(torch.uint8).numpy().data
