"""Whether torch's dispatcher has anything to do for a call: crossing it takes longer than the Gram of a small layer.

It differentiates, traces, transforms, fakes and watches. Where none of that is asked for it would hand an op's tensors
to the op's kernel as they are, which can then be called at once. What is asked here are parts of torch without a
promise to stay; a torch that lacks one always goes by the dispatcher.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def _quiet_asker() -> Callable[[], bool]:
    """Return a function that tells whether nothing watches or transforms the calls of this thread."""
    try:
        modes = torch._C._len_torch_dispatch_stack  # fake tensors, counters, proxies
        functions = torch._C._is_torch_function_mode_enabled
        transforms = torch._C._functorch.peek_interpreter_stack  # vmap, grad, jvp
        tracing = torch._C._get_tracing_state
        profiling = torch._C._autograd._profiler_enabled
        forward = torch.autograd.forward_ad
        _ = forward._current_level  # asked for once, so that its absence shows here
    except AttributeError:
        return lambda: False

    def quiet() -> bool:
        return not (
            modes()
            or functions()
            or profiling()
            or tracing() is not None
            or transforms() is not None
            or forward._current_level >= 0
        )

    return quiet


_quiet = _quiet_asker()


def passes_straight(*tensors: Tensor) -> bool:
    """Return whether the dispatcher would hand these tensors to an op's CPU kernel as they are."""
    if torch.compiler.is_compiling():
        return False
    grad = torch.is_grad_enabled()
    for x in tensors:
        if type(x) is not Tensor or not x.is_cpu or (grad and x.requires_grad):
            return False
        if x.is_neg() or x._is_zerotensor():  # resolved on the way
            return False
    return _quiet()
