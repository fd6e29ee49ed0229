"""Data from a tree of picture files, one folder a class, on disk or inside a zip file."""

from __future__ import annotations

import zipfile
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from pyscale.train.data import Data, Size, as_size
from pyscale.train.decoding import MODES, data_of_decoded
from pyscale.train.dependencies import import_train_dependency
from pyscale.train.picture_files import PictureFiles, PictureSource
from pyscale.train.recipes import PICTURES, Recipe
from pyscale.train.splitting import stratified_split

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
SPLITS = ("train", "test", "val")


def image_folder(
    path: str | Path,
    image_size: Size | None = None,
    *,
    channels: int = 3,
    test_fraction: float = 0.2,
    seed: int = 0,
    memory: int = 2 * 2**30,
    recipe: Recipe | None = None,
) -> Data:
    """Read pictures from ``train/<class>/*.jpg`` and ``test/<class>/*.jpg``, or split ``<class>/*.jpg``.

    ``val/<class>/*.jpg`` is measured after every epoch where it is there. ``path`` may be a zip file, which is read
    as it is; either may wrap the tree in a single outer folder. Classes are the folders of ``train`` in sorted order.
    Passed over: hidden files, files whose names do not end like a picture's, and whatever lies outside class folders.

    Args:
        path: The folder or zip file.
        image_size: Side to resize to (antialiased bilinear), or (height, width). None is the pictures' own size, which
            must then be the same for all. Pictures held in memory are held at this size, and other resolutions are made
            from it; so choose the largest one that will be wanted.
        channels: 3 for colour, 1 for grey; files are converted.
        test_fraction: Share held out, stratified, where there is no ``test``.
        seed: Which pictures are held out.
        memory: Bytes the decoded pictures may take. Larger sets stay in their files and are decoded batch by batch.
        recipe: What :func:`fit` does unless told otherwise; None is :data:`PICTURES`.

    Returns:
        The data, normalised by the training pictures' mean and standard deviation per channel (of a seeded sample of
        them where they stay in their files).

    Raises:
        TypeError: If ``path`` is no path.
        FileNotFoundError: If there is no such folder or file.
        ValueError: If there are no pictures, a class folder is empty, a picture is damaged or of another size than the
            others, or ``test`` has a class that ``train`` has not. The message names the file or folder.
        ImportError: If Pillow is missing.
    """
    if not isinstance(path, str | PathLike):
        raise TypeError(f"path must be that of a folder or zip file, got {path!r}")
    if channels not in MODES:
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    import_train_dependency("PIL.Image")
    source = _open_source(Path(path))
    listed = _list_pictures(source)
    classes = sorted(listed["train"])
    splits = {split: _labelled(source, split, folders, classes) for split, folders in listed.items()}
    if "test" not in splits:
        names, labels = splits["train"]
        kept, held_out = stratified_split(labels, test_fraction, seed)
        splits["train"] = [names[i] for i in kept], labels[kept]
        splits["test"] = [names[i] for i in held_out], labels[held_out]
    size = as_size(image_size) if image_size is not None else None
    files = {
        split: PictureFiles(source, names, torch.from_numpy(labels), channels, size)
        for split, (names, labels) in splits.items()
    }
    return data_of_decoded(files, classes, memory=memory, recipe=recipe or PICTURES, name=source.path.stem)


def _open_source(path: Path) -> PictureSource:
    if path.is_dir():
        names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
    elif not path.is_file():
        raise FileNotFoundError(f"path: no such folder or zip file: {path}")
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    else:
        raise ValueError(f"path: {path} is neither a folder nor a zip file")
    pictures = tuple(sorted(name for name in names if _is_picture(PurePosixPath(name))))
    if not pictures:
        raise ValueError(f"path: no pictures in {path} (looked for {', '.join(sorted(EXTENSIONS))})")
    return PictureSource(path, pictures)


def _is_picture(name: PurePosixPath) -> bool:
    return name.suffix.lower() in EXTENSIONS and not any(part.startswith((".", "__MACOSX")) for part in name.parts)


def _list_pictures(source: PictureSource) -> dict[str, dict[str, list[str]]]:
    """Names by split and class; a tree without splits is all "train"."""
    parts = [PurePosixPath(name).parts for name in source.names]
    skip = 0  # outer folders that hold everything
    while len({name[skip] for name in parts}) == 1 and min(map(len, parts)) > skip + 2 and parts[0][skip] not in SPLITS:
        skip += 1
    has_splits = any(name[skip] == "train" and len(name) > skip + 2 for name in parts)
    listed: dict[str, dict[str, list[str]]] = {}
    for full, name in zip(source.names, parts, strict=True):
        split, below = (name[skip], name[skip + 1 :]) if has_splits else ("train", name[skip:])
        if split in SPLITS and len(below) >= 2:
            listed.setdefault(split, {}).setdefault(below[0], []).append(full)
    if "train" not in listed:
        raise ValueError(
            f"path: {source.path} must hold train/<class>/ and test/<class>/ folders, or <class>/ folders, of pictures"
        )
    if not source.zipped:
        root = source.path.joinpath(*parts[0][:skip])
        _check_no_empty_folder(root, listed if has_splits else {"": listed["train"]})
    return listed


def _check_no_empty_folder(root: Path, listed: dict[str, dict[str, list[str]]]) -> None:
    """Refuse class and split folders without pictures: more likely a mistake than meant."""
    for split in SPLITS:
        if "" not in listed and split not in listed and (root / split).is_dir():
            raise ValueError(f"path: the folder {root / split} holds no class folders with pictures")
    for split, classes in listed.items():
        for folder in sorted((root / split).iterdir()):
            if folder.is_dir() and not folder.name.startswith(".") and folder.name not in classes:
                raise ValueError(f"path: the class folder {folder} holds no pictures")


def _labelled(
    source: PictureSource, split: str, folders: dict[str, list[str]], classes: list[str]
) -> tuple[list[str], np.ndarray[Any, np.dtype[np.int64]]]:
    unknown = sorted(set(folders) - set(classes))
    if unknown:
        raise ValueError(f"path: {source.path} has {split} classes that train has not: {', '.join(unknown)}")
    names = [name for label in classes for name in folders.get(label, [])]
    labels = [index for index, label in enumerate(classes) for _ in folders.get(label, [])]
    return names, np.asarray(labels, dtype=np.int64)
