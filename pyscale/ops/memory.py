"""Running out of memory is Python's ``MemoryError``, also where it is torch's allocator that has none.

torch raises ``RuntimeError`` for tensors in main memory, which nobody would think to catch for that. Its error for a
GPU's memory has a class of its own, ``torch.OutOfMemoryError``, and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

_REFUSED = re.compile(r"DefaultCPUAllocator: .*tried to allocate (\d+) bytes")
_UNCOUNTABLE = "Storage size calculation overflowed"


@contextmanager
def memory_errors(call: str) -> Iterator[None]:
    """Raise MemoryError, with the bytes asked for, where torch finds no memory for the tensors of ``call``."""
    try:
        yield
    except RuntimeError as error:
        refused = _REFUSED.search(str(error))
        if refused is not None:
            size = int(refused.group(1))
            raise MemoryError(
                f"could not allocate {size} bytes ({size / 2**30:.3g} GiB) for the tensors of {call}"
            ) from error
        if _UNCOUNTABLE in str(error):
            raise MemoryError(f"could not allocate more bytes than can be counted for the tensors of {call}") from error
        raise
