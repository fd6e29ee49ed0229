"""Results on disk: one ``.npz`` of plain arrays and a JSON header, written whole or not at all, never unpickled."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np

from pyscale.comparison.scores import Matrix

REQUIRED = ("values", "stderr", "chance", "zscores")
ARRAYS = (*REQUIRED, "pvalues")
_FORMAT = "pyscale comparison"
_VERSION = 1
_MAGIC = b"PK"  # that zip files begin with
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    NotImplementedError,
    RuntimeError,  # a member that seems to be encrypted
)


def save(path: str | PathLike[str], arrays: dict[str, Matrix], header: dict[str, Any]) -> None:
    """Write arrays and a JSON header.

    Args:
        path: The file; an existing one is replaced once the new one is complete.
        arrays: Arrays by name, of ``ARRAYS``.
        header: What else there is, as JSON types.
    """
    write(path, _FORMAT, _VERSION, arrays, header)


def load(path: str | PathLike[str]) -> tuple[dict[str, Matrix], dict[str, Any]]:
    """Read what :func:`save` wrote.

    Returns:
        The arrays by name and the header, whose ``rows``, ``columns`` and ``meta`` have been checked.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or something else, or of a later version.
    """
    arrays, header = read(path, _FORMAT, _VERSION)
    arrays = {name: array for name, array in arrays.items() if name in ARRAYS}
    try:
        check_comparison(arrays, header)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    return arrays, header


def write(
    path: str | PathLike[str], kind: str, version: int, arrays: Mapping[str, Matrix], header: Mapping[str, Any]
) -> None:
    """Write arrays and a JSON header that says what they are, whole or not at all.

    Args:
        path: The file; an existing one is replaced.
        kind: What :func:`read` will ask for.
        version: Of the format.
        arrays: By name.
        header: What else there is, as JSON types.
    """
    text = json.dumps({"format": kind, "version": version, "arrays": list(arrays), **header})
    with replacing(path) as file:
        np.savez_compressed(file, header=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)  # type: ignore[arg-type]


def read(path: str | PathLike[str], kind: str, version: int) -> tuple[dict[str, Matrix], dict[str, Any]]:
    """Read what :func:`write` wrote: all arrays, and the header, of which format and version have been checked.

    Raises:
        TypeError: ``path`` is no path.
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or something else, or of another version.
    """
    path = _as_path(path)
    what = kind.removeprefix("pyscale ")
    with path.open("rb") as file:
        try:
            arrays, header = _read(file)
        except _DAMAGE as error:
            raise ValueError(f"{path} is damaged or no {what}: {error}") from error
    if header.get("format") != kind:
        raise ValueError(f"{path} is no {what}")
    if header.get("version") != version:
        raise ValueError(f"{path} has format version {header.get('version')}; this pyscale reads version {version}")
    return arrays, header


@contextmanager
def replacing(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` that takes its place if the block succeeds and vanishes if not.

    Raises:
        TypeError: ``path`` is no path.
        FileNotFoundError: Its folder does not exist.
    """
    path = _as_path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path is {str(path)!r}, but there is no folder {str(path.parent)!r}")
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _as_path(path: str | PathLike[str]) -> Path:
    if not isinstance(path, str | PathLike) or not Path(path).name:
        raise TypeError(f"path is {path!r}; expected that of a file")
    return Path(path)


def _read(file: IO[bytes]) -> tuple[dict[str, Matrix], dict[str, Any]]:
    if not file.read(len(_MAGIC)).startswith(_MAGIC):  # NumPy would advise to unpickle it
        raise ValueError("it is no .npz archive")
    file.seek(0)
    with np.load(file, allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it is a single array")
        header = json.loads(archive["header"].tobytes().decode())
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
        return {name: archive[name] for name in archive.files if name != "header"}, header


def check_comparison(arrays: Mapping[str, Matrix], header: Mapping[str, Any]) -> None:
    """Raise ValueError unless these are the arrays and the header of a comparison."""
    for kind in ("rows", "columns", "arrays"):
        names = header.get(kind)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{kind} are no list of names")
    if not isinstance(header.get("meta"), dict):
        raise ValueError("meta is no object")
    shape = len(header["rows"]), len(header["columns"])
    for name in [*REQUIRED, *header["arrays"]]:
        if name not in arrays:
            raise ValueError(f"{name} is missing")
    for name, array in arrays.items():
        if array.dtype != np.float64 or array.shape != shape:
            raise ValueError(f"{name} is {array.dtype} of shape {array.shape}; expected float64 of shape {shape}")
