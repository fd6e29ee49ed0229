"""Many small layers: one grouped call against a loop, a replayed CUDA graph, and what one call costs Python."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.gpu.session import OURS, Session
from benchmarks.plain import packed_unbiased, relative_error
from benchmarks.racing import Contender
from pyscale import ops

# (samples, features of each layer)
GROUPS = [(128, [4096] * 200), (64, [1024 * 2**i for i in range(7) for _ in range(8)]), (256, [2048] * 64)]
REHEARSAL = [(8, [12, 40, 5])]
_SAME = 1e-5  # the relative difference of two float32-grade Grams: their features are split otherwise


def run(session: Session) -> None:
    """Time groups of layers until their result is there, Python included: that is what grouping saves."""
    for n, widths in session.in_time(session.choose(GROUPS, REHEARSAL), lambda group: f"grouped n={group[0]}"):
        xs = [session.samples(n, p, torch.float32) for p in widths]
        grouped = f"{OURS} grouped"
        contenders: dict[str, Contender] = {
            grouped: lambda xs=xs: ops.packed_grams(xs),  # type: ignore[misc]
            f"{OURS} grouped, graph replay": replayed(lambda xs=xs: ops.packed_grams(xs), session.device),  # type: ignore[misc]
            f"{OURS} in a loop": lambda xs=xs: [ops.packed_gram(x) for x in xs],  # type: ignore[misc]
            "torch in a loop": lambda xs=xs: [packed_unbiased(x) for x in xs],  # type: ignore[misc]
        }
        _check(ops.packed_grams(xs).values, xs)
        timings = session.stopwatch.race_on_the_wall(contenders, session.seconds)
        case = {"op": "packed_grams", "n": n, "layers": len(xs), "features": sum(widths)}
        figures = {name: {"us_a_layer": f"{1e6 * timing.median / len(xs):.2f}"} for name, timing in timings.items()}
        session.record("groups", case, timings, figures, ours=grouped)


def replayed(call: Contender, device: str) -> Contender:
    """Return the replay of the call captured in a CUDA graph; the call itself where there is no GPU."""
    if device != "cuda":
        return call
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # capture needs a warm allocator and loaded kernels
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def _check(values: Tensor, xs: list[Tensor]) -> None:
    """Raise unless the grouped call gives what single ones do: what is timed must be right."""
    for i, x in enumerate(xs):
        if relative_error(values[i], ops.packed_gram(x).values.double()) > _SAME:
            raise RuntimeError(f"layer {i} of the grouped call differs from its own Gram")
