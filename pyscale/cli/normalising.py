"""Pictures normalised as a network's own training had them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyscale.train import Data

MEAN_HELP = "Of every channel on the scale 0..1, as a checkpoint was trained: 0.485,0.456,0.406; the data's own."
STD_HELP = "Likewise: 0.229,0.224,0.225."


def normalised(data: Data, mean: str | None, std: str | None) -> Data:
    """The data with the mean and standard deviation that options give.

    Raises:
        ValueError: If something is no number, or there is not one a channel.
    """
    if mean is None and std is None:
        return data
    return data.normalised_by(
        data.mean if mean is None else _numbers("mean", mean), data.std if std is None else _numbers("std", std)
    )


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{name}: expected numbers such as 0.5,0.5,0.5, got {text!r}") from None
