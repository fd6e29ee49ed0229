"""What the native core was built with, and what of it this machine uses."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pyscale import _native


@dataclass(frozen=True)
class BuildInfo:
    """The native core as built, and as it runs here."""

    version: str  # of the native module; the package's own, unless an old build was left behind
    isa: str  # instruction set in use: "avx512", "avx2", "baseline" or "neon"
    isas: tuple[str, ...]  # instruction sets compiled in
    cuda: bool  # built with CUDA kernels
    cuda_architectures: str  # what they were compiled for, "" without CUDA
    cuda_devices: tuple[str, ...]  # names of the devices torch sees
    threads: int  # CPU threads an op takes by default: torch's


def build_info() -> BuildInfo:
    """Return what the native core was built with and what it uses here.

    Example:
        >>> from pyscale import ops
        >>> info = ops.build_info()
        >>> info.isa in info.isas
        True
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return BuildInfo(
        version=_native.__version__,
        isa=_native.isa(),
        isas=tuple(_native.isas()),
        cuda=_native.HAS_CUDA,
        cuda_architectures=_native.CUDA_ARCHS if _native.HAS_CUDA else "",
        cuda_devices=tuple(torch.cuda.get_device_name(i) for i in devices),
        threads=torch.get_num_threads(),
    )
