"""How much memory a comparison may take: sizes as people write them, and what the machine has left."""

from __future__ import annotations

import re
import sys
from numbers import Integral
from pathlib import Path

import torch

from pyscale.distributed import local_size

_UNITS = {"": 1, "B": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("KMGT", start=1)
    for suffix, base in (("iB", 1024), ("B", 1000))
}
_SHARE = 0.5  # of what is free: the models and the loader want some too


def parse_size(size: int | str, argument: str) -> int:
    """Return a number of bytes.

    Args:
        size: Bytes, or a number with a unit: "2GiB", "500 MB".
        argument: What errors call it.

    Raises:
        TypeError: It is neither integer nor string.
        ValueError: It is not positive, or not a size.

    Example:
        >>> parse_size("1.5KiB", "memory")
        1536
    """
    if isinstance(size, bool) or not isinstance(size, Integral | str):
        raise TypeError(f"{argument} is {size!r}; expected bytes or a string such as '2GiB'")
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(size))
    units = {unit.lower(): factor for unit, factor in _UNITS.items()}
    if match is None or match[2].lower() not in units or float(match[1]) <= 0:
        raise ValueError(f"{argument} is {size!r}; expected bytes or a string such as '2GiB'")
    return int(float(match[1]) * units[match[2].lower()])


def format_size(size: float) -> str:
    """Return bytes in the largest binary unit that leaves at least 1.

    Example:
        >>> format_size(3 * 2**30)
        '3 GiB'
    """
    unit = "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{round(size)} {unit}" if size >= 100 else f"{size:.3g} {unit}"


def free_memory(device: torch.device) -> int:
    """Return the bytes a comparison may take by default: half of what is free on the device.

    Of a machine's memory that is this process's part, where torchrun has started several there.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * _SHARE)
    return int(min(_available(), _left_in_container(), sys.maxsize) * _SHARE / local_size())


def _available() -> float:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:  # not Linux: no portable way to ask
        return float("inf")
    match = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else float("inf")


def _left_in_container(root: Path = Path("/sys/fs/cgroup")) -> float:
    try:
        return int((root / "memory.max").read_text()) - int((root / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or "max": no limit
        return float("inf")
