"""From what a user types to networks and data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyscale.models import Network, Scaling
    from pyscale.train import Data

STORE_SUFFIXES = (".zarr", ".npy", ".npz", ".safetensors", ".h5", ".hdf5", ".hdf", ".he5")
FACTORS = ("depth", "width", "resolution")
MODEL_HELP = (
    "A name (cifar_resnet20), scaled if you like (cifar_resnet20:depth=2,width=1.5,resolution=1.2), with a checkpoint "
    "if there is one (resnet18:weights=resnet18.pth), or the folder of a training."
)
DATA_HELP = (
    "'digits', a folder or zip file of pictures (train/<class>/*.jpg), an .npz file (x_train, y_train, ...), or a data "
    "set of Hugging Face: the folder of save_to_disk, or hf:PATH,image=COLUMN,label=COLUMN,config=NAME."
)
HUB_MARK = "hf:"


def open_model(
    text: str,
    *,
    weights: Path | None = None,
    num_classes: int | None = None,
    in_channels: int = 3,
    image_size: int | None = None,
    seed: int = 0,
    channels_from_data: bool = True,
) -> Network:
    """The network that a user means.

    Args:
        text: The folder of a training, or a name: ``NAME[:depth=D,width=W,resolution=R,weights=PATH]``.
        weights: A checkpoint for a named network; None is the name's own, or fresh weights.
        num_classes: Of a named network.
        in_channels: Of a named network.
        image_size: Of a named network before scaling.
        seed: Of fresh weights.
        channels_from_data: Whether pictures decide ``in_channels``, rather than an option: errors say which to change.

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
    name, _, options = text.partition(":")
    factors, own = _split_weights(options)
    if own is not None and weights is not None:
        raise ValueError(f"weights: {text} names {own} already, got {weights}")
    weights = own if weights is None else weights
    scaling = parse_factors(factors)
    shape: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    if weights is None:
        return build_seeded(name, seed, scaling=scaling, **shape)
    try:
        return build(name, scaling=scaling, weights=weights, **shape)
    except ValueError as error:
        raise ValueError(_in_options(str(error), in_channels, channels_from_data)) from error


def _in_options(message: str, in_channels: int, channels_from_data: bool) -> str:
    """An error about a checkpoint, its advice for arguments turned into advice for options."""
    message = re.sub(r"pass num_classes=(\d+)", r"pass --num-classes \1", message)
    if not channels_from_data:
        return re.sub(r"pass in_channels=(\d+)", r"pass --in-channels \1", message)
    return re.sub(
        r"pass in_channels=(\d+)",
        rf"the checkpoint is for pictures of \1 channels, and these have {in_channels}; give others with --data",
        message,
    )


def _split_weights(options: str) -> tuple[str, Path | None]:
    """Options of a name without ``weights=PATH``, and the path, which may hold everything but a comma."""
    parts = options.split(",")
    paths = [part.partition("=")[2] for part in parts if part.startswith("weights=")]
    if len(paths) > 1 or "" in paths:
        raise ValueError(f"weights: expected the path of one checkpoint, got {options!r}")
    rest = ",".join(part for part in parts if not part.startswith("weights="))
    return rest, Path(paths[0]).expanduser() if paths else None


def is_store(text: str) -> bool:
    """Whether a user means a store of activations rather than a network."""
    from pyscale.studies.trained_networks import is_trained

    path = Path(text)
    if "://" in text or path.suffix.lower() in STORE_SUFFIXES or (path / "zarr.json").is_file():
        return True
    return path.is_dir() and not is_trained(text) and any(next(path.glob(p), None) for p in ("*.npy", "*/*.npy"))


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


def parse_scaling(
    depth: float | None,
    width: float | None,
    resolution: float | None,
    phi: str | None,
    *,
    max_resolution: float | None = None,
) -> Scaling:
    """The scaling that options ask for: three factors, or one or three exponents of compound scaling, with a limit.

    Raises:
        ValueError: If both are given, or an exponent is no number, or the limit is given without exponents.
    """
    from pyscale.models import Scaling, compound

    if phi is None:
        if max_resolution is not None:
            raise ValueError("max_resolution: it limits compound scaling; give --phi")
        return Scaling(*(1.0 if factor is None else factor for factor in (depth, width, resolution)))
    if (depth, width, resolution) != (None, None, None):
        raise ValueError("phi: give either --phi or --depth, --width and --resolution, not both")
    exponents = [_number("phi", part) for part in phi.split(",")]
    return compound(exponents[0] if len(exponents) == 1 else exponents, max_resolution=max_resolution)


def open_data(text: str, *, channels: int | None = None) -> Data:
    """The data that a user means.

    Args:
        text: ``digits``, a folder or zip file of pictures, an ``.npz`` file, or a data set of Hugging Face.
        channels: Of the pictures; None is 1 for digits, 3 for picture files, and the file's own for arrays.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is no data set, or has other channels.
    """
    from pyscale.train import digits, from_hugging_face, from_npz, image_folder
    from pyscale.train.saved_datasets import is_saved_dataset

    if text == "digits":
        return digits(channels=channels or 1)
    if text.startswith(HUB_MARK):
        return _hub_data(text.removeprefix(HUB_MARK), channels)
    path = Path(text)
    if not path.exists():
        raise FileNotFoundError(f"data: expected 'digits', a folder, a zip or an .npz file; there is no {text}")
    if is_saved_dataset(path):
        return from_hugging_face(path, channels=channels or 3)
    if path.suffix != ".npz":
        return image_folder(path, channels=channels or 3)
    data = from_npz(path)
    if channels is not None and channels != data.channels:
        raise ValueError(f"channels: {text} has {data.channels}, got {channels}")
    return data


def _hub_data(text: str, channels: int | None) -> Data:
    """``PATH,image=COLUMN,label=COLUMN,config=NAME`` as data."""
    from pyscale.train import from_hugging_face

    path, *options = text.split(",")
    given = dict(option.partition("=")[::2] for option in options)
    unknown = sorted(set(given) - {"image", "label", "config"})
    if unknown or not path:
        raise ValueError(f"data: expected hf:PATH with image=, label= and config=, got {HUB_MARK}{text}")
    return from_hugging_face(path, channels=channels or 3, **given)  # type: ignore[arg-type]


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}: expected a number, got {text!r}") from None
