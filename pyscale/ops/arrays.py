"""Foreign arrays in, results of the same kind out.

torch tensors, NumPy arrays and anything else with ``__dlpack__`` (JAX, CuPy, ...) are read without a copy.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from pyscale.ops.dtypes import FLOATING

Restore = Callable[[Tensor], Any]


def as_matrix(x: Any, name: str) -> Tensor:
    """Return ``x`` as a floating-point tensor of shape (n, p), sharing its memory where it can.

    Raises:
        TypeError: ``x`` is no array, or its elements are not floating-point numbers.
        ValueError: ``x`` does not have two dimensions.
    """
    tensor = as_tensor(x, name)
    if tensor.ndim != 2:
        remedy = "flatten or pool the others" if tensor.ndim > 2 else "reshape(-1, 1) makes one feature of its numbers"
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}; expected two dimensions (samples, features): {remedy}"
        )
    return tensor


def as_tensor(x: Any, name: str) -> Tensor:
    """Return ``x`` as a floating-point tensor of any shape; errors as in :func:`as_matrix`."""
    if isinstance(x, Tensor):
        tensor = x
    elif isinstance(x, np.ma.MaskedArray):  # its data would be read and its mask forgotten
        raise TypeError(f"{name} is a masked array; expected a plain one: fill or drop what is masked first")
    elif isinstance(x, np.ndarray):
        tensor = _from_numpy(x, name)
    elif hasattr(x, "__dlpack__"):
        tensor = from_dlpack(x)
    else:
        raise TypeError(f"{name} is a {type(x).__name__}; expected a torch tensor, a NumPy array or a DLPack array")
    if tensor.is_nested or tensor.layout != torch.strided:
        kind = "nested" if tensor.is_nested else _short(tensor.layout).lstrip("_")
        raise TypeError(
            f"{name} is a {kind} tensor; expected a dense one: convert it first, for instance by to_dense()"
        )
    if tensor.dtype not in FLOATING:
        raise TypeError(
            f"{name} has dtype {_short(tensor.dtype)}; expected one of {', '.join(map(_short, FLOATING))}: "
            f"convert it first, for instance to float32"
        )
    return tensor


def restore_like(x: Any) -> Restore:
    """Return the function that turns a result tensor into the kind of array ``x`` is.

    NumPy gets Python floats for scalars and arrays otherwise; torch gets tensors; an array of another library that
    follows the array API standard gets its own library's arrays.
    """
    if isinstance(x, Tensor):
        return lambda result: result
    if not isinstance(x, np.ndarray) and hasattr(x, "__array_namespace__"):
        namespace = x.__array_namespace__()
        return lambda result: namespace.from_dlpack(result.detach())
    return lambda result: result.item() if result.ndim == 0 else result.detach().cpu().numpy()


def same_device(x: Tensor, y: Tensor, names: tuple[str, str] = ("x", "y")) -> None:
    """Raise ValueError unless the two tensors are on one device."""
    if x.device != y.device:
        raise ValueError(f"{names[0]} is on {x.device} and {names[1]} on {y.device}; move one of them")


def same_samples(x: Tensor, y: Tensor, names: tuple[str, str] = ("x", "y")) -> None:
    """Raise ValueError unless the two matrices have the same number of rows."""
    if x.shape[0] != y.shape[0]:
        raise ValueError(
            f"{names[0]} has {x.shape[0]} samples and {names[1]} has {y.shape[0]}; "
            f"row i of both must be the same sample"
        )


def _from_numpy(x: np.ndarray[Any, Any], name: str) -> Tensor:
    if x.dtype.name == "bfloat16":  # the type that ml_dtypes adds to NumPy; torch reads its bits
        return _from_numpy(x.view(np.uint16), name).view(torch.bfloat16)
    if x.dtype.kind not in "fiubc":
        raise TypeError(f"{name} has dtype {x.dtype}; expected a floating-point dtype such as float32")
    odd = any(stride < 0 or stride % max(x.itemsize, 1) for stride in x.strides)
    if odd or not x.dtype.isnative or not x.flags.aligned:  # layouts torch can't view, or should not
        x = x.astype(x.dtype.newbyteorder("="), order="C", subok=False)
    with warnings.catch_warnings():
        # torch warns that writing to a read-only array would be undefined; nothing here writes to its input
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        try:
            return torch.from_numpy(x)
        except TypeError:
            raise TypeError(f"{name} has dtype {x.dtype}; expected a floating-point dtype such as float32") from None


def _short(kind: torch.dtype | torch.layout) -> str:
    return str(kind).removeprefix("torch.")
