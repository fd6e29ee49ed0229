"""Running models without a trace: mode, random numbers, gradients and device are left as they were found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from pyscale.comparison.wrappers import eager


@contextmanager
def left_as_found(*models: nn.Module, device: torch.device | None = None) -> Iterator[None]:
    """Run the block with the models in eval mode on ``device``, under inference mode, and undo all of it after.

    The fused path of ``nn.TransformerEncoderLayer`` is off, since it skips the modules inside and with them their
    hooks; code under ``torch.compile`` runs uncompiled for the same reason.

    Args:
        models: The models that will run.
        device: Where to; None leaves them where they are.

    Raises:
        ValueError: ``device`` is given and a model lies on several, or a model has parameters not yet initialised.
    """
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(_in_eval_mode(model))
            if device is not None:
                stack.enter_context(_on_device(model, device))
        stack.enter_context(torch.random.fork_rng(devices=_cuda_devices()))
        stack.enter_context(_without_fused_attention())
        stack.enter_context(eager())
        stack.enter_context(torch.inference_mode())
        yield


def home(model: nn.Module) -> torch.device | None:
    """Return the device of the model's first parameter or buffer, or None where it has neither."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), None)


def check_initialised(model: nn.Module, label: str) -> None:
    """Raise ValueError where a lazy module of the model has not seen its first input yet."""
    for name, parameter in model.named_parameters():
        if is_lazy(parameter):
            raise ValueError(f"{label} has the uninitialised lazy parameter {name!r}; run the model once first")


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:  # not model.train(): modules may have been in different modes
            module.training = training


@contextmanager
def _on_device(model: nn.Module, device: torch.device) -> Iterator[None]:
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    if len(devices) > 1:
        places = ", ".join(sorted(map(str, devices)))
        raise ValueError(f"device is {device}, but {type(model).__name__} lies on {places}; pass device=None")
    if devices <= {device}:
        yield
        return
    try:
        model.to(device)
        yield
    finally:
        model.to(devices.pop())


@contextmanager
def _without_fused_attention() -> Iterator[None]:
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def remembered_randomness() -> Callable[[], None]:
    """Return a function that takes torch's random number generators back to where they are now."""
    cpu = torch.random.get_rng_state()
    gpus = {device: torch.cuda.get_rng_state(device) for device in _cuda_devices()}

    def restore() -> None:
        torch.random.set_rng_state(cpu)
        for device, state in gpus.items():
            torch.cuda.set_rng_state(state, device)

    return restore


def _cuda_devices() -> list[int]:
    return list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
