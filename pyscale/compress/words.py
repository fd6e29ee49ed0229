"""Tensors as what they are stored as: rows of unsigned words, bit for bit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pyscale.compress.errors import CorruptFileError

Words = npt.NDArray[np.unsignedinteger[Any]]

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float32,
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    )
}
_MOST_AXES = 16
_MOST_ELEMENTS = 2**40


def words_of(name: str, tensor: object) -> Words:
    """The bits of a tensor in row-major order, little-endian.

    Raises:
        TypeError: If it is no dense tensor of a type in ``DTYPES``.
    """
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or type_name(tensor) not in DTYPES:
        kind = f"{tensor.layout} {tensor.dtype}" if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(f"model: {name!r} must be a dense tensor of {', '.join(DTYPES)}, got {kind}")
    # a copy, because the strides of an empty tensor or of one element may be anything, which forbids a view as bytes
    flat = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.detach().reshape(-1))
    words: Words = flat.view(torch.uint8).numpy().view(word_type(tensor.dtype))
    return words


def tensor_of(words: Words, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Undo :func:`words_of`; the words are copied."""
    if not len(words):
        return torch.empty(shape, dtype=dtype)
    data = torch.from_numpy(words.view(np.uint8).copy())
    return (data != 0 if dtype == torch.bool else data.view(dtype)).reshape(shape)


def type_name(tensor: Tensor) -> str:
    """The name of a tensor's type, such as ``"float32"``."""
    return str(tensor.dtype).removeprefix("torch.")


def word_type(dtype: torch.dtype) -> np.dtype[Any]:
    """The little-endian unsigned integers of a type's size."""
    return np.dtype(f"<u{dtype.itemsize}")


def elements(shape: object) -> int:
    """How many elements a shape read from a file has.

    Raises:
        CorruptFileError: If it is no shape, or too large for any memory.
    """
    if not isinstance(shape, list) or len(shape) > _MOST_AXES:
        raise CorruptFileError(f"a shape must be a list of at most {_MOST_AXES} sizes, got {str(shape)[:80]}")
    for side in shape:
        if type(side) is not int or not 0 <= side <= _MOST_ELEMENTS:
            raise CorruptFileError(f"a shape must hold sizes from 0 to {_MOST_ELEMENTS}, got {str(side)[:80]}")
    if math.prod(max(side, 1) for side in shape) > _MOST_ELEMENTS:
        raise CorruptFileError(f"a tensor of {shape} is larger than {_MOST_ELEMENTS} elements")
    return math.prod(shape)
