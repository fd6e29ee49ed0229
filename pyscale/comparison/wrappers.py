"""Seeing through what wraps a model: ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


def unwrap(model: nn.Module) -> nn.Module:
    """Return the user's own module inside any nesting of wrappers.

    Args:
        model: A module, wrapped or not.

    Returns:
        The innermost module that is no wrapper. It shares all its parameters with the wrapper.

    Example:
        >>> from torch import nn
        >>> unwrap(nn.DataParallel(nn.Linear(2, 3)))
        Linear(in_features=2, out_features=3, bias=True)
    """
    while (inner := _wrapped(model)) is not None:
        model = inner
    return model


def named_modules(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield every module under every name it has, parents first, without the names that wrappers add.

    A wrapper inside the model (``model.trunk = torch.compile(trunk)``) lends its name to what it wraps, so the names
    are those of the same model never wrapped.
    """
    model = unwrap(model)
    yield prefix, model
    for name, child in named_children(model, prefix):
        yield from named_modules(child, name)


def named_children(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield a module's own children, unwrapped, under their full names."""
    for name, child in unwrap(module)._modules.items():
        if child is not None:
            yield (f"{prefix}.{name}" if prefix else name), unwrap(child)


def eager() -> AbstractContextManager[Any]:
    """Return a context in which compiled code runs uncompiled, so that every module's hooks fire.

    Only a process that has compiled something has loaded the compiler; others need not pay for its import.
    """
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


def _wrapped(module: nn.Module) -> nn.Module | None:
    compiled = module._modules.get("_orig_mod")  # what torch.compile calls the module it wraps
    if compiled is not None:
        return compiled
    if isinstance(module, DataParallel | DistributedDataParallel):
        inner: nn.Module = module.module
        return inner
    return None
