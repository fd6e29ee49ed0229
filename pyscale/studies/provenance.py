"""Where a study's numbers came from: versions, machine, date."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pyscale.ops import build_info

LIBRARIES = ("pyscale", "torch", "numpy", "lightning", "scikit-learn", "scipy", "matplotlib")


def describe_machine() -> dict[str, Any]:
    """The processor, its cores, the instruction set our kernels use on it, and the system."""
    return {
        "processor": processor_name(),
        "cores": available_cores(),
        "instruction_set": build_info().isa,
        "system": platform.platform(terse=True),
    }


def describe_software() -> dict[str, str]:
    """Versions of Python and of the libraries that decide the numbers; one that is not installed is left out."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def processor_name() -> str:
    """The processor's model where the system tells, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def available_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
