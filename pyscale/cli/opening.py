"""From what a user types to networks and data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyscale.models import Network, Scaling
    from pyscale.train import Data

FACTORS = ("depth", "width", "resolution")
MODEL_HELP = (
    "A name (cifar_resnet20), scaled if you like (cifar_resnet20:depth=2,width=1.5,resolution=1.2), "
    "or the folder of a training."
)
DATA_HELP = "'digits', a folder or zip file of pictures (train/<class>/*.jpg), or an .npz file (x_train, y_train, ...)."


def open_model(
    text: str,
    *,
    weights: Path | None = None,
    num_classes: int | None = None,
    in_channels: int = 3,
    image_size: int | None = None,
    seed: int = 0,
) -> Network:
    """The network that a user means.

    Args:
        text: The folder of a training, or a name with factors: ``NAME[:depth=D,width=W,resolution=R]``.
        weights: A checkpoint for a named network; None is fresh weights.
        num_classes: Of a named network.
        in_channels: Of a named network.
        image_size: Of a named network before scaling.
        seed: Of fresh weights.

    Raises:
        ValueError: If a factor is malformed, the name unknown, or weights are given for a folder.
        FileNotFoundError: If the folder's training is not finished, or there is no such file.
    """
    from pyscale.models import build
    from pyscale.studies.trained_networks import build_seeded, is_trained, open_trained

    if is_trained(text):
        if weights is not None:
            raise ValueError(f"weights: {text} is the folder of a training, which has its own")
        return open_trained(text)
    if Path(text).is_dir():
        raise FileNotFoundError(f"model: {text} is a folder that holds no training (no model.json)")
    name, _, factors = text.partition(":")
    scaling = parse_factors(factors)
    if weights is not None:
        return build(
            name,
            scaling=scaling,
            num_classes=num_classes,
            in_channels=in_channels,
            image_size=image_size,
            weights=weights,
        )
    return build_seeded(
        name, seed, scaling=scaling, num_classes=num_classes, in_channels=in_channels, image_size=image_size
    )


def parse_factors(text: str) -> Scaling:
    """``depth=2,width=1.5`` as a Scaling; factors that are not named are 1.

    Raises:
        ValueError: If something is no factor, or no number.
    """
    from pyscale.models import Scaling

    factors: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in FACTORS:
            raise ValueError(
                f"scaling: expected factors such as depth=2,width=1.5 (of {', '.join(FACTORS)}), got {part!r}"
            )
        factors[name] = _number(name, value)
    return Scaling(**factors)


def parse_scaling(depth: float | None, width: float | None, resolution: float | None, phi: str | None) -> Scaling:
    """The scaling that options ask for: three factors, or one or three exponents of compound scaling.

    Raises:
        ValueError: If both are given, or an exponent is no number.
    """
    from pyscale.models import Scaling, compound

    if phi is None:
        return Scaling(*(1.0 if factor is None else factor for factor in (depth, width, resolution)))
    if (depth, width, resolution) != (None, None, None):
        raise ValueError("phi: give either --phi or --depth, --width and --resolution, not both")
    exponents = [_number("phi", part) for part in phi.split(",")]
    return compound(exponents[0] if len(exponents) == 1 else exponents)


def open_data(text: str, *, channels: int | None = None) -> Data:
    """The data that a user means.

    Args:
        text: ``digits``, a folder or zip file of pictures, or an ``.npz`` file.
        channels: Of the pictures; None is 1 for digits, 3 for picture files, and the file's own for arrays.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is no data set, or has other channels.
    """
    from pyscale.train import digits, from_npz, image_folder

    if text == "digits":
        return digits(channels=channels or 1)
    path = Path(text)
    if not path.exists():
        raise FileNotFoundError(f"data: expected 'digits', a folder, a zip or an .npz file; there is no {text}")
    if path.suffix != ".npz":
        return image_folder(path, channels=channels or 3)
    data = from_npz(path)
    if channels is not None and channels != data.channels:
        raise ValueError(f"channels: {text} has {data.channels}, got {channels}")
    return data


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}: expected a number, got {text!r}") from None
