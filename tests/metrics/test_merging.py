"""Metrics across real processes: every rank gets what one process would have computed."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pyscale.distributed import PeerError
from pyscale.metrics import AllPairsMoments, MinibatchCKA, PermutationNull, StreamingCCA, StreamingCKA, sync
from pyscale.ops import packed_gram
from tests.metrics.samples import correlated

SHARES = {"uneven": ([0, 2, 3], [1]), "one rank empty": ([], [0, 1, 2, 3])}


def minibatches():
    return [correlated(t, n, 4, 3) for t, n in enumerate((8, 20, 5, 12))]


def gathered(indices):
    """Return all kinds of metrics of the given minibatches."""
    metrics = [StreamingCKA(), StreamingCCA(ridge=0.1), MinibatchCKA(), AllPairsMoments(), PermutationNull(3)]
    for x, y in (minibatches()[i] for i in indices):
        for metric in metrics[:2]:
            metric.update(x, y)
        for metric in metrics[2:4]:
            metric.update({"conv": x}, {"head": y})
        v, w = (packed_gram(torch.from_numpy(a)).values[None] for a in (x, y))
        metrics[4].update_packed(v, w, len(x))
    return metrics


def join(rank, world, folder):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=world,
        timeout=datetime.timedelta(seconds=120),
    )


def worker(rank, folder):
    join(rank, 2, folder)
    results = {}
    for name, shares in SHARES.items():
        metrics = gathered(shares[rank])
        before = [metric.state_dict() for metric in metrics]
        results[name] = [sync(metric).state_dict() for metric in metrics]
        assert [m.state_dict().keys() for m in metrics] == [b.keys() for b in before]
        results[name, "own"] = [metric.state_dict() for metric in metrics]
    mismatched = StreamingCKA(estimator=("unbiased", "biased")[rank])
    try:
        sync(mismatched)
        results["mismatch"] = "no error"
    except (ValueError, PeerError) as error:
        results["mismatch"] = f"{type(error).__name__}: {error}"
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gloo")
    mp.spawn(worker, args=(str(folder),), nprocs=2, join=True)
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("shares", SHARES)
def test_every_rank_gets_the_whole(ranks, shares):
    assert equal(ranks[0][shares], ranks[1][shares])  # to the bit
    order = [*SHARES[shares][0], *SHARES[shares][1]]
    for state, metric, fresh in zip(ranks[0][shares], gathered(order), gathered([]), strict=True):
        if isinstance(metric, PermutationNull):
            continue  # its ranks number their minibatches, and so permute them, by themselves
        found, expected = fresh.load_state_dict(state).compute(), metric.compute()
        for attribute in ("correlations", "values"):
            found, expected = getattr(found, attribute, found), getattr(expected, attribute, expected)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_permutation_sums_add_up(ranks):
    for shares, parts in SHARES.items():
        sums = sum(gathered(part)[4].compute() for part in parts if part)
        np.testing.assert_allclose(ranks[0][shares][4]["state"]["sums"].numpy(), sums, rtol=1e-12)


def test_the_metrics_themselves_keep_their_share(ranks):
    for rank in range(2):
        for state, metric in zip(ranks[rank]["uneven", "own"], gathered(SHARES["uneven"][rank]), strict=True):
            assert equal(state, metric.state_dict())


def test_other_options_on_another_rank_are_an_error_on_every_rank(ranks):
    told = "state_dict has estimator='biased'; this one has estimator='unbiased'"
    assert ranks[0]["mismatch"] == f"ValueError: {told}"
    assert ranks[1]["mismatch"].startswith("PeerError: rank 0 of 2 (on ")
    assert ranks[1]["mismatch"].endswith(f"failed: ValueError: {told}")


def test_alone_it_is_a_copy():
    metric = gathered([0])[0]
    copied = sync(metric)
    copied.update(*minibatches()[1])
    assert metric.n == 8
    assert copied.n == 28


def test_what_is_no_metric_is_refused_by_name():
    with pytest.raises(TypeError, match="metric is a int; expected a streaming metric"):
        sync(3)
