"""A chunk's bytes depend on its numbers alone, not on how many threads there are or which of them is first."""

from __future__ import annotations

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
