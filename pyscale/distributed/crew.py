"""The processes of one call: what they tell one another, and how all fail where one does."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pyscale.distributed.asking import AnsweringStore
from pyscale.distributed.errors import PeerError
from pyscale.distributed.messages import Channel
from pyscale.distributed.watching import Watch

T = TypeVar("T")

ARRIVAL_SECONDS = 1800.0  # after which a process that has not come to a call is given up
_SHORTEST, _USUAL, _LONGEST = 0.001, 0.02, 0.2  # seconds between two looks at the store: at first, later, and at last
_PATIENCE = 5.0  # seconds of waiting after which others are long at work


class Crew:
    """The processes that take part in a call; this one is ``rank``.

    Waiting is looking at the store, so that a process that is long at work keeps nobody from hearing of a failure; data
    move only between two who have both said that they are there.

    Args:
        rank: This process.
        size: Processes.

    Attributes:
        channel: What the data move through; None for one process alone.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.channel: Channel | None = None
        self._store: AnsweringStore | None = None
        self._watch: Watch | None = None
        self._meetings = 0

    @classmethod
    def meeting(cls, rank: int, size: int, store: AnsweringStore, watch: Watch) -> Crew:
        """Return a crew that is to meet through a store, once all have come; it has no channel yet."""
        crew = cls(rank, size)
        crew._store, crew._watch = store, watch
        return crew

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which speaks and writes for all."""
        return self.rank == 0

    def check(self) -> None:
        """Raise PeerError where another process has failed."""
        if self._watch is not None:
            self._watch.check()

    def arrive(self, place: str) -> None:
        """Wait until all have come to a place of the call.

        Args:
            place: Its name, another one each time.

        Raises:
            PeerError: One failed, died, or did not come within 30 minutes.
        """
        if self._store is None:
            return
        store = self._store
        store.set(f"{place}/{self.rank}", "here")
        store.count(place, 1)
        started, warned = time.monotonic(), False

        def missing() -> str:
            ranks = [r for r in range(self.size) if not store.has(f"{place}/{r}")]
            more = "" if len(ranks) <= 5 else f" and {len(ranks) - 5} more"
            return f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks[:5]))}{more} of {self.size}"

        for _ in self._looks():
            if store.count(place) >= self.size:
                return
            waited = time.monotonic() - started
            if waited > ARRIVAL_SECONDS:
                raise PeerError(f"{missing()} did not come to this call within {ARRIVAL_SECONDS:g} s")
            if waited > 60 and not warned:
                warned = True
                warnings.warn(
                    f"waiting for {missing()}: every process has to make this call, in the same order; one that is "
                    f"meant for this process alone takes sharding='none'",
                    UserWarning,
                    stacklevel=5,
                )

    def reduce(self, mine: T, merge: Callable[[T, Any], T], pack: Callable[[T], Any] = lambda mine: mine) -> T | None:
        """Return, on rank 0, what all ranks have, merged as a binary tree, and None on the others.

        Every rank but the first sends one state, to a rank below it; the first receives ceil(log2(size)) of them. Ranks
        are merged in their order, whoever is ready first.

        Args:
            mine: What this rank has.
            merge: ``merge(mine, theirs)`` -> what both have; theirs is the plain state of the ranks that follow mine.
            pack: ``pack(mine)`` -> its plain state: dicts with strings as keys, lists, tensors, numbers, strings, None.
        """
        self._meetings += 1
        step = 1
        while step < self.size:
            if self.rank % (2 * step) == step:
                self._send(pack(mine), self.rank - step, "up")
                return None
            if self.rank + step < self.size:
                mine = merge(mine, self._receive(self.rank + step, "up"))
            step *= 2
        return mine

    def broadcast(self, state: Any = None) -> Any:
        """Return rank 0's state on every rank, handed down the tree that :meth:`reduce` goes up."""
        self._meetings += 1
        step = 1
        while step < self.size:
            step *= 2
        while step > 1:
            step //= 2
            if self.rank % (2 * step) == step:
                state = self._receive(self.rank - step, "down")
            elif self.rank % (2 * step) == 0 and self.rank + step < self.size:
                self._send(state, self.rank + step, "down")
        return state

    def on_first(self, function: Callable[[], T]) -> T:
        """Return on every rank what ``function`` returns on rank 0, a plain value or state; only there it is called."""
        value: T = self.broadcast(function() if self.first else None)
        return value

    def agree(self, subject: str, mine: dict[str, Any]) -> None:
        """Raise ValueError unless plain values by name are those of rank 0.

        Args:
            subject: What they describe, for the error.
            mine: This rank's.
        """
        theirs = self.broadcast(mine)
        for name in {**theirs, **mine}:
            if theirs.get(name) != mine.get(name):
                raise ValueError(
                    f"{subject}: {name} is {mine.get(name)!r} on rank {self.rank} and {theirs.get(name)!r} on rank 0; "
                    f"every process has to make the same call"
                )

    def explain(self, error: BaseException) -> None:
        """Raise PeerError where an error of the transport has another process's failure for its cause."""
        if self._watch is not None:
            try:
                self._watch.wait_for_reason()
            except PeerError as reason:
                raise reason from error

    def give(self, state: Any, to: int, what: str) -> None:
        """Hand a plain state to a rank that :meth:`take` s it under the same name; each name serves once."""
        self._send(state, to, what)

    def take(self, of: int, what: str) -> Any:
        """Return the state that a rank gives under a name."""
        return self._receive(of, what)

    def _send(self, state: Any, peer: int, way: str) -> None:
        self._meet(peer, way)
        self._move(lambda channel: channel.send(state, peer), peer)

    def _receive(self, peer: int, way: str) -> Any:
        self._meet(peer, way)
        return self._move(lambda channel: channel.receive(peer), peer)

    def _move(self, act: Callable[[Channel], T], peer: int) -> T:
        if self.channel is None:
            raise RuntimeError("the crew has no channel")
        try:
            return act(self.channel)
        except RuntimeError as error:  # gloo's and NCCL's
            self.check()
            raise PeerError(f"rank {peer} of {self.size} can't be reached any more: {error}") from error

    def _meet(self, peer: int, way: str) -> None:
        """Wait until ``peer`` is at the same place, where data can then move."""
        assert self._store is not None
        mine, theirs = (f"{way}/{self._meetings}/{a}-{b}" for a, b in ((self.rank, peer), (peer, self.rank)))
        self._store.set(mine, "here")
        for _ in self._looks():
            if self._store.has(theirs):
                self._store.forget(theirs)
                return

    def _looks(self) -> Iterator[None]:
        """Yield at each time to look at the store, and raise PeerError where another process has failed."""
        started, pause = time.monotonic(), _SHORTEST
        while True:
            yield
            self.check()
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST if time.monotonic() - started > _PATIENCE else _USUAL)
