"""Plain states on their way between processes: numbers, strings and lists as JSON, tensors as their own bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

CHUNK = 1 << 25  # bytes sent at once: 32 MiB, so that a message takes no second copy of a large state
_TENSOR = "\0tensor"


class Piece(NamedTuple):
    """A run of a tensor's bytes."""

    tensor: int
    start: int
    stop: int


class Channel:
    """Point-to-point messages within a process group, on the device that its backend takes.

    Args:
        group: The group; ranks are those within it.

    Attributes:
        sent: Bytes sent so far.
        received: Bytes received so far.
        moves: Messages sent or received so far.
    """

    def __init__(self, group: dist.ProcessGroup | None) -> None:
        self._group = group
        self._device = message_device(dist.get_backend_config(group))
        self.sent = self.received = self.moves = 0

    def send(self, state: Any, peer: int) -> None:
        """Send a plain state to a rank, which must be receiving."""
        header, tensors = flattened(state)
        views = [_bytes(t) for t in tensors]
        text = torch.frombuffer(bytearray(header), dtype=torch.uint8)
        self._put(torch.tensor([len(text)]), peer)
        self._put(text, peer)
        for pieces in planned([len(view) for view in views]):
            self._put(torch.cat([views[piece.tensor][piece.start : piece.stop] for piece in pieces]), peer)
        self.moves += 1

    def receive(self, peer: int) -> Any:
        """Return the state that a rank sends; its tensors are on the CPU."""
        text = self._get(int(self._get(8, peer).view(torch.int64)), peer)
        skeleton, tensors = described(bytes(text.numpy()))
        views = [_bytes(t) for t in tensors]
        for pieces in planned([len(view) for view in views]):
            data = self._get(sum(piece.stop - piece.start for piece in pieces), peer)
            for piece, part in zip(pieces, data.split([p.stop - p.start for p in pieces]), strict=True):
                views[piece.tensor][piece.start : piece.stop] = part
        self.moves += 1
        return rebuilt(skeleton, tensors)

    def _put(self, data: Tensor, peer: int) -> None:
        data = _bytes(data)
        dist.send(data.to(self._device), group=self._group, group_dst=peer)
        self.sent += len(data)

    def _get(self, size: int, peer: int) -> Tensor:
        data = torch.empty(size, dtype=torch.uint8, device=self._device)
        dist.recv(data, group=self._group, group_src=peer)
        self.received += size
        return data.cpu()


def message_device(backends: str) -> torch.device:
    """Return where tensors must be that a group sends: the CPU where one of its backends takes it.

    Args:
        backends: The group's backends by device, as ``torch.distributed.get_backend_config`` gives them.

    Example:
        >>> message_device("cpu:gloo,cuda:nccl"), message_device("cpu:gloo")
        (device(type='cpu'), device(type='cpu'))
    """
    devices = [pair.partition(":")[0] for pair in backends.split(",")]
    if "cpu" in devices:
        return torch.device("cpu")
    return torch.device(devices[0], torch.accelerator.current_device_index())


def flattened(state: Any) -> tuple[bytes, list[Tensor]]:
    """Return a plain state as JSON, in which numbers stand for its tensors, and these.

    Raises:
        TypeError: It holds something else than dicts with strings as keys, lists, tensors, numbers, strings and None.
    """
    tensors: list[Tensor] = []

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            tensors.append(value)
            kind = str(value.dtype).removeprefix("torch.")
            return {_TENSOR: [len(tensors) - 1, kind, list(value.shape)]}
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise TypeError(f"a state's keys are {list(value)}; expected strings")
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"a state holds a {type(value).__name__}; expected plain values and tensors")

    return json.dumps(plain(state)).encode(), tensors


def described(header: bytes) -> tuple[Any, list[Tensor]]:
    """Return the JSON of :func:`flattened` read, and empty tensors for those it names."""
    found: dict[int, Tensor] = {}

    def note(value: dict[str, Any]) -> dict[str, Any]:
        if _TENSOR in value:
            number, kind, shape = value[_TENSOR]
            found[number] = torch.empty(shape, dtype=getattr(torch, kind))
        return value

    skeleton = json.loads(header, object_hook=note)
    return skeleton, [found[number] for number in range(len(found))]


def rebuilt(skeleton: Any, tensors: Sequence[Tensor]) -> Any:
    """Return the state of which :func:`flattened` made the JSON and the tensors; tuples have become lists.

    Example:
        >>> header, tensors = flattened({"n": 3, "S": torch.eye(2), "names": ("a", "b")})
        >>> rebuilt(described(header)[0], tensors)["names"]
        ['a', 'b']
    """
    if isinstance(skeleton, dict):
        if _TENSOR in skeleton:
            return tensors[skeleton[_TENSOR][0]]
        return {key: rebuilt(item, tensors) for key, item in skeleton.items()}
    return [rebuilt(item, tensors) for item in skeleton] if isinstance(skeleton, list) else skeleton


def planned(sizes: Sequence[int], chunk: int = CHUNK) -> list[list[Piece]]:
    """Return which bytes of which tensors travel together: small ones in one chunk, large ones in several.

    Example:
        >>> [[tuple(piece) for piece in pieces] for pieces in planned([3, 10, 1], chunk=8)]
        [[(0, 0, 3), (1, 0, 5)], [(1, 5, 10), (2, 0, 1)]]
    """
    chunks: list[list[Piece]] = [[]]
    room = chunk
    for number, size in enumerate(sizes):
        start = 0
        while start < size:
            if room == 0:
                chunks.append([])
                room = chunk
            stop = min(size, start + room)
            chunks[-1].append(Piece(number, start, stop))
            room -= stop - start
            start = stop
    return [pieces for pieces in chunks if pieces]


def _bytes(t: Tensor) -> Tensor:
    """Return a tensor's bytes, a view of it where it is contiguous."""
    return t.detach().contiguous().reshape(-1).view(torch.uint8)
