"""What a network was built from: enough, with its state dict, to build it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral
from typing import Any

from pyscale.models.scaling import Scaling


@dataclass(frozen=True)
class Recipe:
    """The arguments of :func:`pyscale.models.build` that made a network, carried by it as ``model.recipe``.

    Args:
        name: a name that :func:`pyscale.models.build` knows.
        scaling: the factors applied to the named network.
        num_classes: number of outputs, at least 1.
        in_channels: channels of the input image, at least 1.
        image_size: side of the input image in pixels *before* scaling, at least 1.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a count is below 1.

    Example:
        >>> recipe = Recipe("cifar_resnet20", Scaling(width=2), num_classes=10, in_channels=3, image_size=32)
        >>> Recipe.from_dict(recipe.to_dict()) == recipe
        True
    """

    name: str
    scaling: Scaling
    num_classes: int
    in_channels: int
    image_size: int

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name: expected a string, got {type(self.name).__name__}")
        if not isinstance(self.scaling, Scaling):
            raise TypeError(f"scaling: expected a Scaling or None, got {self.scaling!r}")
        for argument in ("num_classes", "in_channels", "image_size"):
            object.__setattr__(self, argument, as_count(argument, getattr(self, argument)))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, fit for JSON or a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Inverse of :meth:`to_dict`."""
        known = {field.name for field in fields(cls)}
        if set(data) != known:
            raise ValueError(f"recipe: expected the entries {sorted(known)}, got {sorted(data)}")
        return cls(**{**data, "scaling": Scaling(**data["scaling"])})


def as_count(argument: str, value: object) -> int:
    """Return a whole number, NumPy's too, as Python's; raise unless it is one of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{argument}: expected an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{argument}: expected at least 1, got {value}")
    return int(value)
