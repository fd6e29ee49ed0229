"""What joins layers: all-pairs HSIC sums, streaming co-moments, nuclear norms of many whitened cross products."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.gpu.grams import floor_figures
from benchmarks.gpu.rivals import tensor_float32
from benchmarks.gpu.session import OURS, Session
from benchmarks.plain import relative_error
from benchmarks.racing import Contender, Timing
from pyscale import _native, ops
from pyscale.metrics.spectra import polar_nuclear_norms
from pyscale.ops.native import matrix

HSIC = [(400, 64), (400, 256), (400, 1024)]  # layers of both models together, samples
MOMENTS = [(1024, 768), (8192, 768), (1024, 4096), (8192, 4096)]  # samples, features
NUCLEAR = [(256, 64), (128, 256), (32, 512)]  # pairs, rank of each side
REHEARSAL_HSIC, REHEARSAL_MOMENTS, REHEARSAL_NUCLEAR = [(5, 9)], [(20, 7)], [(4, 6)]
_SINGLE = 3  # matrices whose factorization is timed for all of a batch


def run(session: Session) -> None:
    """Time each beside the library routine that would do it."""
    cases = session.choose(HSIC, REHEARSAL_HSIC)
    for layers, n in session.in_time(cases, lambda case: f"hsic layers, n={case}"):
        _hsic(session, layers, n)
    cases = session.choose(MOMENTS, REHEARSAL_MOMENTS)
    for n, p in session.in_time(cases, lambda case: f"moments n, p={case}"):
        _self_moments(session, n, p)
        _cross_moments(session, n, p)
    cases = session.choose(NUCLEAR, REHEARSAL_NUCLEAR)
    for pairs, rank in session.in_time(cases, lambda case: f"nuclear pairs, rank={case}"):
        _nuclear(session, pairs, rank)


def _hsic(session: Session, layers: int, n: int) -> None:
    v = session.samples(layers, n * (n - 1) // 2, torch.float32) - 0.4  # packed U-centred Grams have both signs
    contenders: dict[str, Contender] = {
        OURS: lambda: ops.hsic_pairs(v, v),
        "torch float64 mm": lambda: v.double() @ v.double().T,
        "torch float32 mm": lambda: v @ v.T,
        "torch TF32 mm": tensor_float32(lambda: v @ v.T),
    }
    operations = layers * (layers + 1) * v.shape[1]
    figures = _errors(contenders, v.double() @ v.double().T)
    timings = session.stopwatch.race(contenders, session.seconds)
    _add_floor(session, figures, timings, v.nbytes + 8 * layers**2, operations)
    session.record("hsic", {"op": "hsic_pairs", "layers": layers, "n": n}, timings, figures)


def _self_moments(session: Session, n: int, p: int) -> None:
    x = session.samples(n, p, torch.float32)
    mean = x.mean(dim=0, dtype=torch.float64)
    S = torch.zeros((p, p), dtype=torch.float64, device=x.device)

    def torchs() -> Tensor:
        centred = x.double() - mean
        return S.addmm_(centred.T, centred)

    contenders: dict[str, Contender] = {OURS: lambda: ops.add_moments_(S, x, mean), "torch float64 addmm": torchs}
    _race_moments(session, "self moments", S, contenders, n * p * 4 + 16 * p * p, n * p * (p + 1), (n, p))


def _cross_moments(session: Session, n: int, p: int) -> None:
    x, y = session.samples(n, p, torch.float32), session.samples(n, p + 1, torch.float32)[:, 1:]
    a, b = (z.mean(dim=0, dtype=torch.float64) for z in (x, y))
    S = torch.zeros((p, p), dtype=torch.float64, device=x.device)
    contenders: dict[str, Contender] = {
        OURS: lambda: ops.add_moments_(S, x, a, y, b),
        "torch float64 addmm": lambda: S.addmm_((x.double() - a).T, y.double() - b),
    }
    if session.device == "cuda":  # the op leaves these to cuBLAS: whether rightly, is asked here
        contenders = {f"{OURS}, own kernel": lambda: own_cross_moments(S, x, a, y, b), **contenders}
    _race_moments(session, "cross moments", S, contenders, 2 * n * p * 4 + 16 * p * p, 2 * n * p * p, (n, p))


def own_cross_moments(S: Tensor, x: Tensor, a: Tensor, y: Tensor, b: Tensor) -> None:
    """Add the co-moments of two sets by the package's kernel."""
    index, stream = x.device.index or 0, torch.cuda.current_stream().cuda_stream
    size = _native.cuda_moments_workspace(x.shape[1], y.shape[1], len(x), index)
    workspace = x.new_empty((1, size), dtype=torch.float64)
    _native.cuda_cross_moments(
        matrix(S), matrix(x), matrix(a[None]), matrix(y), matrix(b[None]), matrix(workspace), index, stream
    )


def _race_moments(
    session: Session,
    op: str,
    S: Tensor,
    contenders: dict[str, Contender],
    moved: int,
    operations: int,
    shape: tuple[int, int],
) -> None:
    """Time what adds to ``S``; the error is that of one addition to zeros, against the last contender's."""

    def added(call: Contender) -> Tensor:
        S.zero_()
        call()
        return S.clone()

    *_, rival = contenders.values()
    truth = added(rival)
    figures: dict[str, dict[str, object]] = {
        name: {"relative_error": f"{relative_error(added(call), truth):.1e}"} for name, call in contenders.items()
    }
    timings = session.stopwatch.race(contenders, session.seconds)
    _add_floor(session, figures, timings, moved, operations)
    session.record("moments", {"op": op, "n": shape[0], "p": shape[1], "dtype": "float32"}, timings, figures)


def _nuclear(session: Session, pairs: int, rank: int) -> None:
    """Nuclear norms of many cross products; of the loop over decompositions, a few are timed and the rest inferred."""
    q = [torch.linalg.qr(session.samples(4 * rank, pairs * rank, torch.float32)[:, i::pairs])[0] for i in range(pairs)]
    M = torch.stack([a.mT @ b for a, b in zip(q, q[1:] + q[:1], strict=True)]).double()
    few = M[:_SINGLE]

    def loop() -> Tensor:
        return torch.stack([torch.linalg.svdvals(a).sum() for a in few])

    rival = "torch svdvals in a loop (inferred)"
    timings = session.stopwatch.race_on_the_wall({OURS: lambda: polar_nuclear_norms(M), rival: loop}, session.seconds)
    timings[rival] = Timing(tuple(seconds * pairs / len(few) for seconds in timings[rival].seconds))
    figures: dict[str, dict[str, object]] = {
        OURS: {"relative_error": f"{relative_error(polar_nuclear_norms(M)[:_SINGLE], loop()):.1e}"}
    }
    session.record("nuclear", {"op": "nuclear norms", "pairs": pairs, "rank": rank}, timings, figures)


def _errors(contenders: dict[str, Contender], truth: Tensor) -> dict[str, dict[str, object]]:
    errors: dict[str, dict[str, object]] = {}
    for name, call in contenders.items():
        found = call()
        assert isinstance(found, Tensor)
        errors[name] = {"relative_error": f"{relative_error(found, truth):.1e}"}
    return errors


def _add_floor(
    session: Session, figures: dict[str, dict[str, object]], timings: dict[str, Timing], moved: int, operations: int
) -> None:
    floor = None if session.ceilings is None else session.ceilings.floor(moved, operations, "float64")
    figures[OURS] |= floor_figures(floor, timings[OURS].median)
