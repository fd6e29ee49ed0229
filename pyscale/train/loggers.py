"""Lightning's loggers, by name or as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from pyscale.train.dependencies import import_train_dependency

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

LoggerName = Literal["csv", "tensorboard"]
Loggers: TypeAlias = "LoggerName | Logger | Sequence[LoggerName | Logger] | None"


def check_loggers(logger: object, out: object) -> None:
    """Check names before anything is trained.

    Args:
        logger: As for :func:`as_loggers`.
        out: The run's folder, or None.

    Raises:
        TypeError: If something is neither a name nor a logger of Lightning.
        ValueError: If a name is unknown, or has no folder to write into.
        ImportError: If what a name stands for is not installed.
    """
    for each in _several(logger):
        if isinstance(each, str):
            if each not in get_args(LoggerName):
                raise ValueError(f"logger must be one of {get_args(LoggerName)} or a logger of Lightning, got {each!r}")
            if out is None:
                raise ValueError(f"logger: {each!r} writes into the run's folder; give out, or a logger of Lightning")
            if each == "tensorboard":
                import_train_dependency("tensorboard", "tensorboard")
        elif not isinstance(each, import_train_dependency("lightning.pytorch.loggers").Logger):
            raise TypeError(
                f"logger must be {' or '.join(map(repr, get_args(LoggerName)))}, a logger of Lightning, several of "
                f"these, or None, got {each!r}"
            )


def as_loggers(logger: Loggers, folder: Path) -> list[Logger]:
    """Loggers as Lightning takes them.

    Args:
        logger: Checked: ``"csv"`` writes ``logs/csv/version_0/metrics.csv`` (a run that is taken up the next version),
            ``"tensorboard"`` event files in ``logs/tensorboard``.
        folder: Of the run.

    Returns:
        One each; empty for None.
    """
    loggers = import_train_dependency("lightning.pytorch.loggers")
    made: list[Any] = []
    for each in _several(logger):
        if each == "csv":
            made.append(loggers.CSVLogger(folder, name="logs/csv"))
        elif each == "tensorboard":
            made.append(loggers.TensorBoardLogger(folder, name="logs/tensorboard", version=""))
        else:
            made.append(each)
    return made


def _several(logger: object) -> Sequence[object]:
    if logger is None:
        return ()
    return logger if isinstance(logger, Sequence) and not isinstance(logger, str) else (logger,)
