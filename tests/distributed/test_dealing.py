"""Sharing minibatches: which rank gets which, of all kinds of loaders, without other processes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset, RandomSampler, TensorDataset

from pyscale.distributed import Crew, Dealt

DATA = TensorDataset(torch.arange(23))


class Numbers(IterableDataset):
    def __iter__(self):
        yield from torch.arange(23)


class Chunks(torch.utils.data.Dataset):
    """A dataset whose items are minibatches."""

    def __len__(self):
        return 6

    def __getitem__(self, k):
        return DATA.tensors[0][4 * k : 4 * k + 4]


LOADERS = {
    "map-style": lambda: DataLoader(DATA, batch_size=4),
    "last one dropped": lambda: DataLoader(DATA, batch_size=4, drop_last=True),
    "shuffled": lambda: DataLoader(DATA, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(3)),
    "batch sampler": lambda: DataLoader(
        DATA, batch_sampler=BatchSampler(RandomSampler(DATA, generator=torch.Generator().manual_seed(3)), 5, False)
    ),
    "list of batches as sampler": lambda: DataLoader(DATA, batch_sampler=[[3, 1], [4, 1, 5], [9]]),
    "items are batches": lambda: DataLoader(Chunks(), batch_size=None),
    "stream": lambda: DataLoader(Numbers(), batch_size=4),
    "list": lambda: [torch.arange(4 * k, 4 * k + 4) for k in range(5)],
    "generator": lambda: (torch.arange(4 * k, 4 * k + 4) for k in range(5)),
    "strings": lambda: ["one", "two", "three"],
    "nothing": list,
}


def values(batch):
    batch = batch[0] if isinstance(batch, list | tuple) else batch
    return batch.tolist() if isinstance(batch, torch.Tensor) else batch


def dealt(make, size, **options):
    """Return every rank's numbered minibatches."""
    return [
        [(number, values(batch)) for number, batch in Dealt(make(), Crew(rank, size), **options)]
        for rank in range(size)
    ]


@pytest.mark.parametrize("name", LOADERS)
@given(size=st.integers(1, 9), most=st.none() | st.integers(1, 9))
def test_all_shares_together_are_what_one_process_sees(name, size, most):
    whole = [(number, values(batch)) for number, batch in enumerate(LOADERS[name]())][:most]
    shares = dealt(LOADERS[name], size, most=most)
    assert sorted(item for share in shares for item in share) == whole
    for rank, share in enumerate(shares):
        assert [number for number, _ in share] == list(range(rank, len(whole), size))


def test_a_loader_reads_its_own_share_only():
    read = []

    class Watched(torch.utils.data.Dataset):
        def __len__(self):
            return 20

        def __getitem__(self, k):
            read.append(k)
            return torch.tensor(k)

    list(Dealt(DataLoader(Watched(), batch_size=4), Crew(1, 2)))
    assert read == [4, 5, 6, 7, 12, 13, 14, 15]


@pytest.mark.parametrize(("shuffle", "drop_last"), [(True, False), (False, False), (True, True)])
def test_a_distributed_sampler_repeats_and_drops_nothing(shuffle, drop_last):
    def make():
        sampler = DistributedSampler(DATA, 4, 2, shuffle=shuffle, drop_last=drop_last, seed=5)
        sampler.set_epoch(3)
        return DataLoader(DATA, batch_size=4, sampler=sampler)

    seen = [value for share in dealt(make, 3) for _, batch in share for value in batch]
    assert sorted(seen) == list(range(23))
    first = next(batch for number, batch in dealt(make, 3)[0] if number == 0)
    order = torch.randperm(23, generator=torch.Generator().manual_seed(5 + 3)).tolist()
    assert first == (order[:4] if shuffle else [0, 1, 2, 3])


def test_own_shares_are_taken_whole_and_numbered_apart():
    shares = [[(n, b) for n, b in Dealt([rank, rank], Crew(rank, 3), sharding="own", most=5)] for rank in range(3)]
    assert shares == [[(0, 0), (3, 0)], [(1, 1), (4, 1)], [(2, 2)]]


def test_equal_loaders_have_equal_fingerprints_and_others_have_not():
    def fingerprint(loader, rank=0):
        share = Dealt(loader, Crew(rank, 2))
        list(share)
        return share.fingerprint()

    for name in ("map-style", "stream", "list"):
        assert fingerprint(LOADERS[name](), 0) == fingerprint(LOADERS[name](), 1)
    assert fingerprint(DataLoader(DATA, batch_size=4)) != fingerprint(DataLoader(DATA, batch_size=4, shuffle=True))
    assert fingerprint([torch.zeros(3)]) != fingerprint([torch.ones(3)])
    assert fingerprint([{"x": torch.zeros(3)}] * 2) != fingerprint([{"x": torch.zeros(3)}] * 3)


class OwnBatches(BatchSampler):
    pass


class OwnShares(DistributedSampler):
    def __iter__(self):
        return iter(range(self.rank, 23, 4))


class OwnLoader(DataLoader):
    def __iter__(self):
        return super().__iter__()


class Split(Numbers):
    _distributed = SimpleNamespace(world_size=4)  # what Hugging Face's streams say of themselves


REFUSED = {
    "own batch sampler": lambda: DataLoader(DATA, batch_sampler=OwnBatches(DistributedSampler(DATA, 4, 0), 4, False)),
    "own shares": lambda: DataLoader(DATA, batch_size=4, sampler=OwnShares(DATA, 4, 0)),
    "own loader": lambda: OwnLoader(DATA, batch_size=4, sampler=DistributedSampler(DATA, 4, 0)),
    "a split stream": lambda: DataLoader(Split(), batch_size=4),
}


@pytest.mark.parametrize("name", REFUSED)
def test_shares_that_cannot_be_seen_through_are_refused_with_what_to_do(name):
    with pytest.raises(ValueError, match=r"^loader_y.*sharding='own'"):
        Dealt(REFUSED[name](), Crew(0, 2), "loader_y")
    Dealt(REFUSED[name](), Crew(0, 2), sharding="own")
    Dealt(REFUSED[name](), Crew())
