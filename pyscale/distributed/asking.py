"""Asking the store that processes meet through, which may have become unreachable."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias

from pyscale.distributed.errors import PeerError

Store: TypeAlias = Any  # torch.distributed's, which its type stubs lack


class AnsweringStore:
    """A store that answers within ``seconds`` or raises PeerError.

    torch's waits without end for an answer from a machine that is gone; so it is asked by a thread, which is left
    behind then.

    Args:
        store: torch's.
        seconds: Longest time for an answer.
    """

    def __init__(self, store: Store, seconds: float) -> None:
        self._store, self._seconds = store.clone(), seconds  # of its own: it answers one thread at a time
        self._questions: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="pyscale-store", daemon=True)

    def __enter__(self) -> AnsweringStore:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._questions.put(None)
        self._thread.join(1.0)

    def set(self, key: str, value: str) -> None:
        """Write a value."""
        self._ask(lambda: self._store.set(key, value))

    def set_once(self, key: str, value: str) -> None:
        """Write a value unless there is one."""
        self._ask(lambda: self._store.compare_set(key, "", value))

    def count(self, key: str, more: int = 0) -> int:
        """Add to a number and return it."""
        return int(self._ask(lambda: self._store.add(key, more)))

    def has(self, key: str) -> bool:
        """Return whether something was written there."""
        return bool(self._ask(lambda: self._store.check([key])))

    def forget(self, key: str) -> None:
        """Remove what was written."""
        self._ask(lambda: self._store.delete_key(key))

    def _ask(self, question: Callable[[], Any]) -> Any:
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._questions.put((question, answer))
        try:
            value = answer.get(timeout=self._seconds)
        except queue.Empty:
            raise PeerError(unreachable(f"no answer for {self._seconds:g} s")) from None
        if isinstance(value, BaseException):
            raise PeerError(unreachable(value)) from value
        return value

    def _run(self) -> None:
        while (asked := self._questions.get()) is not None:
            question, answer = asked
            try:
                answer.put(question())
            except Exception as error:  # the store's: half a dozen types
                answer.put(error)


def unreachable(why: object) -> str:
    """Return what is said where the store can't be asked any more."""
    return f"the store through which the processes meet is gone: {why}"
