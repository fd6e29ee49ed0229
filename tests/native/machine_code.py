"""What a built library holds for GPUs, read with ``cuobjdump``: every kernel's registers, stack and instructions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_ARCH = re.compile(r"^arch = (sm_\w+)")
_USAGE = re.compile(r"^ Function (\S+):$")
_NUMBERS = re.compile(r"REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)")
_FUNCTION = re.compile(r"^\s+Function : (\S+)")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)")
# nvcc names the unnamed namespace of a file after it: ..._GLOBAL__N__<hash>_<length>_<file>_cu_<hash>...
_FILE = re.compile(r"_GLOBAL__N__[0-9a-f]+_\d+_(\w+?)_cu_[0-9a-f]+")


@dataclass
class Kernel:
    """One kernel, compiled for one architecture."""

    name: str  # mangled
    arch: str  # "sm_90a"
    registers: int = 0
    stack: int = 0  # bytes a thread: spilled registers, arrays indexed at run time
    opcodes: Counter[str] = field(default_factory=Counter)  # by full name, such as "HGMMA.64x128x16.F32.BF16"

    @property
    def file(self) -> str:
        """The file in csrc/cuda that defines it, without its suffix."""
        found = _FILE.search(self.name)
        return found.group(1) if found else ""

    def count(self, *names: str) -> int:
        """Return how many instructions are of one of these kinds: "HGMMA" is every HGMMA.64x128x16.F32 and so on."""
        return sum(
            n for opcode, n in self.opcodes.items() if any(f"{opcode}.".startswith(f"{name}.") for name in names)
        )

    def __str__(self) -> str:
        return f"{readable(self.name)} for {self.arch}"


def kernels(library: Path, *disassembled: str) -> list[Kernel]:
    """Return every kernel of a library or object file, once for each architecture it was compiled for.

    Instructions are counted for the architectures named as ``disassembled``, which takes seconds each.
    """
    found = {(k.arch, k.name): k for k in _usage(_cuobjdump("-res-usage", library))}
    for arch in disassembled:
        current = None
        for line in _cuobjdump("-sass", "-arch", arch, library):
            if match := _FUNCTION.match(line):
                current = found[arch, match.group(1)]
            elif current is not None and (match := _INSTRUCTION.match(line)):
                current.opcodes[match.group(1)] += 1
    return list(found.values())


def _usage(lines: Iterator[str]) -> Iterator[Kernel]:
    arch = name = ""
    for line in lines:
        if match := _ARCH.match(line):
            arch = match.group(1)
        elif match := _USAGE.match(line):
            name = match.group(1)
        elif name and (match := _NUMBERS.search(line)):
            registers, stack, local = map(int, match.groups())
            yield Kernel(name, arch, registers, stack + local)
            name = ""


def ptx_targets(library: Path) -> set[str]:
    """Return the architectures whose PTX is embedded, for GPUs newer than any of the machine code."""
    return set(re.findall(r"\.(sm_\w+)\.ptx", "\n".join(_cuobjdump("-lptx", library))))


def readable(name: str) -> str:
    """Return a mangled name as C++ writes it, where binutils are installed."""
    if shutil.which("c++filt") is None:
        return name
    return subprocess.run(["c++filt", name], capture_output=True, text=True, check=True).stdout.strip()


def cuobjdump_path() -> str | None:
    """Return the tool's path: a CUDA toolkit's, or that of the package nvidia-cuda-cuobjdump."""
    wheels = Path(sysconfig.get_path("purelib"), "nvidia").glob("*/bin/cuobjdump")
    return shutil.which("cuobjdump") or next(map(str, wheels), None)


def _cuobjdump(*arguments: object) -> Iterator[str]:
    """Yield the lines of its output."""
    tool = cuobjdump_path()
    if tool is None:
        raise FileNotFoundError("cuobjdump is not installed: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")
    # nvdisasm, which it calls, is in its own folder.
    environment = {**os.environ, "PATH": f"{Path(tool).parent}:{os.environ.get('PATH', os.defpath)}"}
    with subprocess.Popen([tool, *map(str, arguments)], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        yield from process.stdout
    if process.returncode:
        raise RuntimeError(f"cuobjdump {' '.join(map(str, arguments))} failed")
