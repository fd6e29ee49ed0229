"""Native kernels: addresses in, nothing owned. Callers keep the memory alive and have checked it is where they say."""

from __future__ import annotations

from enum import Enum

__version__: str
HAS_CUDA: bool
CUDA_ARCHS: str

class DType(Enum):
    f64 = ...
    f32 = ...
    f16 = ...
    bf16 = ...

class Kernel(Enum):
    linear = ...
    rbf = ...

class Centering(Enum):
    none = ...
    double = ...
    unbiased = ...

class Matrix:
    """A row-major view; ``pitch`` is the distance between rows in elements."""

    def __init__(self, address: int, rows: int, columns: int, pitch: int, dtype: DType) -> None: ...

def isa() -> str:
    """The instruction set in use: ``avx512``, ``avx2``, ``baseline`` or ``neon``."""

def isas() -> tuple[str, ...]:
    """The instruction sets compiled in, fastest first."""

def gram(K: Matrix, X: Matrix, kernel: Kernel, centering: Centering, bandwidth: float, threads: int) -> bool:
    """Write K (n, n) = C(k(X, X)); return whether X (n, p) is constant to rounding."""

def packed_gram(v: Matrix, X: Matrix, kernel: Kernel, bandwidth: float, threads: int) -> bool:
    """Write v (1, n(n-1)/2), the strict lower triangle of U(k(X, X)); return whether X is constant to rounding."""

def hsic_pairs(H: Matrix, V: Matrix, W: Matrix, threads: int) -> None:
    """Write H (L, M) = V W^T in float64 for V (L, N), W (M, N)."""

def self_moments(S: Matrix, X: Matrix, shift: Matrix, threads: int) -> None:
    """S (p, p) += (X - 1 shift)^T (X - 1 shift) in float64."""

def cross_moments(S: Matrix, X: Matrix, shift_x: Matrix, Y: Matrix, shift_y: Matrix, threads: int) -> None:
    """S (p, q) += (X - 1 shift_x)^T (Y - 1 shift_y) in float64."""

def merge_moments(S: Matrix, T: Matrix, dx: Matrix, dy: Matrix, weight: float) -> None:
    """S (p, q) += T + weight dx^T dy in float64."""

def cuda_device_count() -> int:
    """The GPUs the driver offers; 0 where there is no driver or no CUDA in this build. Never fails."""

# Only where HAS_CUDA:

def cuda_gram_workspace(n: int, p: int) -> int:
    """How many float64 ``cuda_gram`` needs as workspace for X (n, p)."""

def cuda_gram(G: Matrix, X: Matrix, shift: Matrix | None, workspace: Matrix, device: int, stream: int) -> None:
    """Queue G (n, n) = (X - 1 shift)(X - 1 shift)^T; the shift (1, p) is float64 where X is, else float32."""
