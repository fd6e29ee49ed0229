"""What a run gives back: the trained model, its history as a table, its accuracy with an interval."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

from torch import nn

from pyscale.train.accuracy import Accuracy
from pyscale.train.recipes import Recipe

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, float]


class History(Sequence[Row]):
    """One row an epoch: ``epoch`` (from 0), ``lr`` (at its end), ``train_loss``, ``train_accuracy``, ``seconds``.

    ``train_loss`` and ``train_accuracy`` are means over the epoch's (augmented) pictures while the weights move. With
    a validation split, ``val_loss`` and ``val_accuracy`` follow.

    Example:
        >>> history = History([{"epoch": 0, "train_loss": 2.0}, {"epoch": 1, "train_loss": 1.5}])
        >>> history.column("train_loss"), history[-1]["epoch"]
        ([2.0, 1.5], 1)
        >>> print(history.to_csv(), end="")
        epoch,train_loss
        0,2.0
        1,1.5
    """

    def __init__(self, rows: Sequence[Row] = ()) -> None:
        self.rows = list(rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: int | slice) -> Row | History:
        return History(self.rows[index]) if isinstance(index, slice) else self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __eq__(self, other: object) -> bool:
        return self.rows == other.rows if isinstance(other, History) else NotImplemented

    def __repr__(self) -> str:
        return f"History({len(self)} epochs: {', '.join(self.columns)})"

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self.rows[0]) if self.rows else []

    def column(self, name: str) -> list[float]:
        """One column as a list.

        Raises:
            KeyError: If there is no such column.
        """
        return [row[name] for row in self.rows]

    def to_pandas(self) -> pd.DataFrame:
        """A data frame with one row an epoch."""
        from pyscale.train.dependencies import import_train_dependency

        pandas = import_train_dependency("pandas")
        frame: pd.DataFrame = pandas.DataFrame(self.rows, columns=self.columns)
        return frame

    def to_csv(self) -> str:
        """The table as CSV text, numbers in full precision."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    @classmethod
    def from_csv(cls, text: str) -> History:
        """Undo :meth:`to_csv` exactly."""
        return cls(
            [
                {name: int(value) if name == "epoch" else float(value) for name, value in row.items()}
                for row in csv.DictReader(io.StringIO(text))
            ]
        )


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model and how it got there.

    Args:
        model: The model given to :func:`fit`, trained, in eval mode, on the device it came on.
        history: One row an epoch.
        accuracy: On the held-out test pictures, with its interval.
        recipe: What was done.
        seed: Of the run.
        out: The folder of the run, None where nothing was kept.
        resumed_at: The epoch the run was taken up at: 0 anew, ``recipe.epochs`` where a finished run was loaded.
    """

    model: nn.Module
    history: History
    accuracy: Accuracy
    recipe: Recipe
    seed: int
    out: Path | None
    resumed_at: int = 0

    @property
    def seconds(self) -> float:
        """Time spent in training epochs, those before an interruption included."""
        return sum(self.history.column("seconds"))

    def __repr__(self) -> str:
        return (
            f"Trained({type(self.model).__name__}, accuracy={self.accuracy}, epochs={self.recipe.epochs}, "
            f"seed={self.seed}, out={str(self.out) if self.out else None!r})"
        )
