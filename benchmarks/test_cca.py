"""Streaming co-moments beside torch's and NumPy's products, and exact similarities of all pairs of layers beside loops.

All pairs are gathered in one update from float32 layers, as ``compare(mode="exact")`` does, whitened after; or whitened
first, where all samples are in memory. There a pair costs less the more layers there are, so that is measured with 50
as well. Textbooks take their time pair by pair, so a few pairs are enough to know what all would take: one inverts
covariances, which squares their condition numbers; one is the definition, by orthonormal bases.
"""

from __future__ import annotations

import functools
import time
import warnings

import numpy as np
import pytest
import torch

from benchmarks import rivals, textbook
from benchmarks.sizes import choose
from pyscale.metrics import AllPairsMoments, cca_matrix
from pyscale.ops import add_moments_

SHAPES = [
    *((32, p) for p in (64, 512, 2048)),
    *((64, p) for p in (64, 512, 2048, 4096)),
    *((256, p) for p in (64, 512, 1024, 2048)),
    *((1024, p) for p in (64, 512, 1024, 2048, 4096)),
    *((4096, p) for p in (64, 512, 1024)),
]
OURS = "pyscale"
IN_MEMORY = "pyscale cca_matrix, all samples in memory"
SUMMARIES = {"mean CCA": "mean", "R²": "r2"}
TEXTBOOKS = {
    "numpy textbook, 4 pairs": textbook.canonical_correlations,
    "numpy by thin SVDs, 4 pairs": textbook.canonical_correlations_by_svd,
    "numpy as SVCCA's authors, 4 pairs": textbook.canonical_correlations_as_svcca,
}
ZOO = "cca-zoo CCA, 4 pairs"
RESULTS = {
    "mean CCA": ("cca", lambda rho: rho.mean()),
    "R²": ("cca_r2", lambda rho: (rho**2).mean()),
}


def samples(n, p, seed):
    x = torch.randn(n, p, generator=torch.Generator().manual_seed(seed)) + 3
    mean = x.double().mean(dim=0)
    return x, mean, x.double() - mean


@pytest.mark.parametrize(("n", "p"), choose(SHAPES, [(8, 5)]), ids=lambda size: str(size))
@pytest.mark.parametrize("op", ["self", "cross"])
def test_co_moments(beside, op, n, p):
    """Ours take float32 activations and their means; products of others have float64 ones, centred before the clock."""
    x, a, centred_x = samples(n, p, 0)
    y, b, centred_y = (x, a, centred_x) if op == "self" else samples(n, p, 1)
    numpy_x, numpy_y = centred_x.numpy(), centred_y.numpy()  # of one array NumPy forms half
    product = np.empty((p, p))
    own, theirs = (torch.zeros(p, p, dtype=torch.float64) for _ in range(2))

    def ours():
        return add_moments_(own, x, a) if op == "self" else add_moments_(own, x, a, y, b)

    contenders = {
        "torch addmm_, centred before": lambda: theirs.addmm_(centred_x.T, centred_y),
        "torch centring and addmm_": lambda: theirs.addmm_((x.double() - a).T, y.double() - b),
        "numpy x.T @ y, centred before": lambda: np.matmul(numpy_x.T, numpy_y, out=product),
    }
    truth = centred_x.T @ centred_y
    error = float((ours() - truth).norm() / truth.norm())
    assert error < 1e-13
    operations = n * p * (p + 1) if op == "self" else 2 * n * p * p
    case = {"op": f"{op} co-moments", "n": n, "p": p}
    beside("moments", case, ours, contenders, operations=operations, peak="float64", errors={"pyscale": error})


def layers(count, n, p, seed):
    """Rectified features that share factors, so that correlations are spread from nearly 0 to nearly 1."""
    generator = torch.Generator().manual_seed(99)
    factors = torch.randn(n, 64, generator=generator)
    generator.manual_seed(seed)
    mixed = (factors @ torch.randn(64, p, generator=generator) for _ in range(count))
    return {str(i): (x + 3 * torch.randn(n, p, generator=generator)).relu_() for i, x in enumerate(mixed)}


def mean_by_cca_zoo(x, y):
    return np.asarray(rivals.module("cca-zoo").CCA(n_components=min(x.shape[1], y.shape[1])).fit([x, y]).score([x, y]))


def gathered(xs, ys):
    return AllPairsMoments().update(xs, ys)


def stage_by_stage(xs, ys):
    """Return the moments, and what share of the time of both tables gathering, whitening, products and norms take."""
    clock = [time.perf_counter()]
    moments = gathered(xs, ys)
    clock.append(time.perf_counter())
    moments.chance_cca_r2()  # whitens
    clock.append(time.perf_counter())
    moments.cca_r2()  # products, and sums of squares
    clock.append(time.perf_counter())
    moments.cca()  # products once more, and singular values
    clock.append(time.perf_counter())
    gathering, whitening, products, both = np.diff(clock)
    stages = {"co_moments": gathering, "whitening": whitening, "products": products, "norms": max(both - products, 0)}
    total = sum(stages.values())
    return moments, {name: f"{seconds / total:.2f}" for name, seconds in stages.items()}


@pytest.mark.parametrize(("L", "n", "p"), choose([(10, 5000, 512), (10, 2000, 128)], [(2, 60, 5)]))
@pytest.mark.parametrize("result", RESULTS)
def test_all_pairs(beside, result, L, n, p):
    method, summary = RESULTS[result]
    xs, ys = layers(L, n, p, 0), layers(L, n, p, 1)
    few, loop = few_pairs(xs, ys, summary)
    moments, stages = stage_by_stage(xs, ys)
    table = getattr(moments, method)()
    in_memory = cca_matrix(xs, ys, summary=SUMMARIES[result]).numpy()
    assert np.abs(in_memory - table).max() < 1e-6, "in the type of its inputs, float32"
    ours = np.array([table[int(i), int(j)] for i, j in few])
    others = {name: functools.partial(loop, of_pair) for name, of_pair in textbooks(result).items()}
    difference = max(float(np.abs(ours - others[name]()).max()) for name in TEXTBOOKS)
    assert difference < 1e-8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        beside(
            "cca",
            {"op": f"{result}, all pairs", "layers": f"{L} × {L}", "n": n, "p": p},
            lambda: getattr(gathered(xs, ys), method)(),
            {
                IN_MEMORY: lambda: cca_matrix(xs, ys, summary=SUMMARIES[result]),
                **others,
            },
            rounds=choose(2, 1),
            errors={OURS: difference},
            figures=lambda timings: times_a_pair(timings, L * L, len(few), others, stages),
        )


@pytest.mark.parametrize(("L", "n", "p"), choose([(50, 5000, 512)], [(2, 60, 5)]))
@pytest.mark.parametrize("result", RESULTS)
def test_all_pairs_in_memory(beside, result, L, n, p):
    xs, ys = layers(L, n, p, 0), layers(L, n, p, 1)
    few, loop = few_pairs(xs, ys, RESULTS[result][1])
    table = cca_matrix(xs, ys, summary=SUMMARIES[result]).numpy()
    others = {name: functools.partial(loop, of_pair) for name, of_pair in textbooks(result).items()}
    difference = max(
        float(np.abs([table[int(i), int(j)] for i, j in few] - np.array(others[name]())).max()) for name in TEXTBOOKS
    )
    assert difference < 1e-6, "in the type of its inputs, float32"
    beside(
        "cca",
        {"op": f"{result}, all pairs in memory", "layers": f"{L} × {L}", "n": n, "p": p},
        lambda: cca_matrix(xs, ys, summary=SUMMARIES[result]),
        others,
        rounds=choose(2, 1),
        errors={OURS: difference},
        figures=lambda timings: times_a_pair(timings, L * L, len(few), others, {}),
    )


def textbooks(result):
    return TEXTBOOKS | ({ZOO: mean_by_cca_zoo} if result == "mean CCA" and rivals.module("cca-zoo") else {})


def few_pairs(xs, ys, summary):
    """Return a few pairs of layers, and a function that summarises the correlations of each."""
    few = [(i, j) for i in list(xs)[:2] for j in list(ys)[:2]]

    def loop(correlations):
        pairs = ((xs[i].numpy().astype(np.float64), ys[j].numpy().astype(np.float64)) for i, j in few)
        return [summary(correlations(x, y)) for x, y in pairs]

    return few, loop


def times_a_pair(timings, pairs, few, others, stages):
    """Return times of all pairs: those of who was given a few are proportional to their number."""
    each = {name: 1e3 * t.median / (few if name in others else pairs) for name, t in timings.items()}
    return {
        name: {
            "ms_a_pair": f"{ms:.4g}",
            "a_pair_times_ours": f"{ms / each[OURS]:.1f}",
            **(stages if name == OURS else dict.fromkeys(stages, "")),
        }
        for name, ms in each.items()
    }
