"""Where torch's allocator has no memory for an op: MemoryError, with the size, and what is added to stays as it was."""

from __future__ import annotations

import pytest
import torch

from pyscale import ops
from pyscale.ops.memory import MemoryErrors

MANY = 12_000_000  # samples whose Gram no address space holds: 288 TB packed, in float32
BEYOND = 1 << 46  # rows that share one row's memory; a copy is 512 TB


def test_output_of_gram():
    x = torch.zeros(MANY, 1, dtype=torch.float16)
    with pytest.raises(
        MemoryError, match=rf"could not allocate {4 * MANY**2} bytes .* for the tensors of pyscale.gram"
    ):
        ops.centered_gram(x)
    with pytest.raises(MemoryError, match=rf"allocate {2 * MANY * (MANY - 1)} bytes .* of pyscale.packed_gram"):
        ops.packed_gram(x)
    with pytest.raises(MemoryError, match=r"bytes .* of pyscale.packed_gram"):
        ops.packed_grams([x, x])


def test_copies_of_inputs():
    x = torch.zeros(1, 1, dtype=torch.float64).expand(BEYOND, 1)
    with pytest.raises(MemoryError, match=f"could not allocate {8 * BEYOND} bytes"):
        ops.hsic_pairs(x, torch.ones(1, 1, dtype=torch.float64))


def test_sums_are_as_they_were():
    x, zero = torch.zeros(1, 1, dtype=torch.float64).expand(BEYOND, 1), torch.zeros(1, dtype=torch.float64)
    for others in ((), (x, zero)):
        out = torch.full((1, 1), 7.0, dtype=torch.float64)
        with pytest.raises(MemoryError, match=f"{8 * BEYOND} bytes .* of pyscale.add_moments"):
            ops.add_moments_(out, x, zero, *others, threads=1)
        assert out.item() == 7


def test_sizes_beyond_counting():
    with pytest.raises(MemoryError, match="more bytes than can be counted"):
        ops.centered_gram(torch.zeros((1 << 31) - 1, 0))


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="something else"), MemoryErrors("anything"):
        raise RuntimeError("something else")
    with pytest.raises(torch.OutOfMemoryError), MemoryErrors("anything"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
