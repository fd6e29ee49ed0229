"""A chunk's bytes depend on its numbers alone, not on how many threads there are or which of them is first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

pytest.importorskip("numcodecs")

from pyscale.stores.chunk_codec import blosc, encode, memory_of


def test_a_chunk_of_several_blocks_is_encoded_the_same_each_time():
    import numcodecs.blosc

    numbers = np.zeros((4096, 64), dtype=np.float32)
    numbers[:70] = np.random.default_rng(0).standard_normal((70, 64))
    threads, before = numcodecs.blosc.set_nthreads(4), numcodecs.blosc.use_threads
    try:
        assert len({encode(memory_of(numbers), [blosc(4, "bitshuffle")]) for _ in range(100)}) == 1
    finally:
        numcodecs.blosc.set_nthreads(threads)
    assert numcodecs.blosc.use_threads == before


@pytest.mark.parametrize("users", [None, True])
def test_threads_that_encode_at_once_give_the_same_bytes_and_leave_the_library_as_it_was(monkeypatch, users):
    """One of them ends while another is at it, which then must not find the flag put back."""
    import numcodecs.blosc

    from pyscale.stores import chunk_codec

    monkeypatch.setattr(numcodecs.blosc, "use_threads", users)
    meet, found = [Barrier(2, timeout=10) for _ in range(2)], []

    class Slow:
        """Stands for a chunk that takes long: it is encoded after the other thread has ended."""

        def __init__(self, first):
            self.first = first

        def encode(self, data):
            meet[0].wait()
            if self.first:
                found.append(numcodecs.blosc.use_threads)
                return b""
            meet[1].wait()
            found.append(numcodecs.blosc.use_threads)
            return b""

    monkeypatch.setattr(chunk_codec, "_blosc", lambda codec: Slow(codec["first"]))

    def first():
        encode(memoryview(b""), [{"name": "blosc", "first": True}])
        meet[1].wait()

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(first), pool.submit(encode, memoryview(b""), [{"name": "blosc", "first": False}])]
        for future in done:
            future.result(timeout=20)
    assert found == [False, False]
    assert numcodecs.blosc.use_threads is users
