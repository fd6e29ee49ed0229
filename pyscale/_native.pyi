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

def use_team(run: int, size: int) -> None:
    """Run on the threads of a team: addresses of GOMP_parallel and omp_get_max_threads; 0 for threads of our own."""

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

class Precision(Enum):
    default = ...
    exact = ...
    fast = ...

def cuda_grams_workspace(
    X: list[Matrix], kernel: Kernel, centering: Centering, packed: bool, precision: Precision, device: int
) -> int:
    """How many bytes of workspace ``cuda_grams`` needs."""

def cuda_grams(
    out: list[Matrix],
    X: list[Matrix],
    constant: int,
    kernel: Kernel,
    centering: Centering,
    packed: bool,
    bandwidth: float,
    precision: Precision,
    workspace: int,
    bytes: int,
    device: int,
    stream: int,
    read: int,
    floors: int = 0,
    noise: float = 0.0,
    least: float = 0.0,
) -> None:
    """Queue out[i] = C(k(X[i], X[i])), (n, n) or packed (1, n(n-1)/2), for matrices of the same n and type.

    ``constant`` is the address of a bool for each; ``read`` an event to record once X has been read, or 0; ``floors``
    the address of a float64 for each, max(noise · max_i G_ii, least) of the matrix before it is centred, or 0.
    """

def cuda_hsic_workspace(L: int, M: int, N: int, device: int) -> int:
    """How many float64 ``cuda_hsic_pairs`` needs as workspace; may be 0."""

def cuda_hsic_pairs(H: Matrix, V: Matrix, W: Matrix, workspace: Matrix, device: int, stream: int) -> None:
    """Queue H (L, M) = V W^T in float64 for V (L, N), W (M, N) of one type; workspace is (1, size)."""

def cuda_moments_workspace(p: int, q: int, n: int, device: int) -> int:
    """How many float64 ``cuda_self_moments`` and ``cuda_cross_moments`` need as workspace; may be 0."""

def cuda_self_moments(S: Matrix, X: Matrix, shift: Matrix, workspace: Matrix, device: int, stream: int) -> None:
    """Queue S (p, p) += (X - 1 shift)^T (X - 1 shift) in float64; the lower half of S is read."""

def cuda_cross_moments(
    S: Matrix, X: Matrix, shift_x: Matrix, Y: Matrix, shift_y: Matrix, workspace: Matrix, device: int, stream: int
) -> None:
    """Queue S (p, q) += (X - 1 shift_x)^T (Y - 1 shift_y) in float64; Y is of X's type."""
