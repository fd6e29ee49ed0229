"""A whole comparison beside its own forward passes and beside the rival that keeps every activation.

ResNet-50 with ResNet-101, convolution and linear layers, pictures of 224 pixels, minibatches of 256, float32 with TF32
convolutions. The pictures are on the device before the clock starts: loading is not what is compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

import pyscale as ps
from benchmarks.gpu.session import OURS, Session
from benchmarks.plain import unbiased_centred
from benchmarks.racing import Contender

LAYERS = (nn.Conv2d, nn.Linear)
GOAL = 1.2  # times the forward passes, at most
RIVAL = "all activations kept, one einsum"
Pictures = Sequence[Tensor]


def run(session: Session) -> None:
    """Time a few minibatches through both networks."""
    names = session.choose(("resnet50", "resnet101"), ("cifar_resnet8", "cifar_resnet14"))
    batch, pixels, batches = session.choose((256, 224, 4), (6, 32, 2))
    torch.backends.cudnn.allow_tf32 = True  # torch's default, said aloud
    torch.backends.cudnn.benchmark = True  # the same shapes come again and again
    torch.manual_seed(0)
    models = [ps.models.build(name).eval().to(session.device) for name in names]
    pictures = [torch.randn(batch, 3, pixels, pixels, device=session.device) for _ in range(batches)]
    contenders: dict[str, Contender] = {
        OURS: lambda: ps.compare(models[0], models[1], pictures, layers=list(LAYERS), progress=False),
        "forward passes": lambda: forwards(models, pictures),
        RIVAL: lambda: keep_everything(models, pictures),
    }
    values = torch.from_numpy(ps.compare(*models, pictures, layers=list(LAYERS), progress=False).values)
    difference = _largest_difference(session, values, models, pictures, contenders)
    peaks = {name: session.peak_mib(call) for name, call in contenders.items()}
    timings = session.stopwatch.race_on_the_wall(contenders, session.choose(1.0, 0.01))
    forward = timings["forward passes"].median
    figures: dict[str, dict[str, object]] = {
        name: {
            "ms_a_batch": f"{1e3 * timing.median / batches:.4g}",
            "times_forwards": f"{timing.median / forward:.3f}",
            "peak_mib": f"{peaks[name]:.0f}",
            "peak_above_forwards_mib": f"{peaks[name] - peaks['forward passes']:.0f}",
        }
        for name, timing in timings.items()
    }
    met = "yes" if timings[OURS].median <= GOAL * forward else "no"
    figures[OURS] |= {"goal": GOAL, "met": met, "difference_from_rival": f"{difference:.1e}"}
    shape = {"layers": f"{values.shape[0]} x {values.shape[1]}", "batch": batch, "batches": batches, "pixels": pixels}
    session.record("compare", {"op": "compare", "models": " vs ".join(names), **shape}, timings, figures)


def _largest_difference(
    session: Session, values: Tensor, models: list[nn.Module], pictures: Pictures, contenders: dict[str, Contender]
) -> float:
    """Return how far the rival is from our values; where its activations do not fit, it leaves the race."""
    try:
        return float((keep_everything(models, pictures).cpu() - values).abs().max())
    except torch.OutOfMemoryError:
        session.skipped.append(f"compare, {RIVAL}: out of memory")
        del contenders[RIVAL]
        return float("nan")


def forwards(models: list[nn.Module], pictures: Pictures) -> None:
    """Only the forward passes."""
    with torch.inference_mode():
        for x in pictures:
            for model in models:
                model(x)


def keep_everything(models: list[nn.Module], pictures: Pictures) -> Tensor:
    """Minibatch CKA by the algorithm of the fastest rival known to us (pytorch-cka 1.1), written anew.

    Every activation of both networks is held, then every float32 Gram of both; each is formed once, and all pairs are
    one contraction a minibatch. Minibatches weigh alike.
    """
    cross, squares_x, squares_y = 0.0, 0.0, 0.0
    for x in pictures:
        held = [activations(model, x) for model in models]
        U, V = (torch.stack([unbiased_centred(a @ a.T) for a in side]) for side in held)
        cross = cross + torch.einsum("aij,bij->ab", U, V)
        squares_x = squares_x + torch.einsum("aij,aij->a", U, U)
        squares_y = squares_y + torch.einsum("aij,aij->a", V, V)
    values: Tensor = cross / (squares_x[:, None] * squares_y[None, :]).sqrt()  # type: ignore[index]
    return values


def activations(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the flattened outputs of the compared layers, in forward order."""
    held: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _, __, out: held.append(out.flatten(1)))
        for module in model.modules()
        if isinstance(module, LAYERS)
    ]
    with torch.inference_mode():
        model(x)
    for hook in hooks:
        hook.remove()
    return held
