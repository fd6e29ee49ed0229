"""What went into a store, in a few bytes: the model's parameters, and the batches it was given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

_BYTES = 16


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
            _add(whole, value)
    return whole.hexdigest()


def batch_digest(before: str, batch: Any) -> str:
    """Return the digest of a batch's tensors behind those of the batches before it.

    Args:
        before: What this function gave for the batch before; "" for the first.
        batch: Any nest of tensors.
    """
    whole = hashlib.blake2b(before.encode(), digest_size=_BYTES)
    for tensor in _tensors(batch):
        _add(whole, tensor)
    return whole.hexdigest()


def _add(whole: hashlib.blake2b, tensor: Tensor) -> None:
    whole.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    if flat.numel():
        whole.update(flat.view(torch.uint8).numpy().data)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
