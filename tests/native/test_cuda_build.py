"""The GPU code of the built library, read as machine code: it needs a compiler, not a GPU.

What would cost speed without a word is an error here: registers spilled to memory, products that left the tensor cores,
asynchronous products that the compiler serialized, an architecture left out.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyscale import _native
from tests.native.machine_code import kernels, ptx_targets

pytestmark = pytest.mark.skipif(not _native.HAS_CUDA, reason="built without a CUDA compiler")

SOURCES = Path(__file__).resolve().parents[2] / "csrc" / "cuda"
DISASSEMBLED = ("sm_80", "sm_90a")

# Kernels that may keep something in memory of their own: (file, in the mangled name) -> (bytes a thread, why).
STACK: dict[tuple[str, str], tuple[int, str]] = {}


def built_for():
    """The architectures of the machine code and of the PTX, from what CMake was given: `80-real;90a-real;100`."""
    archs = _native.CUDA_ARCHS.split()
    machine = {f"sm_{arch.removesuffix('-real')}" for arch in archs if not arch.endswith("-virtual")}
    return machine, {f"sm_{arch.removesuffix('-virtual')}" for arch in archs if not arch.endswith("-real")}


@pytest.fixture(scope="module")
def compiled():
    return kernels(Path(_native.__file__), *(arch for arch in DISASSEMBLED if arch in built_for()[0]))


def of(compiled, file, arch):
    """The kernels of one file for one architecture; skips where that architecture was not asked for."""
    if arch not in built_for()[0]:
        pytest.skip(f"built for {_native.CUDA_ARCHS}, without {arch}")
    found = [kernel for kernel in compiled if (kernel.file, kernel.arch) == (file, arch)]
    assert found, f"no kernel of {file}.cu for {arch}"
    return found


def test_every_kernel_is_there_for_every_architecture(compiled):
    machine, ptx = built_for()
    assert ptx_targets(Path(_native.__file__)) == ptx
    # A header's kernels belong to each file that includes it.
    signs = ["__global__", *(f'"cuda/{path.name}"' for path in SOURCES.glob("*.h") if "__global__" in path.read_text())]
    sources = {path.stem for path in SOURCES.glob("*.cu") if any(sign in path.read_text() for sign in signs)}
    assert {(kernel.file, kernel.arch) for kernel in compiled} == {(file, arch) for file in sources for arch in machine}


def test_the_default_covers_what_researchers_have():
    """One list, in CMakeLists.txt: Ampere (and Ada, which runs its code), all of Hopper, and PTX for later ones."""
    text = (SOURCES.parents[1] / "CMakeLists.txt").read_text()
    (default,) = re.findall(r'set\(CMAKE_CUDA_ARCHITECTURES "(\d[^"]*)"\)', text)
    assert {"80-real", "90a-real"} < set(default.split(";"))
    assert default.split(";")[-1].isdigit()


def test_nothing_is_spilled(compiled):
    found = {}
    for kernel in compiled:
        allowed = [most for (file, name), (most, _) in STACK.items() if file == kernel.file and name in kernel.name]
        if kernel.stack > max(allowed, default=0) or (not allowed and kernel.count("LDL", "STL")):
            found[str(kernel)] = f"{kernel.stack} bytes, {kernel.count('LDL', 'STL')} local loads and stores"
    assert not found


def test_what_is_written_down_as_spilled_still_is(compiled):
    for (file, name), (most, why) in STACK.items():
        assert why
        assert any(k.file == file and name in k.name and k.stack == most for k in compiled), (file, name)


@pytest.mark.parametrize(
    ("file", "arch", "instructions"),
    [
        ("tma", "sm_90a", ("HGMMA", "UTMALDG")),
        ("convert", "sm_90a", ("HGMMA",)),
        ("mma", "sm_80", ("HMMA", "LDSM")),
        ("mma", "sm_90a", ("HMMA", "LDSM")),
        ("exact", "sm_80", ("DMMA",)),
        ("exact", "sm_90a", ("DMMA",)),
        ("hsic", "sm_90a", ("DMMA",)),
        ("moments", "sm_90a", ("DMMA",)),
    ],
)
def test_products_run_on_the_tensor_cores(compiled, file, arch, instructions):
    multiplying = [kernel for kernel in of(compiled, file, arch) if "multiply" in kernel.name]
    assert multiplying
    assert not {str(k): name for k in multiplying for name in instructions if not k.count(name)}


@pytest.mark.parametrize("file", ["tma", "convert"])
def test_asynchronous_products_are_queued_together(compiled, file):
    """Where the compiler cannot tell that accumulators are left alone, it waits after every single product."""
    for kernel in of(compiled, file, "sm_90a"):
        assert kernel.count("HGMMA") >= 3 * kernel.count("WARPGROUP.ARRIVE"), kernel


@pytest.mark.parametrize("file", ["tma", "convert"])
def test_hopper_kernels_are_empty_elsewhere(compiled, file):
    """They are never launched there; a body would be an instruction that GPU does not have."""
    for kernel in of(compiled, file, "sm_80"):
        assert kernel.opcodes.total() - kernel.count("NOP") <= 4, kernel
