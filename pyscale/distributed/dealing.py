"""Dealing a loader's minibatches out to processes: each is seen by one, and all together by everybody."""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, IterableDataset

from pyscale.distributed.crew import Crew

Sharding = Literal["auto", "own", "none"]
Numbered = tuple[int, Any]  # a minibatch and its number among those of all processes

_FEW = 256  # bytes of a batch's first tensor that tell it from others


def check_sharding(sharding: str) -> None:
    """Raise ValueError unless it is one of the three ways."""
    if sharding not in get_args(Sharding):
        raise ValueError(f"sharding is {sharding!r}; expected 'auto', 'own' or 'none'")


class Dealt:
    """This process's minibatches of a loader, numbered as one process would have numbered all of them.

    Rank r of W gets minibatches r, r + W, r + 2 W, ..., which are those of one process whatever W is:

    - of a ``DataLoader`` over a map-style dataset, only its own are read. Whatever its sampler draws, a
      ``DistributedSampler`` is seen through: its order counts, without the samples that it repeats to make shares even;
    - any other iterable is read whole by every process, which passes over the others' minibatches.

    With ``sharding="own"`` the loader has only this process's share already, and all of it is taken.

    Args:
        loader: An iterable of minibatches.
        crew: The processes.
        argument: What errors call the loader.
        sharding: "auto" or "own".
        most: Minibatches that all processes take together; None is all there are.

    Attributes:
        loader: The loader.
        most: As given.

    Raises:
        ValueError: The loader's samplers deal out samples in a way that can't be seen through.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        crew: Crew,
        argument: str = "loader",
        *,
        sharding: Sharding = "auto",
        most: int | None = None,
    ) -> None:
        self.loader, self.most = loader, most
        self._crew, self._argument = crew, argument
        self._digest = hashlib.blake2b(digest_size=16)
        self._seen = 0  # minibatches that went into the digest
        self._own = sharding == "own" and not crew.alone
        self._sampler: Iterable[Any] | None = None
        if not self._own and not crew.alone:
            _refuse_split(loader, argument)
            self._sampler = _whole_sampler(loader, argument)

    def __iter__(self) -> Iterator[Numbered]:
        crew = self._crew
        if crew.alone or self._own:
            for k, batch in enumerate(self.loader):
                number = k * crew.size + crew.rank
                if self.most is not None and number >= self.most:
                    return
                yield number, batch
        elif self._sampler is not None:
            loader = _over(cast("DataLoader[Any]", self.loader), self._my_indices(self._sampler))
            yield from zip(_numbers(crew), loader, strict=False)
        else:
            for number, batch in self._up_to_most(self.loader):
                self._note(_glimpse(batch))
                if number % crew.size == crew.rank:
                    yield number, batch

    def fingerprint(self) -> dict[str, Any]:
        """Return what is the same on all processes, once each has come to its end, if they dealt out the same."""
        if self._crew.alone or self._own:
            return {}
        digest = {"minibatches": self._seen, "order": self._digest.hexdigest()}
        return {f"{name} of {self._argument}": value for name, value in digest.items()}

    def _my_indices(self, sampler: Iterable[Any]) -> Iterator[Any]:
        for number, indices in self._up_to_most(sampler):
            self._note(repr(indices).encode())
            if number % self._crew.size == self._crew.rank:
                yield indices

    def _up_to_most(self, items: Iterable[Any]) -> Iterator[Numbered]:
        if self.most == 0:
            return
        for number, item in enumerate(items):
            yield number, item
            if number + 1 == self.most:  # not one more is asked for
                return

    def _note(self, data: bytes) -> None:
        self._seen += 1
        self._digest.update(data)


@contextmanager
def shared_randomness(crew: Crew, loaders: Iterable[Any]) -> Iterator[None]:
    """Let all processes draw what rank 0 draws, so that their loaders shuffle alike.

    The global generators of torch (CPU), NumPy and Python, and those that the loaders and their samplers were given, go
    on from where rank 0's are. On the other ranks the global ones are put back after the block; whoever calls this puts
    torch's back.
    """
    if crew.alone:
        yield
        return
    generators = [generator for loader in loaders for generator in _generators(loader)]
    python, numpy = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002  datasets draw from it
    state = {
        "torch": torch.random.get_rng_state(),
        "generators": [generator.get_state() for generator in generators],
        "python": list(python),
        "numpy": _plain_numpy(numpy),
    }
    state = crew.broadcast(state)
    if len(state["generators"]) != len(generators):
        raise ValueError(
            f"the loaders have {len(generators)} generators on rank {crew.rank} and {len(state['generators'])} on "
            f"rank 0; every process has to make the same call"
        )
    torch.random.set_rng_state(state["torch"])
    for generator, theirs in zip(generators, state["generators"], strict=True):
        generator.set_state(theirs)
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(_numpy_again(state["numpy"]))  # noqa: NPY002
    try:
        yield
    finally:
        if not crew.first:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def _numbers(crew: Crew) -> Iterator[int]:
    number = crew.rank
    while True:
        yield number
        number += crew.size


def _whole_sampler(loader: Any, argument: str) -> Iterable[Any] | None:
    """Return what gives one minibatch's indices after the other, without shares; None where the loader isn't asked so.

    Raises:
        ValueError: A ``DistributedSampler`` of another kind deals out samples.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None
    if type(loader).__iter__ is not DataLoader.__iter__:  # who knows what it does with indices
        _refuse_hidden_shares(loader, argument)
        return None
    batches: Any = loader.batch_sampler
    if batches is None:  # the dataset makes minibatches of its own
        whole: Iterable[Any] = _without_shares(loader.sampler, argument)
        return whole
    inner = getattr(batches, "sampler", None)
    order = None if inner is None else _without_shares(inner, argument)
    if order is inner:
        return cast("Iterable[Any]", batches)
    if type(batches) is not BatchSampler:
        raise ValueError(
            f"{argument}: its {type(batches).__name__} batches the samples of a DistributedSampler in a way of its "
            f"own; {_TWO_WAYS}"
        )
    return BatchSampler(cast("Iterable[int]", order), batches.batch_size, batches.drop_last)


_TWO_WAYS = (
    "give every process a loader of all samples, whose minibatches are then dealt out, or one of its own share, no "
    "sample twice, with sharding='own'"
)


def _without_shares(sampler: Any, argument: str) -> Any:
    """Return the sampler, or of a ``DistributedSampler`` one that gives its whole order without repetitions."""
    if not isinstance(sampler, DistributedSampler):
        return sampler
    if type(sampler).__iter__ is not DistributedSampler.__iter__:
        raise ValueError(f"{argument}: its {type(sampler).__name__} deals out samples in a way of its own; {_TWO_WAYS}")
    whole = copy.copy(sampler)
    whole.num_replicas, whole.rank = 1, 0
    whole.num_samples = whole.total_size = len(cast("Sized", sampler.dataset))
    return whole


def _refuse_hidden_shares(loader: Any, argument: str) -> None:
    samplers = (loader.sampler, getattr(loader.batch_sampler, "sampler", None))
    if any(isinstance(sampler, DistributedSampler) for sampler in samplers):
        raise ValueError(f"{argument}: a {type(loader).__name__} with a DistributedSampler; {_TWO_WAYS}")


def _refuse_split(loader: Any, argument: str) -> None:
    """Raise ValueError where a Hugging Face stream says that it has been split among processes."""
    dataset = getattr(loader, "dataset", loader)
    split = getattr(dataset, "_distributed", None)
    if split is not None and getattr(split, "world_size", 1) > 1:
        raise ValueError(
            f"{argument} reads a dataset that was split by node: it has only a share of the samples; "
            f"pass sharding='own', or a loader of the whole dataset"
        )


def _over(loader: DataLoader[Any], indices: Iterator[Any]) -> Iterable[Any]:
    """Return a loader like the given one of the minibatches with those indices."""
    dealt = copy.copy(loader)
    name = "sampler" if loader.batch_sampler is None else "batch_sampler"
    vars(dealt).update({name: _Once(indices), "_iterator": None, "persistent_workers": False})
    return dealt


class _Once:
    """Indices that are iterated over once, as a sampler."""

    def __init__(self, indices: Iterator[Any]) -> None:
        self._indices = indices

    def __iter__(self) -> Iterator[Any]:
        return self._indices


def _generators(loader: Any) -> list[torch.Generator]:
    """Return the generators that a loader and its samplers were given, each once."""
    samplers = (getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None))
    inner = getattr(samplers[1], "sampler", None)
    owners = [getattr(part, "generator", None) for part in (loader, *samplers, inner)]
    return list({id(owner): owner for owner in owners if isinstance(owner, torch.Generator)}.values())


def _glimpse(batch: Any) -> bytes:
    """Return a few bytes that tell a batch from others: the shape and beginning of its first tensor or array."""
    array = _first_array(batch)
    if array is None:
        return b"?"
    flat = array.detach().reshape(-1)[: _FEW // max(array.element_size(), 1)].cpu().contiguous()
    return f"{tuple(array.shape)} {array.dtype}".encode() + bytes(flat.view(torch.uint8).numpy())


def _first_array(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value if value.is_floating_point() or not value.is_complex() else torch.view_as_real(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return torch.as_tensor(value)
    items = value.values() if hasattr(value, "values") and callable(value.values) else value
    if isinstance(items, str | bytes) or not isinstance(items, Iterable) or isinstance(items, Iterator):
        return None
    found = (_first_array(item) for item in items if item is not value)
    return next((tensor for tensor in found if tensor is not None), None)


def _plain_numpy(state: Any) -> dict[str, Any]:
    plain = {name: value for name, value in state.items() if name != "state"}
    return {**plain, "key": state["state"]["key"].tolist(), "pos": int(state["state"]["pos"])}


def _numpy_again(plain: dict[str, Any]) -> dict[str, Any]:
    outer = {name: value for name, value in plain.items() if name not in ("key", "pos")}
    return {**outer, "state": {"key": np.array(plain["key"], dtype=np.uint32), "pos": plain["pos"]}}
