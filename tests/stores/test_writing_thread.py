"""The thread that writes beside the forward pass: jobs in order, bounded, their errors raised, never outlived."""

from __future__ import annotations

import contextlib
import signal
import threading
import time

import pytest

from pyscale.stores.writing_thread import WritingThread


def test_jobs_are_done_in_their_order():
    done = []
    with WritingThread() as thread:
        for i in range(100):
            thread.put(1, lambda i=i: done.append(i))
    assert done == list(range(100))


def test_no_more_waits_than_is_allowed():
    waiting, most = [], []
    gate = threading.Event()

    def work():
        gate.wait(5)
        waiting.pop()

    with WritingThread(most_bytes=100) as thread:
        threading.Timer(0.2, gate.set).start()
        for _ in range(30):
            thread.put(30, work)
            waiting.append(30)
            most.append(sum(waiting))
    assert max(most) <= 120  # the one just put included


def test_a_job_larger_than_all_is_taken_when_nothing_waits():
    done = []
    with WritingThread(most_bytes=10) as thread:
        thread.put(1000, lambda: done.append(1))
        thread.put(1000, lambda: done.append(2))
    assert done == [1, 2]


def fail():
    raise OSError("full")


def test_an_error_is_raised_at_the_end():
    with pytest.raises(OSError, match="full"), WritingThread() as thread:
        thread.put(1, fail)


def test_an_error_is_raised_where_the_next_job_is_given():
    thread = WritingThread()
    with contextlib.suppress(OSError), thread:
        thread.put(1, fail)
        time.sleep(0.2)
        with pytest.raises(OSError, match="full"):
            thread.put(1, lambda: None)


def hand_over(count, seconds, done, finally_=lambda: None):
    """Hand jobs that take their time to a thread, then do something before waiting for them."""
    with WritingThread() as thread:
        for i in range(count):
            thread.put(1, lambda i=i: (time.sleep(seconds), done.append(i)))
        finally_()
    return thread


def test_what_was_handed_over_is_written_whatever_happens():
    done = []
    with pytest.raises(OSError, match="full"):
        hand_over(20, 0.002, done, fail)
    assert done == list(range(20))


def test_ctrl_c_while_waiting_drops_the_rest_and_leaves_no_thread():
    done, main = [], threading.main_thread().ident
    strike = threading.Timer(0.3, lambda: signal.pthread_kill(main, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        hand_over(50, 0.05, done, strike.start)
    count = len(done)
    time.sleep(0.2)
    assert 0 < count == len(done) < 50
