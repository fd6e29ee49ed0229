"""Coming together: the process group that is there, or one for the call where torchrun started the processes."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]

from pyscale.distributed.asking import AnsweringStore, Store
from pyscale.distributed.crew import Crew
from pyscale.distributed.errors import PeerError
from pyscale.distributed.messages import Channel
from pyscale.distributed.watching import FAILED, Watch, described_failure

TIMEOUT_VARIABLE = "PYSCALE_PEER_TIMEOUT"
DEFAULT_TIMEOUT = 60.0

_calls: Counter[str] = Counter()  # by group: processes make their calls in the same order, which gives them their names
_apart: list[None] = []  # an entry for each block that this process is apart in
_stores: list[Store] = []  # torchrun's, once it has been asked for


@contextmanager
def gathered(
    *,
    alone: bool = False,
    group: dist.ProcessGroup | None = None,
    backend: str = "gloo",
    timeout: float | None = None,
) -> Iterator[Crew]:
    """Make a call together with the processes that make it too.

    Those of ``group``, by default of ``torch.distributed``'s default group; where there is none and torchrun has
    started this process, those that it started, for which a group is made that lasts as long as the block. Otherwise,
    or with ``alone``, this process is the whole crew.

    Where the block raises on one rank, it raises on all of them: there, and :class:`PeerError` elsewhere, within a
    second where they wait for one another. A rank that is killed, or whose machine is gone, is noticed after
    ``timeout`` seconds, or as soon as its connection breaks.

    Args:
        alone: Whether to be alone whatever there is.
        group: A process group, this process in it.
        backend: Of a group that is made for the block.
        timeout: Seconds without a sign of life after which a rank is dead; None is what the environment variable
            ``PYSCALE_PEER_TIMEOUT`` says, or 60. Also how long a message may take in a group made for the block.

    Raises:
        PeerError: Another rank failed, died, or did not come.
        ValueError: ``timeout`` is not positive.
    """
    own = not (dist.is_available() and dist.is_initialized())
    if alone or _apart or (own and not launched()):
        yield Crew()
        return
    seconds = peer_timeout(timeout)
    if own:
        rank, size, store, name = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), _torchrun_store(), "own"
    else:
        rank, size, name = dist.get_rank(group), dist.get_world_size(group), _name(group)
        store = dist.distributed_c10d._get_default_store()
    if size == 1 or rank < 0:
        yield Crew()
        return
    _calls[name] += 1
    store = PrefixStore(f"pyscale/{name}/{_calls[name]}", store)
    with ExitStack() as stack:
        asked = stack.enter_context(AnsweringStore(store, seconds))
        watch = stack.enter_context(Watch(store, rank, size, seconds))
        crew = Crew.meeting(rank, size, asked, watch)
        try:
            crew.arrive("arrived")
            if own:
                stack.enter_context(_group(backend, store, rank, size, seconds))
            crew.channel = Channel(None if own else group)
            yield crew
            if own:
                crew.arrive("left")  # nobody goes while another still reads
        except PeerError:
            raise
        except BaseException as error:
            asked.set_once(FAILED, described_failure(error, rank, size))
            raise


@contextmanager
def apart() -> Iterator[None]:
    """Let this process be alone in whatever it calls inside the block, as with ``sharding="none"``."""
    _apart.append(None)
    try:
        yield
    finally:
        _apart.pop()


def launched() -> bool:
    """Whether torchrun started this very process, with others: processes that it starts in turn are no ranks."""
    return (
        dist.is_available()
        and dist.is_torchelastic_launched()
        and int(os.environ.get("WORLD_SIZE", "1")) > 1
        and multiprocessing.parent_process() is None
    )


def is_first() -> bool:
    """Whether this process is the one that prints and writes: rank 0, or alone."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return not launched() or int(os.environ["RANK"]) == 0


def local_size() -> int:
    """Return how many of the processes share this machine, as far as torchrun says."""
    if dist.is_available() and dist.is_torchelastic_launched():
        return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return 1


def local_device(device: torch.device | str) -> torch.device | str:
    """Return the device meant on this rank: "cuda" without a number is the GPU with torchrun's local rank.

    Example:
        >>> local_device("cuda:1"), local_device("cpu")
        ('cuda:1', 'cpu')
    """
    if str(device) != "cuda" or not launched():
        return device
    local = int(os.environ["LOCAL_RANK"])
    return torch.device("cuda", local) if local < torch.cuda.device_count() else device


def peer_timeout(timeout: float | None = None) -> float:
    """Return the seconds after which a silent process is dead; ValueError where they are not positive."""
    text = os.environ.get(TIMEOUT_VARIABLE)
    if timeout is None and text is None:
        return DEFAULT_TIMEOUT
    name, given = (TIMEOUT_VARIABLE, text) if timeout is None else ("timeout", timeout)
    try:
        seconds = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{name} is {given!r}; expected a number of seconds above 0")
    return seconds


def _name(group: dist.ProcessGroup | None) -> str:
    found = group or dist.group.WORLD
    return "group" if found is None else str(found.group_name)


def _torchrun_store() -> Store:
    if not _stores:
        _stores.append(next(dist.rendezvous("env://"))[0])  # type: ignore[attr-defined]
    return _stores[0]


@contextmanager
def _group(backend: str, store: Store, rank: int, size: int, seconds: float) -> Iterator[None]:
    """Make torch.distributed's default group for as long as the block lasts."""
    hook = sys.excepthook
    dist.init_process_group(
        backend,
        store=PrefixStore("group", store),
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=seconds),
    )
    try:
        yield
    finally:
        sys.excepthook = hook  # torch puts the rank before every line of an error, once more with every group
        if dist.is_initialized():
            dist.destroy_process_group()
