"""Where a study's pictures come from, as data that a file can say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pyscale.train import Data, digits, from_hugging_face, from_npz, image_folder

Kind = Literal["digits", "folder", "npz", "hugging_face"]

_HUB_OPTIONS = ("image", "label", "config")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Pictures by name or path, opened when a study needs them.

    Args:
        kind: ``"digits"``: scikit-learn's, always there; ``"folder"``: a tree or zip of picture files, one folder a
            class (CIFAR-10 as pictures, ImageNet), as :func:`pyscale.train.image_folder` reads it; ``"npz"``: arrays
            (MNIST), as :func:`pyscale.train.from_npz` reads them; ``"hugging_face"``: a data set of the library
            ``datasets``, as :func:`pyscale.train.from_hugging_face` opens it.
        path: Of the folder, zip or ``.npz`` file, or a name on the hub; ``~`` is the home directory.
        image_size: Side to hold the pictures at; None is their own.
        channels: 1 or 3; None is 1 for digits and 3 for a folder or a data set of Hugging Face; arrays have their own.
        train: Training pictures to keep, stratified; None is all.
        test: Held-out pictures to keep; None is all.
        mean: Of every channel on the scale 0..1, for networks that were trained with it; None is the data's own.
        std: Likewise.
        image: The column of pictures of a data set of Hugging Face; None is ``"image"``.
        label: The column of classes; None is ``"label"``.
        config: The configuration, where there are several.

    Raises:
        ValueError: If the arguments do not go together.

    Example:
        >>> Source(train=200, test=100).open()
        Data('digits', train=200, test=100, num_classes=10, channels=1, image_size=8)
    """

    kind: Kind = "digits"
    path: str | None = None
    image_size: int | None = None
    channels: int | None = None
    train: int | None = None
    test: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    image: str | None = None
    label: str | None = None
    config: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {get_args(Kind)}, got {self.kind!r}")
        if (self.path is None) != (self.kind == "digits"):
            raise ValueError(f"path: {self.kind!r} " + ("has none" if self.kind == "digits" else "needs one"))
        if self.kind == "npz" and self.channels is not None:
            raise ValueError("channels: arrays have their own")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together: give both or none")
        for name in _HUB_OPTIONS:
            if self.kind != "hugging_face" and getattr(self, name) is not None:
                raise ValueError(f"{name}: only data sets of Hugging Face have one, not {self.kind!r}")

    def open(self) -> Data:
        """Read the pictures.

        Raises:
            FileNotFoundError: If there is nothing at the path.
            ValueError: If it holds no data set of this kind, or fewer pictures than asked for.
            ImportError: If the ``train`` extra is not installed.
        """
        path = Path(self.path or "").expanduser()
        if self.kind == "digits":
            data = digits(self.image_size, channels=self.channels or 1)
        elif self.kind == "folder":
            data = image_folder(path, self.image_size, channels=self.channels or 3)
        elif self.kind == "hugging_face":
            options: dict[str, Any] = {name: getattr(self, name) for name in _HUB_OPTIONS}
            given = {name: value for name, value in options.items() if value is not None}
            data = from_hugging_face(str(self.path), self.image_size, channels=self.channels or 3, **given)
        else:
            data = from_npz(path)
            data = data if self.image_size is None else data.resized(self.image_size)
        if self.mean is not None and self.std is not None:
            data = data.normalised_by(self.mean, self.std)
        if self.train is None and self.test is None:
            return data
        return data.subset(len(data.labels("train")) if self.train is None else self.train, test=self.test)

    def to_dict(self) -> dict[str, Any]:
        """What is not as by default, for a file."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
