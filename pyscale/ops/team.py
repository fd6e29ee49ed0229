"""The native core runs on torch's threads: those spin on for milliseconds after each op, on cores ours would want."""

from __future__ import annotations

import ctypes

import torch

from pyscale import _native


def use_torch_threads() -> bool:
    """Have the core run on the OpenMP threads of torch, and return whether torch has such; else it starts its own.

    The core knows neither torch nor OpenMP: it is given the addresses of two functions of the runtime torch loaded.
    """
    try:
        torch_and_what_it_loads = ctypes.CDLL(torch._C.__file__)
        run, size = torch_and_what_it_loads.GOMP_parallel, torch_and_what_it_loads.omp_get_max_threads
    except (OSError, AttributeError):  # a torch without OpenMP, or with one of another interface
        use_own_threads()
        return False
    _native.use_team(_address(run), _address(size))
    return True


def use_own_threads() -> None:
    """Have the core start threads of its own for every call."""
    _native.use_team(0, 0)


def _address(function: object) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
