"""Where a store lies: a folder, or an address that fsspec knows. Keys are relative and can't lead out of it."""

from __future__ import annotations

import os
import re
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from pyscale.stores.dependencies import import_store_dependency
from pyscale.stores.keys import check_key

PARTIAL = ".part"  # what a file is called until it is whole
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::|://)")

_HOME = f"~{os.sep}"  # as shells take it; elsewhere "~" is part of a name


class Stamp(NamedTuple):
    """What tells versions of a file apart."""

    size: int
    version: tuple[Any, ...]


class Place(ABC):
    """A tree of files by key.

    Attributes:
        address: What the user calls it.
    """

    address: str

    @abstractmethod
    def read(self, key: str, most: int | None = None) -> bytes:
        """Return a file.

        Args:
            key: Which.
            most: Bytes that it may have.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It has more than ``most`` bytes, or the key leads through a link.
        """

    @abstractmethod
    def read_into(self, key: str, allocate: Callable[[int], memoryview]) -> memoryview:
        """Read a file into the memory that ``allocate`` gives for its size; errors as for :meth:`read`."""

    def announce(self, key: str) -> None:  # noqa: B027 (most places have nobody to tell)
        """Say that a file will be read soon."""

    @abstractmethod
    def write(self, key: str, data: bytes | memoryview) -> None:
        """Write a file, whole or not at all."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove a file, if there is one."""

    @abstractmethod
    def stamps(self) -> dict[str, Stamp]:
        """Return every file's size and what else tells versions of it apart, by key."""


class Folder(Place):
    """A folder of the local file system. Links inside it are not followed: they could lead anywhere."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self.address = os.fspath(path)
        self.path = Path(path).expanduser().resolve() if self.address.startswith(_HOME) else Path(path).resolve()

    def read(self, key: str, most: int | None = None) -> bytes:
        """Return a file."""
        with self._open(key) as (file, size):
            if most is not None and size > most:
                raise ValueError(f"{self.address}: {key} has {size} bytes; at most {most} were expected")
            return read_exactly(file, size)

    def read_into(self, key: str, allocate: Callable[[int], memoryview]) -> memoryview:
        """Read a file into memory that is given."""
        with self._open(key) as (file, size):
            out = allocate(size)
            read_at(file, 0, out)
            return out

    def announce(self, key: str) -> None:
        """Have the system fetch a file meanwhile, if it can."""
        with suppress(OSError, ValueError, AttributeError), self._open(key) as (file, _):
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_WILLNEED)

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Write a file, whole or not at all."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + PARTIAL)
        try:
            with temporary.open("wb") as file:
                file.write(data)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def remove(self, key: str) -> None:
        """Remove a file, if there is one."""
        self._path(key).unlink(missing_ok=True)

    def stamps(self) -> dict[str, Stamp]:
        """Return every file's stamp."""
        found = {}
        for folder, names, files in os.walk(self.path):
            names.sort()
            for name in [*names, *files]:
                path = Path(folder, name)
                with suppress(FileNotFoundError):
                    status = path.lstat()
                    key = path.relative_to(self.path).as_posix()
                    if stat.S_ISLNK(status.st_mode):
                        raise ValueError(f"{self.address}: {key} is a symbolic link, which stores don't follow")
                    if stat.S_ISDIR(status.st_mode):
                        continue
                    found[key] = Stamp(status.st_size, (status.st_mtime_ns, status.st_ino))
        return found

    def _path(self, key: str) -> Path:
        return self.path.joinpath(*check_key(key).split("/"))

    @contextmanager
    def _open(self, key: str) -> Iterator[tuple[int, int]]:
        """Open a file behind no link; yield its descriptor and size."""
        path = self._path(key)
        if path.parent.resolve() != path.parent or path.is_symlink():
            raise ValueError(f"{self.address}: {key} leads through a symbolic link, which stores don't follow")
        with opened(path) as (file, size):
            yield file, size


class Remote(Place):
    """An address that fsspec knows: ``memory://``, ``s3://`` and others whose package is installed."""

    def __init__(self, address: str) -> None:
        fsspec = import_store_dependency("fsspec")
        self.address = address
        self._files, root = fsspec.core.url_to_fs(address)
        self._root = str(root).rstrip("/")

    def read(self, key: str, most: int | None = None) -> bytes:
        """Return a file."""
        path = self._path(key)
        if most is not None:
            size = int(self._files.size(path) or 0)
            if size > most:
                raise ValueError(f"{self.address}: {key} has {size} bytes; at most {most} were expected")
        return bytes(self._files.cat_file(path))

    def read_into(self, key: str, allocate: Callable[[int], memoryview]) -> memoryview:
        """Read a file into memory that is given."""
        size = int(self._files.size(self._path(key)) or 0)
        out = allocate(size)
        data = self._files.cat_file(self._path(key))
        if len(data) != size:
            raise ValueError(f"{self.address}: {key} has changed while it was read")
        out[:] = data
        return out

    def write(self, key: str, data: bytes | memoryview) -> None:
        """Write a file, whole or not at all."""
        path = self._path(key)
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(path, bytes(data))

    def remove(self, key: str) -> None:
        """Remove a file, if there is one."""
        with suppress(FileNotFoundError):
            self._files.rm_file(self._path(key))

    def stamps(self) -> dict[str, Stamp]:
        """Return every file's stamp."""
        self._files.invalidate_cache()
        try:
            found = self._files.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        parts = ("ETag", "etag", "mtime", "LastModified", "created")
        return {
            str(path)[len(self._root) :].lstrip("/"): Stamp(
                int(info.get("size") or 0), tuple(str(info.get(part)) for part in parts)
            )
            for path, info in found.items()
        }

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"


def place_of(address: str | PathLike[str]) -> Place:
    """Return the place that a user means: a path, or an address of fsspec such as ``memory://acts.zarr``."""
    text = os.fspath(address) if isinstance(address, str | PathLike) else None
    if not isinstance(text, str) or not text:
        raise TypeError(f"address is {address!r}; expected a path, or an address such as 's3://bucket/acts.zarr'")
    if text.startswith("file://"):
        return Folder(text.removeprefix("file://"))
    return Remote(text) if _URL.match(text) else Folder(text)


@contextmanager
def opened(path: Path) -> Iterator[tuple[int, int]]:
    """Open a regular file that is no link for reading; yield its descriptor and size.

    Raises:
        ValueError: It is a link, a folder or a device.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise ValueError(f"{path} is a symbolic link, which stores don't follow") from error
        raise
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{path} is no regular file")
        yield file, status.st_size
    finally:
        os.close(file)


def read_at(file: int, offset: int, out: memoryview) -> None:
    """Fill ``out`` with the bytes of an open file from ``offset`` on; EOFError where it ends before."""
    done = 0
    while done < len(out):
        count = os.preadv(file, [out[done:]], offset + done)
        if count == 0:
            raise EOFError(f"the file ends {len(out) - done} bytes early")
        done += count


def read_exactly(file: int, size: int) -> bytes:
    """Return the first ``size`` bytes of an open file."""
    data = bytearray(size)
    read_at(file, 0, memoryview(data))
    return bytes(data)
