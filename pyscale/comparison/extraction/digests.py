"""What went into a store, in a few bytes: the model's parameters, and the batches it was given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from logging import Logger
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_BYTES = 16
_DEEPEST = 100  # nest that is looked into
_PLAIN = (
    str, bytes, int, float, complex, type(None), type(...), slice, range, Enum, np.generic,
    torch.dtype, torch.device, torch.memory_format, torch.Size,
)  # fmt: skip


def model_digest(model: nn.Module) -> str:
    """Return a digest of all modules with their options, and of all parameters and buffers with their values.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> before = model_digest(net)
        >>> _ = nn.init.zeros_(net.weight)
        >>> model_digest(net) == before
        False
    """
    whole = hashlib.blake2b(digest_size=_BYTES)
    for name, module in model.named_modules():
        whole.update(f"{name}: {type(module).__qualname__}({module.extra_repr()})\n".encode())
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor):
            whole.update(name.encode())
            _add_tensor(whole, value)
    return whole.hexdigest()


def batch_digest(before: str, batch: Any) -> str:
    """Return the digest of a batch behind those of the batches before it.

    Args:
        before: What this function gave for the batch before; "" for the first.
        batch: Any nest of tensors, arrays, strings and numbers; of what else is in it the type counts.
    """
    return Digest(before).add(batch).hex


class Digest:
    """A digest of values: plain ones, arrays, functions with what they hold, modules, and any nest of these.

    Args:
        before: What comes before them.

    Attributes:
        opaque: Names of the types of which nothing else is known.

    Example:
        >>> Digest().add({"scale": [2, "a"]}).hex == Digest().add({"scale": (2, "b")}).hex
        False
        >>> Digest().add(object()).opaque
        ['object']
    """

    def __init__(self, before: str = "") -> None:
        self._whole = hashlib.blake2b(before.encode(), digest_size=_BYTES)
        self._open: set[int] = set()  # what is being looked into, which may hold itself
        self.opaque: list[str] = []

    @property
    def hex(self) -> str:
        """What was added, in 32 characters."""
        return self._whole.hexdigest()

    def add(self, value: Any) -> Digest:
        """Add a value, or its type where that is all that can be had of it."""
        try:
            self._look_into(value)
        except Exception:  # whatever it is, from a tensor without data to what only seems to be an array
            self._add_type(value)
        return self

    def _look_into(self, value: Any) -> None:
        if isinstance(value, Tensor):
            _add_tensor(self._whole, value)
        elif isinstance(value, nn.Module):
            self._mark(value, model_digest(value))
        elif isinstance(value, _PLAIN):
            self._mark(value, repr(value))
        elif isinstance(value, type | ModuleType):
            self._mark(value, f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', value.__name__)}")
        elif id(value) in self._open:
            self._mark(value, "itself")
        elif len(self._open) >= _DEEPEST:
            self._add_type(value)
        else:
            self._open.add(id(value))
            try:
                self._add_nest(value)
            finally:
                self._open.discard(id(value))

    def add_code(self, code: CodeType, doc: str | None = None) -> Digest:
        """Add what a function's code does, whatever it and its variables are called and wherever it stands.

        Args:
            code: Of one version of Python; another makes other code of the same text.
            doc: The function's docstring, which doesn't count.
        """
        self._mark(code, f"{code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_names}")
        self._whole.update(code.co_code)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self.add_code(constant)
            elif doc is None or constant != doc:
                self.add(constant)
        return self

    def add_function(self, function: FunctionType) -> Digest:
        """Add a function's code and what it holds, but not the global names that it looks up."""
        self.add_code(function.__code__, function.__doc__)
        self.add([function.__defaults__, function.__kwdefaults__])
        return self.add([cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)])

    def _add_nest(self, value: Any) -> None:
        if isinstance(value, Mapping):
            self._mark(value, str(len(value)))
            for key, part in value.items():
                self.add(key).add(part)
        elif isinstance(value, tuple | list):
            self._add_all(value, value)
        elif isinstance(value, set | frozenset):
            self._add_all(value, sorted(Digest().add(part).hex for part in value))
        elif isinstance(value, np.ndarray):
            self._add_array(value)
        elif is_dataclass(value):
            self._add_all(value, [getattr(value, field.name) for field in fields(value)])
        elif hasattr(value, "__array_interface__") or hasattr(value, "__array__"):  # a picture, a data frame
            self._add_array(np.asarray(value))
        else:
            self._add_callable(value)

    def _add_callable(self, value: Any) -> None:
        if isinstance(value, FunctionType):
            self.add_function(value)
        elif isinstance(value, MethodType):
            self._add_all(value, [value.__func__, value.__self__])
        elif isinstance(value, partial):
            self._add_all(value, [value.func, value.args, value.keywords])
        elif isinstance(value, np.ufunc | Logger):
            self._mark(value, getattr(value, "__name__", ""))
        elif isinstance(value, BuiltinFunctionType):  # of C
            self._mark(value, f"{value.__module__}.{value.__qualname__}")
            self.add(value.__self__)
        else:
            self._add_type(value)

    def _add_type(self, value: Any) -> None:
        self._mark(value, "")
        self.opaque.append(type(value).__qualname__)

    def _add_all(self, value: Any, parts: Iterable[Any]) -> None:
        self._mark(value, "")
        for part in parts:
            self.add(part)
        self._whole.update(b"end\n")

    def _add_array(self, array: np.ndarray[Any, Any]) -> None:
        if array.dtype.hasobject:
            self._add_all(array, array.tolist())
            return
        self._mark(array, f"{array.dtype}{array.shape}")
        self._whole.update(np.ascontiguousarray(array).tobytes())

    def _mark(self, value: Any, text: str) -> None:
        self._whole.update(f"{type(value).__qualname__}: {text}\n".encode("utf-8", "surrogatepass"))


def _is_filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:  # of a name that has no value yet
        return False
    return True


def _add_tensor(whole: hashlib.blake2b, tensor: Tensor) -> None:
    whole.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    dense = tensor.detach() if tensor.layout == torch.strided else tensor.detach().to_dense()
    flat = dense.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if flat.numel():
        whole.update(flat.view(torch.uint8).numpy().data)
