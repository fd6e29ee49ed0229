"""The emulated kernels are in development builds alone; elsewhere only ``test_emulator.py`` is collected, and says so."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("pyscale._emulated") else ["test_[!e]*.py", "test_e[!m]*.py", "[!ct]*.py"]
