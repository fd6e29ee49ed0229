"""Comparisons that one process and several are to agree on; as a module, all of them on every rank of torchrun."""

from __future__ import annotations

import os
import sys
import warnings

import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, TensorDataset

import pyscale as ps

N, BATCH = 70, 16  # five minibatches, the last of six samples


def pictures(n=N, seed=5):
    return torch.randn(n, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def networks():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 7))
        y = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(20, 6))
    return x, y


class Stream(IterableDataset):
    def __iter__(self):
        yield from pictures()


def loader(n=N, batch=BATCH, **options):
    return DataLoader(TensorDataset(pictures(n)), batch_size=batch, **options)


def distributed_loader(rank, size, **options):
    data = TensorDataset(pictures())
    sampler = DistributedSampler(data, size, rank, **options)
    return DataLoader(data, batch_size=BATCH, sampler=sampler)


class Unlike:
    """The whole order of a DistributedSampler, written down by its own rule: what one process is to see."""

    def __init__(self, shuffle, seed=3):
        generator = torch.Generator().manual_seed(seed)
        self.order = torch.randperm(N, generator=generator).tolist() if shuffle else list(range(N))

    def batches(self):
        data = pictures()
        return [(data[self.order[k : k + BATCH]],) for k in range(0, N, BATCH)]


def compared(batches, **options):
    x, y = networks()
    return ps.compare(x, y, batches, progress=False, **options)


def coarse(n=N):
    return DataLoader(TensorDataset(nn.functional.interpolate(pictures(n), size=8)), batch_size=BATCH)


def wide_networks():
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())


def two_loaders():
    x, y = wide_networks()
    return ps.compare(x, y, loader(), loader_y=coarse(), progress=False)


def own_share(rank, size):
    batches = list(loader())
    return compared(batches[rank::size], sharding="own") if size > 1 else compared(batches)


def shuffled(rank):
    torch.manual_seed(100 + rank)  # every rank's own: rank 0's decides
    return compared(loader(shuffle=True))


def many(**options):
    """Return one comparison that depends on all pairs of three models: the tables side by side, of one pair."""
    x, y = networks()
    found = ps.compare_many({"x": x, "y": y, "z": networks()[0]}, loader(), progress=False, **options)
    return found["x", "y"]


# Each takes (rank, size); one process is (0, 1).
SCENARIOS = {
    "map-style": lambda rank, size: compared(loader()),
    "a set with itself": lambda rank, size: ps.compare(*[networks()[0]] * 2, loader(), progress=False),
    "shuffled": lambda rank, size: shuffled(rank),
    "shuffled by a generator": lambda rank, size: compared(
        loader(shuffle=True, generator=torch.Generator().manual_seed(rank))
    ),
    "workers": lambda rank, size: compared(loader(num_workers=1)),
    "list": lambda rank, size: compared(list(loader())),
    "stream": lambda rank, size: compared(DataLoader(Stream(), batch_size=BATCH)),
    "generator": lambda rank, size: compared(batch for batch in loader()),
    "one minibatch": lambda rank, size: compared(loader(10)),
    "at most three": lambda rank, size: compared(loader(), max_batches=3),
    "a small last one": lambda rank, size: compared(loader(66)),
    "70 minibatches": lambda rank, size: compared(loader(350, 5)),  # more than there are blocks for the error
    "permutations": lambda rank, size: compared(loader(), permutations=19, seed=4),
    "rbf": lambda rank, size: compared(loader(), kernel="rbf", bandwidth=0.5),
    "two loaders": lambda rank, size: two_loaders(),
    "exact": lambda rank, size: compared(loader(), mode="exact", features="pool"),
    "cca_r2": lambda rank, size: compared(loader(), metric="cca_r2", features="pool"),
    "procrustes of one minibatch": lambda rank, size: compared(loader(10), metric="procrustes", features="pool"),
    "positions": lambda rank, size: ps.compare(
        *wide_networks(), loader(), mode="exact", features="positions", progress=False
    ),
    "many models": lambda rank, size: many(),
    "many models, exact": lambda rank, size: many(metric="cca_r2", features="pool"),
    "own shares": own_share,
    "DistributedSampler": lambda rank, size: compared(
        distributed_loader(rank, size, shuffle=True, seed=3) if size > 1 else Unlike(True).batches()
    ),
    "DistributedSampler in order": lambda rank, size: compared(
        distributed_loader(rank, size, shuffle=False) if size > 1 else Unlike(False).batches()
    ),
}


def poisoned(rank, size):
    data = pictures()
    data[BATCH] = torch.nan  # of minibatch 1, which rank 1 sees
    return compared(DataLoader(TensorDataset(data), batch_size=BATCH))


def other_weights(rank, size):
    torch.manual_seed(rank)
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
    return ps.compare(model, model, loader(), progress=False)


FAULTS = {
    "NaN": poisoned,
    "other weights": other_weights,
    "other options": lambda rank, size: compared(loader(), seed=rank),
    "shares not told": lambda rank, size: compared(list(loader())[rank::size]),
    "nothing": lambda rank, size: compared([]),
    "other length": lambda rank, size: two_loaders() if rank == 0 else compared(loader()),
}


def main(folder):
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.manual_seed(rank)
    found = {}
    for name, run in SCENARIOS.items():
        before = torch.random.get_rng_state() if name == "map-style" else None
        found[name] = run(rank, size).state()
        if before is not None:
            found["random numbers as before"] = torch.equal(before, torch.random.get_rng_state())
    found["no group is left"] = not torch.distributed.is_initialized()
    alone = compared(loader(), sharding="none", max_batches=rank + 1)
    found["alone"] = alone.meta["batches"]
    for name, run in FAULTS.items():
        try:
            run(rank, size)
            found[name] = "no error"
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    torch.save(found, f"{folder}/{rank}.pt")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1])
