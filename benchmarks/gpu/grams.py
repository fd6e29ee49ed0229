"""The centred Gram beside torch's own product, by size, type, mean and precision, and how near the floor it comes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.gpu.ceilings import Ceilings, Floor
from benchmarks.gpu.rivals import compiled, mm_in_float32, tensor_float32
from benchmarks.gpu.session import OURS, Session
from benchmarks.plain import centred_mm, double_centred, gram_in_float64, mm_centred, rbf_centred, relative_error
from benchmarks.racing import Contender
from pyscale import ops

MILLION = 1_000_000
# The sizes with goals come first; what is behind them is left out where time is short.
SHAPES = [
    (64, MILLION),
    (128, MILLION),
    (256, MILLION),
    (512, MILLION),
    (1024, MILLION),
    (128, 65_536),
    (256, 65_536),
    (512, 65_536),
    (1024, 65_536),
    (1024, 4_096),
    (4096, 65_536),
    (8192, 65_536),
]
LARGE_MEANS = [(64, MILLION), (128, MILLION), (256, MILLION), (1024, 65_536)]
COMPILED = {(128, MILLION, 0.0), (1024, MILLION, 0.0)}  # a few: compiling takes many seconds a shape
RBF_SHAPES = [(256, 65_536), (1024, 65_536)]
REHEARSAL = [(8, 100), (130, 40)]
GOALS = ((128, 0.85), (256, 0.75), (1024, 0.60))  # share of the floor, up to that many samples
_EXACT_OPERATIONS = 5e12  # the most for which float64 products are timed


@dataclass(frozen=True)
class Case:
    n: int
    p: int
    dtype: torch.dtype
    mean: float = 0.0

    def __str__(self) -> str:
        return f"n={self.n} p={self.p} {self.dtype}".replace("torch.", "") + (f" mean={self.mean:g}" * bool(self.mean))

    def columns(self, op: str) -> dict[str, object]:
        dtype = str(self.dtype).removeprefix("torch.")
        return {"op": op, "n": self.n, "p": self.p, "dtype": dtype, "mean": f"{self.mean:g}"}


def run(session: Session) -> None:
    """Linear Grams of both types, then of 16-bit numbers whose mean forces the shift, then RBF Grams."""
    shapes = session.choose(SHAPES, REHEARSAL)
    cases = [Case(n, p, dtype) for n, p in shapes for dtype in (torch.float32, torch.bfloat16)]
    cases += [Case(n, p, torch.bfloat16, mean=10.0) for n, p in session.choose(LARGE_MEANS, REHEARSAL)]
    for case in session.in_time(cases, lambda case: f"gram {case}"):
        _linear(session, case)
    for n, p in session.in_time(session.choose(RBF_SHAPES, REHEARSAL[:1]), lambda shape: f"rbf n, p={shape}"):
        _rbf(session, Case(n, p, torch.float32))


def _linear(session: Session, case: Case) -> None:
    x = session.samples(case.n, case.p, case.dtype, case.mean)
    ours = _ours(x, case)
    contenders = ours | _torchs(x, case, session.device)
    truth = gram_in_float64(x)
    errors = {name: relative_error(call(), truth) for name, call in contenders.items()}
    del truth
    timings = session.stopwatch.race(contenders, session.seconds)
    figures: dict[str, dict[str, object]] = {}
    for name, timing in timings.items():
        figures[name] = {"relative_error": f"{errors[name]:.1e}", "gb_s": f"{x.nbytes / timing.median / 1e9:.0f}"}
        if name in ours:
            floor = gram_floor(case, _products(name, case), session.ceilings)
            figures[name] |= floor_figures(floor, timing.median, goal=_goal(case) if name == OURS else None)
    session.record("gram", case.columns("centered_gram"), timings, figures)


def _ours(x: Tensor, case: Case) -> dict[str, Contender]:
    contenders: dict[str, Contender] = {OURS: lambda: ops.centered_gram(x)}
    if case.dtype == torch.float32:
        contenders[f"{OURS} fast"] = lambda: ops.centered_gram(x, precision="fast")
    if case.n**2 * case.p <= _EXACT_OPERATIONS and case.p <= MILLION / 4:
        contenders[f"{OURS} exact"] = lambda: ops.centered_gram(x, precision="exact")
    return contenders


def _torchs(x: Tensor, case: Case, device: str) -> dict[str, Contender]:
    contenders: dict[str, Contender] = {
        "torch mm + centring": lambda: mm_centred(x),
        "torch centring + mm": lambda: centred_mm(x),
    }
    if case.dtype == torch.float32:
        contenders["torch TF32 mm + centring"] = tensor_float32(lambda: mm_centred(x))
    elif device == "cuda":  # on CPUs torch has no such product
        contenders["torch mm to float32 + centring"] = lambda: mm_in_float32(x)
    if (case.n, case.p, case.mean) in COMPILED or device == "cpu":
        together = compiled(centred_mm, device)
        contenders["torch.compile centring + mm"] = lambda: together(x)
    return contenders


def _products(name: str, case: Case) -> tuple[int, str]:
    """Return how many products an element of the Gram takes, and at which rate: as documented in docs/kernels.md."""
    if name.endswith("exact"):
        return 1, "float64"
    if name.endswith("fast") or (case.dtype == torch.bfloat16 and case.mean == 0):
        return 1, "bf16"
    return 3, "bf16"


def gram_floor(case: Case, products: tuple[int, str], ceilings: Ceilings | None) -> Floor | None:
    """Return the floor of the lower triangle in tiles of 128 (64 up to 64 samples), X read once and K written once."""
    if ceilings is None:
        return None
    tile = 64 if case.n <= 64 else 128
    side = -(-case.n // tile)
    count, rate = products
    operations = count * side * (side + 1) // 2 * tile**2 * 2 * case.p
    return ceilings.floor(case.n * case.p * case.dtype.itemsize + 4 * case.n**2, operations, rate)


def floor_figures(floor: Floor | None, seconds: float, goal: float | None = None) -> dict[str, object]:
    """Return the columns that compare a time with its floor; empty ones where the ceilings are not known."""
    if floor is None:
        return dict.fromkeys(("floor_ms", "bound", "of_floor", "goal", "met"), "")
    share = floor.seconds / seconds
    return {
        "floor_ms": f"{1e3 * floor.seconds:.4g}",
        "bound": floor.bound,
        "of_floor": f"{share:.3f}",
        "goal": "" if goal is None else f"{goal:.2f}",
        "met": "" if goal is None else "yes" if share >= goal else "no",
    }


def _goal(case: Case) -> float | None:
    """Return the share of the floor that is aimed at; none where launches, not work, take the time."""
    if case.p < MILLION:
        return None
    return next((share for most, share in GOALS if case.n <= most), None)


def _rbf_reference(x: Tensor) -> Tensor:
    """Return the centred RBF Gram in float64; the median is the mean of the two middle distances."""
    K = gram_in_float64(x)
    square = (K.diagonal()[:, None] + K.diagonal()[None, :] - 2 * K).clamp_min(0)
    i, j = torch.tril_indices(len(K), len(K), offset=-1, device=K.device)
    distances = square[i, j].sqrt().sort().values
    median = (distances[(len(distances) - 1) // 2] + distances[len(distances) // 2]) / 2
    return double_centred(torch.exp(-square / (2 * median**2)))


def _rbf(session: Session, case: Case) -> None:
    x = session.samples(case.n, case.p, case.dtype)
    contenders: dict[str, Contender] = {
        OURS: lambda: ops.centered_gram(x, kernel="rbf"),
        "torch cdist + exp": lambda: rbf_centred(x),
    }
    truth = _rbf_reference(x)
    timings = session.stopwatch.race(contenders, session.seconds)
    figures: dict[str, dict[str, object]] = {
        name: {"relative_error": f"{relative_error(call(), truth):.1e}"} for name, call in contenders.items()
    }
    floor = gram_floor(case, _products(OURS, case), session.ceilings)
    figures[OURS] |= floor_figures(floor, timings[OURS].median)
    session.record("rbf", case.columns("centered_gram rbf"), timings, figures)
