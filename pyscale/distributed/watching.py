"""Signs of life: every process gives them, and looks after the next one and for news of a failure."""

from __future__ import annotations

import socket
import threading
import time
from types import TracebackType

from pyscale.distributed.asking import Store, unreachable
from pyscale.distributed.errors import PeerError

FAILED = "failed"  # where the first reason is written for all
_LEFT = b"left"
_MOST_SECONDS = 1.0  # between two signs of life


class Watch:
    """A thread that gives signs of life through the group's store, and looks for those of the next rank.

    A rank that gives none for ``timeout`` seconds is dead: the one before it says so to all. Each rank looks after one
    other and for one message, so what the store is asked grows with the ranks, not with their square; of ranks that die
    together the first has somebody living before it.

    Args:
        store: Of the call, with a prefix of its own.
        rank: This process.
        size: Processes.
        timeout: Seconds without a sign of life after which a rank is dead.

    Attributes:
        reason: Why the call failed on some rank; None while it has not.
    """

    def __init__(self, store: Store, rank: int, size: int, timeout: float) -> None:
        self.reason: str | None = None
        self._store = store.clone()  # of its own: a store answers one thread at a time
        self._rank, self._size, self._timeout = rank, size, timeout
        self._ended = threading.Event()
        self._beats = 0
        self._last, self._changed = b"", time.monotonic()  # of the next rank
        self._answered = time.monotonic()  # when the store last did
        self._thread = threading.Thread(target=self._run, name="pyscale-watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(2 * _MOST_SECONDS)  # it may be waiting for a machine that is gone

    def check(self) -> None:
        """Raise PeerError where some rank has failed, or this one is cut off."""
        if self.reason is not None:
            raise PeerError(self.reason)
        if time.monotonic() - self._answered > self._timeout + _MOST_SECONDS:
            raise PeerError(unreachable(f"no answer for {self._timeout:g} s"))

    def wait_for_reason(self) -> None:
        """Wait until it is known that some rank has failed, no longer than a dead one goes unnoticed; then raise."""
        end = time.monotonic() + self._timeout + 2 * _MOST_SECONDS
        while self.reason is None and time.monotonic() < end:
            time.sleep(0.02)
        self.check()

    def _run(self) -> None:
        interval = min(_MOST_SECONDS, self._timeout / 10)
        try:
            while not self._ended.wait(0 if self._beats == 0 else interval):
                self._beats += 1
                self._store.set(f"beat/{self._rank}", str(self._beats))
                if self._store.check([FAILED]):
                    self.reason = self.reason or self._store.get(FAILED).decode()
                self._look_after((self._rank + 1) % self._size)
                self._answered = time.monotonic()
            self._store.set(f"beat/{self._rank}", _LEFT)
        except Exception as error:  # the store's: half a dozen types
            self.reason = self.reason or unreachable(error)

    def _look_after(self, peer: int) -> None:
        key = f"beat/{peer}"
        beat = self._store.get(key) if self._store.check([key]) else b""
        now = time.monotonic()
        if beat != self._last or beat in (b"", _LEFT):  # one that has not come yet is missed by those who wait for it
            self._last, self._changed = beat, now
        elif now - self._changed > self._timeout and self.reason is None:
            self.reason = f"rank {peer} of {self._size} is dead: no sign of life for {self._timeout:g} s"
            self._store.compare_set(FAILED, "", self.reason)


def described_failure(error: BaseException, rank: int, size: int) -> str:
    """Return what other ranks say of an error of this one.

    Example:
        >>> described_failure(ValueError("no"), 1, 4).partition(" (")[0]
        'rank 1 of 4'
    """
    return f"rank {rank} of {size} (on {socket.gethostname()}) failed: {type(error).__name__}: {error}"
