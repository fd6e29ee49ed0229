"""Loading a checkpoint file into a network, with errors that say what does not fit and why."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_SHOWN = 5


def load_weights(network: nn.Module, path: str | PathLike[str]) -> None:
    """Copy the weights in a checkpoint file into a network; nothing but tensors is unpickled.

    The file holds a state dict, or a dict with one under ``state_dict``. The prefix that DataParallel adds
    (``module.``) is stripped. Files older than torch 0.4.1 lack BatchNorm's ``num_batches_tracked``: taken as zero.

    Raises:
        TypeError: ``path`` is not a path.
        FileNotFoundError: there is no such file.
        ValueError: the file is corrupt, holds no state dict, or its keys or shapes are not the network's.
    """
    state = _read(path)
    wanted = network.state_dict()
    problems = _mismatches(state, wanted)
    if problems:
        raise ValueError(f"weights: {str(path)!r} does not fit: {'; '.join(problems)}.{_hint(state, wanted)}")
    network.load_state_dict(state)


def _read(path: str | PathLike[str]) -> dict[str, Tensor]:
    """The state dict in a file, on the CPU, without the ``module.`` prefix."""
    if not isinstance(path, str | PathLike):
        raise TypeError(f"weights: expected the path of a checkpoint file, got {type(path).__name__}")
    if not Path(path).is_file():
        raise FileNotFoundError(f"weights: no such file: {str(path)!r}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, OSError) as error:
        raise ValueError(
            f"weights: {str(path)!r} is corrupt, or holds more than tensors (which is never unpickled): "
            f"{_reason(error)}"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not _is_state_dict(state):
        raise ValueError(
            f"weights: {str(path)!r} holds no state dict: expected a dict of tensors, or one under 'state_dict'"
        )
    return {name.removeprefix("module."): value for name, value in state.items()}


def _reason(error: Exception) -> str:
    """What torch found wrong with a file, without its advice to unpickle the file after all."""
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"WeightsUnpickler error: (.+)", str(error))
        return found[1] if found else "it is no checkpoint"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _is_state_dict(state: Any) -> bool:
    return (
        isinstance(state, Mapping)
        and len(state) > 0
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items())
    )


def _mismatches(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """One phrase for each kind of misfit: missing, unexpected, another shape."""
    missing, unexpected = _missing(state, wanted), _unexpected(state, wanted)
    reshaped = [
        f"{name} (file {tuple(state[name].shape)}, model {tuple(wanted[name].shape)})"
        for name in _reshaped(state, wanted)
    ]
    kinds = {"missing from the file": missing, "not in the model": unexpected, "of another shape": reshaped}
    return [f"{len(found)} {kind}: {_few(found)}" for kind, found in kinds.items() if found]


def _hint(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """What to pass to ``build`` instead, where the misfit tells."""
    if _missing(state, wanted) or _unexpected(state, wanted):
        return " The file belongs to another model, or to another depth."
    reshaped = set(_reshaped(state, wanted))
    last = list(wanted)[-1].rpartition(".")[0]
    if reshaped <= {f"{last}.weight", f"{last}.bias"}:
        return f" Only the classifier differs: pass num_classes={state[f'{last}.bias'].shape[0]}."
    first = next(iter(wanted))
    if reshaped == {first}:
        return f" Only the first convolution differs: pass in_channels={state[first].shape[1]}."
    return " The file belongs to another width."


def _missing(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    return [name for name in wanted if name not in state and not name.endswith(".num_batches_tracked")]


def _unexpected(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    return [name for name in state if name not in wanted]


def _reshaped(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    return [name for name in wanted if name in state and state[name].shape != wanted[name].shape]


def _few(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
