"""Appending to a store beside the forward pass: a thread that takes activations from a queue of bounded size."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType

MOST_BYTES = 256 * 2**20  # that wait in the queue, or one activation where it alone has more


class WritingThread:
    """A thread that does jobs in their order. An error in one of them is raised where the next is given, or at the end.

    Inside the ``with`` block the thread runs. When it is left, however that comes about, all jobs have been done, or
    one of them has failed and those behind it were dropped.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._jobs: deque[tuple[int, Callable[[], None]]] = deque()
        self._waiting = 0  # bytes, the job in progress included
        self._changed = threading.Condition()
        self._closed = False
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="pyscale store writer", daemon=True)

    def __enter__(self) -> WritingThread:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._wait()
        if error is None:
            self._raise()

    def put(self, size: int, job: Callable[[], None]) -> None:
        """Queue a job that holds so many bytes, once there is room for them; raise what an earlier one raised."""
        with self._changed:
            while self._error is None and self._jobs and self._waiting + size > self._most:
                self._changed.wait()
            self._raise()
            self._jobs.append((size, job))
            self._waiting += size
            self._changed.notify_all()

    def _wait(self) -> None:
        """Wait for the thread; who interrupts this is obeyed once the job in progress is done and the others dropped.

        The thread must not outlive the block: the store's lock is given up behind it.
        """
        interruption: KeyboardInterrupt | None = None
        while not self._ended.is_set():  # an interrupted join may take a running thread for one that has ended
            try:
                self._ended.wait()
            except KeyboardInterrupt as error:
                interruption = error
                with self._changed:
                    while len(self._jobs) > 1:
                        self._jobs.pop()
        if interruption is not None:
            raise interruption

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            self._do_jobs()
        finally:
            self._ended.set()

    def _do_jobs(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    self._changed.wait()
                if not self._jobs:
                    return
                size, job = self._jobs[0]
            try:
                job()
            except BaseException as error:
                with self._changed:
                    self._error = error
                    self._jobs.clear()
                    self._changed.notify_all()
                return
            del job
            with self._changed:
                self._jobs.popleft()
                self._waiting -= size
                self._changed.notify_all()
