"""Errors of the CUDA kernels, run on the CPU by the emulator with tensor cores that truncate as they add."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from benchmarks.numerics import truth
from benchmarks.numerics.grid import absolute_error, matrix_error, name, widened
from benchmarks.numerics.hard import related
from benchmarks.numerics.rows import Row
from pyscale.ops import cuda

CAPABILITIES = (80, 90)  # the portable kernels, and Hopper's
SAMPLES = 64
FEATURES = (256, 2560)
MEANS = (0.0, 30.0, 1000.0)
PRECISIONS = {"default": 1e-5, "exact": 1e-12, "fast": 1e-2}  # and the errors they may have
FAR = (0, 100, 1000, 3000)


def available() -> bool:
    """Return whether this build has the emulated kernels; development builds do."""
    return find_spec("pyscale._emulated") is not None


@contextmanager
def gpu(capability: int) -> Iterator[None]:
    """Let ``pyscale.ops.cuda`` call the emulated kernels on tensors in the CPU's memory."""
    from pyscale import _emulated

    before = cuda._native, cuda._queue
    _emulated.configure(capability=capability, multiprocessors=4, seed=1, truncate=True)
    cuda._native, cuda._queue = _emulated, lambda x: (0, 0)
    try:
        yield
    finally:
        cuda._native, cuda._queue = before
        _emulated.configure()


def rows() -> Iterator[Row]:
    """Yield the errors of centred Grams, and of CKA with means and with a far sample, for either set of kernels."""
    for capability in CAPABILITIES:
        with gpu(capability):
            yield from _grams(f"sm_{capability}")
            yield from _alignments(f"sm_{capability}")


def _grams(kernels: str) -> Iterator[Row]:
    for p in FEATURES:
        x, _ = related(SAMPLES, p)
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            for mean in MEANS:
                t = torch.from_numpy(x + mean).to(dtype)
                K = truth.centred(truth.kernel_matrix(widened(t), "linear"), "double")
                if not np.linalg.norm(K):
                    continue
                for precision, allowed in PRECISIONS.items():
                    G, _ = cuda.gram(t, "linear", "double", 1.0, torch.float64, precision)
                    quantity = f"gram {precision}"
                    case = f"{kernels}, {p} features"
                    yield Row("emulated", case, quantity, name(dtype), matrix_error(G, K), mean=mean, tolerance=allowed)


def _alignments(kernels: str) -> Iterator[Row]:
    x, y = related(SAMPLES, 256)
    for kernel in ("linear", "rbf"):
        for mean in MEANS:
            error = _cka_error([torch.from_numpy(z + mean).float() for z in (x, y)], kernel)
            yield Row("emulated", kernels, f"cka {kernel} unbiased", "float32", error, mean=mean)
        for distance in FAR[1:]:
            far = np.zeros((SAMPLES, 1))
            far[0] = distance
            error = _cka_error([torch.from_numpy(z + far).float() for z in (x, y)], kernel)
            yield Row("emulated", f"{kernels}, far sample {distance} σ", f"cka {kernel} unbiased", "float32", error)


def _cka_error(sets: list[Tensor], kernel: str) -> float:
    v, _ = cuda.packed_grams(sets, kernel, 1.0, torch.float64, "default")
    true = [truth.centred(truth.kernel_matrix(widened(t), kernel), "unbiased") for t in sets]
    return absolute_error(_cosine(*v.numpy()), _cosine(*true))


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / math.sqrt(float((a * a).sum()) * float((b * b).sum())))
