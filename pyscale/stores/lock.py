"""One writer a store: a lock that says whose it is, and falls with the process that held it."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyscale.stores.errors import LockedStoreError
from pyscale.stores.places import Folder, Place

LOCK = ".lock"
_MOST_BYTES = 4096
_held: set[str] = set()  # by this process: the system's locks know processes only
_guard = threading.Lock()


@contextmanager
def writing_alone(place: Place) -> Iterator[None]:
    """Hold the store's lock inside the block.

    In a folder it is a lock of the operating system on the file ``.lock``, which a process loses when it ends, however
    that comes about, and which its forked children don't have. Elsewhere it is a file that says whose it is: whoever
    finds one from a process of the same host that is gone takes it over. Two processes that start in the same moment
    may both believe to have it there, since such places can't compare and write at once.

    Raises:
        LockedStoreError: Somebody else has it.
    """
    name = place.address if not isinstance(place, Folder) else str(place.path)
    with _guard:
        if name in _held:
            raise LockedStoreError(f"{place.address} is being written by this very process; wait until it is done")
        _held.add(name)
    try:
        with _in_folder(place) if isinstance(place, Folder) else _elsewhere(place):
            yield
    finally:
        with _guard:
            _held.discard(name)


@contextmanager
def _in_folder(place: Folder) -> Iterator[None]:
    if place.path.exists() and not place.path.is_dir():
        raise FileExistsError(f"{place.address} is a file; choose a new name")
    place.path.mkdir(parents=True, exist_ok=True)
    path = place.path / LOCK
    file = _locked(path, place.address)
    try:
        _check_host(os.pread(file, _MOST_BYTES, 0), place.address)
        os.ftruncate(file, 0)
        os.pwrite(file, _signature(), 0)
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # while it is held, so that nobody else's is removed
        os.close(file)


def _locked(path: Path, address: str) -> int:
    """Return the open lock file once it is this process's."""
    import fcntl  # which other systems lack: there stores can be read

    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(file).st_ino:  # not one that its holder removed meanwhile
                    return file
        except (BlockingIOError, PermissionError) as error:
            owner = _owner(os.pread(file, _MOST_BYTES, 0))
            os.close(file)
            raise LockedStoreError(
                f"{address} is being written by {_described(owner)}; two can't write to it"
            ) from error
        except BaseException:
            os.close(file)
            raise
        os.close(file)


@contextmanager
def _elsewhere(place: Place) -> Iterator[None]:
    with suppress(FileNotFoundError):
        data = place.read(LOCK, _MOST_BYTES)
        _check_host(data, place.address)
        owner = _owner(data)
        if _alive(owner):
            raise LockedStoreError(f"{place.address} is being written by {_described(owner)}; two can't write to it")
    place.write(LOCK, _signature())
    try:
        yield
    finally:
        place.remove(LOCK)


def _check_host(data: bytes, address: str) -> None:
    """Raise LockedStoreError where another host left the lock, of whose processes nothing is known here."""
    owner = _owner(data)
    if owner and owner.get("host") != socket.gethostname():
        raise LockedStoreError(
            f"{address} is locked by {_described(owner)}; if that process is gone, remove {LOCK} in the store"
        )


def _signature() -> bytes:
    return json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}).encode()


def _owner(data: bytes) -> dict[str, Any]:
    """Return who signed; nobody where the lock was left empty or cut short by a process that was killed."""
    try:
        owner = json.loads(data)
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}


def _described(owner: dict[str, Any]) -> str:
    return f"process {owner.get('pid', 'unknown')} on {owner.get('host', 'unknown')}"


def _alive(owner: dict[str, Any]) -> bool:
    """Return whether a process of this host is there, and is the same that signed."""
    pid = owner.get("pid")
    if type(pid) is not int or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return owner.get("started") == _started(pid)


def _started(pid: int) -> str | None:
    """Return when a process started, in the kernel's ticks: a number given to another process later shows."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):  # no Linux
        return None
