"""Running out of memory is Python's ``MemoryError``, also where it is torch's allocator that has none.

torch raises ``RuntimeError`` for tensors in main memory, which nobody would think to catch for that. Its error for a
GPU's memory has a class of its own, ``torch.OutOfMemoryError``, and stays.
"""

from __future__ import annotations

import re

_REFUSED = re.compile(r"DefaultCPUAllocator: .*tried to allocate (\d+) bytes")
_UNCOUNTABLE = "Storage size calculation overflowed"


class MemoryErrors:
    """A context that raises MemoryError, with the bytes asked for, where torch finds no memory for tensors.

    It holds nothing, so one will do for any number of calls, nested ones and other threads' included.

    Args:
        call: What the tensors are of, for the message.
    """

    def __init__(self, call: str) -> None:
        self.call = call

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if not isinstance(error, RuntimeError):
            return
        refused = _REFUSED.search(str(error))
        if refused is not None:
            size = int(refused.group(1))
            raise MemoryError(
                f"could not allocate {size} bytes ({size / 2**30:.3g} GiB) for the tensors of {self.call}"
            ) from error
        if _UNCOUNTABLE in str(error):
            raise MemoryError(
                f"could not allocate more bytes than can be counted for the tensors of {self.call}"
            ) from error
