"""Compressed models as files: written whole, read back bit for bit, trusted in nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any
from uuid import uuid4

from torch import Tensor, nn

from pyscale.compress.container import from_bytes, to_bytes
from pyscale.compress.encoding import decode, encode
from pyscale.compress.errors import CorruptFileError
from pyscale.compress.reports import Report, report_of
from pyscale.compress.reshaping import reshape


@dataclass(frozen=True, eq=False)
class Compressed:
    """What a ``.psz`` file holds.

    Attributes:
        state_dict: The tensors, on the CPU, the same bits as were saved.
        config: What was saved beside them: plain JSON values, None where nothing was.
        report: What each tensor takes in the file.
    """

    state_dict: dict[str, Tensor]
    config: Any
    report: Report

    def __repr__(self) -> str:
        return f"Compressed({len(self.state_dict)} tensors, {self.report.bytes_file} bytes, config={self.config!r})"


def save(
    model: nn.Module | Mapping[str, Tensor], path: str | PathLike[str], *, config: Any = None, huffman: bool = True
) -> Report:
    """Write a model's state dict to one small file; the third stage of deep compression.

    Nothing is lost: each tensor is stored in the shortest of four forms, found from its values alone. Where many are
    zero (:func:`pyscale.compress.prune`) only the others are stored, with the gaps between them; where at most 256
    distinct ones occur (:func:`pyscale.compress.share_weights`) they become codes and a codebook; both streams are
    Huffman-coded. Other tensors are deflated, which takes off a few per cent.

    Args:
        model: A module, or a state dict. Masks and parametrizations should be permanent by then: they would be saved
            as the tensors they are.
        path: Written to a temporary name beside it and renamed.
        config: Plain JSON values to keep with it, such as what the model is built from; tuples come back as lists.
            None keeps ``model.recipe.to_dict()`` where the model has that.
        huffman: False gives every symbol of a stream the same bits, and deflates nothing: what the first two stages
            take in a file by themselves.

    Returns:
        What each tensor takes, and the file; the same as in :func:`load`.

    Raises:
        TypeError: A tensor is not dense or of a type that is not served, ``config`` is not plain JSON, or ``path`` is
            no path.
        FileNotFoundError: The folder of ``path`` does not exist.

    Example:
        >>> import tempfile
        >>> model = nn.Linear(300, 100)
        >>> path = Path(tempfile.mkdtemp()) / "m.psz"
        >>> save(model, path, config={"layers": [300, 100]}).rate < 1.2
        True
        >>> load(path).config
        {'layers': [300, 100]}

    References:
        Han, Mao and Dally, "Deep compression", ICLR 2016 (arXiv 1510.00149), sections 2 and 4.
    """
    if not isinstance(model, nn.Module | Mapping):
        raise TypeError(f"model must be a torch.nn.Module or a state dict, got {type(model).__name__}")
    path = _as_path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path: no such folder: {str(path.parent)!r}")
    state = dict(model.state_dict() if isinstance(model, nn.Module) else model)
    if config is None:
        recipe = getattr(model, "recipe", None)
        config = recipe.to_dict() if recipe is not None and hasattr(recipe, "to_dict") else None
    stored = [encode(name, tensor, huffman=huffman) for name, tensor in state.items()]
    data = to_bytes(stored, config)
    _write_whole(path, data)
    return report_of(stored, state, len(data))


def load(path: str | PathLike[str], *, into: nn.Module | None = None) -> Compressed:
    """Read a file that :func:`save` wrote; nothing in it is executed.

    Every size in the file is held against the bytes that are there before anything is allocated, so that decoding
    makes at most 1024 elements a byte of the file, and 255 a tensor that it lists, whatever it says.

    Args:
        path: The file.
        into: A model of the same architecture, whose weights are replaced by those in the file; layers that had
            channels taken out become as small as they are there, see :func:`pyscale.compress.reshape`.

    Returns:
        State dict, configuration and report.

    Raises:
        TypeError: ``path`` is no path, or ``into`` no module.
        FileNotFoundError: There is no such file.
        CorruptFileError: It is not a ``.psz`` file, of a version that is not known, cut off, damaged or inconsistent.
        ValueError: The tensors do not fit ``into``.
    """
    path = _as_path(path)
    if into is not None and not isinstance(into, nn.Module):
        raise TypeError(f"into must be a torch.nn.Module, got {type(into).__name__}")
    if not path.is_file():
        raise FileNotFoundError(f"path: no such file: {str(path)!r}")
    data = path.read_bytes()
    try:
        stored, config = from_bytes(data)
        state = {tensor.name: decode(tensor) for tensor in stored}
    except CorruptFileError as error:
        raise CorruptFileError(f"path: {str(path)!r} can't be read: {error}") from error
    if into is not None:
        reshape(into, state)
    return Compressed(state, config, report_of(stored, state, len(data)))


def _as_path(path: str | PathLike[str]) -> Path:
    if not isinstance(path, str | PathLike) or not Path(path).name:
        raise TypeError(f"path must be that of a file, got {path!r}")
    return Path(path)


def _write_whole(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
