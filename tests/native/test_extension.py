"""The shared library itself: what it needs and what it shows."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from pyscale import _native


def output_of(tool, *arguments):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=True).stdout


def test_it_needs_neither_torch_nor_cuda():
    needed = output_of("ldd", _native.__file__)
    assert "libc.so" in needed
    for name in ("torch", "c10", "cudart", "libcuda", "cublas", "python"):
        assert name not in needed


def test_it_shows_no_function_but_its_entry():
    symbols = [line.split() for line in output_of("nm", "-D", "--defined-only", _native.__file__).splitlines()]
    functions = {name for _, kind, name in symbols if kind in "TWu"}
    assert {name for name in functions if "pyscale" in name or "_native" in name} == {"PyInit__native"}


def test_it_knows_how_it_was_built():
    assert isinstance(_native.HAS_CUDA, bool)
    assert bool(_native.CUDA_ARCHS) == _native.HAS_CUDA
    assert _native.cuda_device_count() >= 0
    assert hasattr(_native, "cuda_grams") == _native.HAS_CUDA
    assert _native.isas()[-1] in ("baseline", "neon")
