"""Which names :func:`pyscale.models.build` knows, and the architecture behind each."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace

from pyscale.models.architecture import Architecture
from pyscale.models.cifar_resnet import cifar_architecture
from pyscale.models.efficientnet import EFFICIENTNETS
from pyscale.models.lenet import LENETS
from pyscale.models.mobilenet_v1 import MOBILENETS_V1
from pyscale.models.mobilenet_v2 import MOBILENETS_V2
from pyscale.models.mobilenet_v3 import MOBILENETS_V3
from pyscale.models.recipe import as_count
from pyscale.models.resnet import RESNETS
from pyscale.models.resnet_rs import RESNETS_RS
from pyscale.models.tinynet import TINYNETS

_CIFAR_DEPTHS = (8, 14, 20, 32, 44, 56, 110)
_CIFAR_NAME = re.compile(r"cifar_resnet(\d+)")

_ARCHITECTURES: dict[str, Architecture] = {
    **RESNETS,
    **RESNETS_RS,
    **{f"cifar_resnet{depth}": cifar_architecture(depth) for depth in _CIFAR_DEPTHS},
    **MOBILENETS_V1,
    **MOBILENETS_V2,
    **MOBILENETS_V3,
    **EFFICIENTNETS,
    **dict(reversed(TINYNETS.items())),
    **LENETS,
}


def names() -> list[str]:
    """Names that :func:`pyscale.models.build` knows, smallest of each family first.

    Returns:
        The names. Besides these, ``cifar_resnet<d>`` builds any depth d = 6n + 2.

    Example:
        >>> names()[:3]
        ['resnet18', 'resnet34', 'resnet50']
    """
    return list(_ARCHITECTURES)


def fitted(name: str, *, num_classes: int | None, in_channels: int, image_size: int | None) -> Architecture:
    """The unscaled architecture behind a name, for the user's classes and images; None is as published.

    Raises:
        TypeError: ``name`` is not a string, or a count not an integer.
        ValueError: ``name`` is unknown, or a count below 1.
    """
    base = lookup(name)
    counts = {
        "num_classes": base.num_classes if num_classes is None else num_classes,
        "in_channels": in_channels,
        "image_size": base.image_size if image_size is None else image_size,
    }
    return replace(base, **{argument: as_count(argument, count) for argument, count in counts.items()})


def lookup(name: str) -> Architecture:
    """The unscaled architecture behind a name.

    Raises:
        TypeError: ``name`` is not a string.
        ValueError: ``name`` is unknown; the message lists the known ones and near matches.
    """
    if not isinstance(name, str):
        raise TypeError(f"name: expected a string, got {type(name).__name__}")
    if name in _ARCHITECTURES:
        return _ARCHITECTURES[name]
    if match := _CIFAR_NAME.fullmatch(name):
        return cifar_architecture(int(match[1]))
    near = difflib.get_close_matches(name.lower(), _ARCHITECTURES, n=3)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(
        f"name: unknown model {name!r}.{hint} Known: {', '.join(_ARCHITECTURES)}; cifar_resnet<d> for any d = 6n + 2"
    )
