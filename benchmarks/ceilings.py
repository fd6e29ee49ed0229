"""What the CPU does at best, measured: fused multiply-adds a second, and bytes copied and read a second.

The loops are C++ (ceilings.cpp), compiled for this very machine when they are needed and called through ctypes.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

SOURCE = Path(__file__).with_suffix(".cpp")
_FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-std=c++17", "-shared", "-fPIC", "-pthread")
_STEPS = 20_000_000  # of twelve multiply-adds: about 50 ms
_BYTES = 256 << 20  # of a buffer: far more than any cache
_REPEATS = 7
_AGAIN = 8  # by which the work is divided when a peak is measured once more


@dataclass(frozen=True)
class Ceilings:
    """Rates a second of one thread and of all: floating-point operations, or bytes.

    ``copy`` counts what is read and what is written; ``bfloat16`` is the rate of bfloat16 products with float32 sums.
    """

    threads: int
    float32: tuple[float, float]
    float64: tuple[float, float]
    bfloat16: tuple[float, float]
    copy: tuple[float, float]
    read: tuple[float, float]

    def peak(self, dtype: str = "float32") -> float:
        """Return the multiply-add rate of all threads, measured once more if that finds a higher one.

        A machine may have been busy, or slower, when the ceilings were measured; a share must not gain by that.
        """
        now = getattr(_compiled(), f"fma_{dtype}")
        return max(getattr(self, dtype)[1], *(now(self.threads, _STEPS // _AGAIN) for _ in range(_REPEATS)))

    def rows(self, origin: dict[str, str]) -> list[dict[str, object]]:
        """Return a row for each rate."""
        return [
            {"ceiling": name, "cores": cores, "value": f"{rate / 1e9:.4g}", "unit": unit, **origin}
            for name, unit in (
                ("float32", "GFLOP/s"),
                ("float64", "GFLOP/s"),
                ("bfloat16", "GFLOP/s"),
                ("copy", "GB/s"),
                ("read", "GB/s"),
            )
            for cores, rate in zip((1, self.threads), getattr(self, name), strict=True)
        ]


@functools.cache
def measured(shrink: int = 1) -> Ceilings:
    """Return the ceilings of this machine, the best of several tries; ``shrink`` divides the work, for a rehearsal."""
    library = _compiled()
    threads = torch.get_num_threads()
    steps, size = _STEPS // shrink, _BYTES // shrink
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)  # written once, so their pages are there
    addresses = [ctypes.c_void_p(array.ctypes.data) for array in (target, source)]
    rates: dict[str, Callable[[int], float]] = {
        "float32": lambda n: library.fma_float32(n, steps),
        "float64": lambda n: library.fma_float64(n, steps),
        "bfloat16": lambda n: library.fma_bfloat16(n, steps),
        "copy": lambda n: library.copy(*addresses, size, n),
        "read": lambda n: library.read(addresses[1], size, n),
    }
    best = {name: tuple(max(rate(n) for _ in range(_REPEATS)) for n in (1, threads)) for name, rate in rates.items()}
    return Ceilings(threads, **best)


@functools.cache
def _compiled() -> ctypes.CDLL:
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ceilings.so"
        command = [*compiler, *_FLAGS, str(SOURCE), "-o", str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise RuntimeError(f"the benchmarks need a C++ compiler; set CXX: {error}") from error
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stderr}")
        library = ctypes.CDLL(str(path))
    number, address = ctypes.c_int64, ctypes.c_void_p
    for name, arguments in {
        "fma_float32": (ctypes.c_int, number),
        "fma_float64": (ctypes.c_int, number),
        "fma_bfloat16": (ctypes.c_int, number),
        "copy": (address, address, number, ctypes.c_int),
        "read": (address, number, ctypes.c_int),
    }.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, ctypes.c_double
    return library
