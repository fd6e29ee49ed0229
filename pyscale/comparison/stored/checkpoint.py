"""What a comparison of stores knows so far, on disk, so that one that was stopped goes on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from pyscale.comparison.files import replacing
from pyscale.distributed import PeerError
from pyscale.metrics.validity import warn
from pyscale.stores.errors import DamagedStoreError

SECONDS = 60.0  # between checkpoints; a comparison that takes less writes none
DAYS = 30  # after which a state that nobody took up is removed
_NAME = re.compile(r"\.?[0-9a-f]{32}\.state(\..*)?")  # of a state, or of what is left of writing one


class Checkpoint:
    """The state of one comparison under a name that says what is compared.

    Args:
        folder: Where; None is ``pyscale/comparisons`` in the user's cache folder.
        description: All that the result depends on, JSON types.
        resume: Whether an older state is taken up.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, description: Any, *, resume: bool) -> None:
        if folder is not None and not isinstance(folder, str | os.PathLike):
            raise TypeError(f"cache is {folder!r}; expected the path of a folder, or None")
        key = hashlib.blake2b(json.dumps(description, sort_keys=True).encode(), digest_size=16).hexdigest()
        self.path = (_cache() if folder is None else Path(folder)) / f"{key}.state"
        self._resume = resume
        self._last = time.monotonic()
        self._failed = False

    @property
    def due(self) -> bool:
        """Whether it is time to write."""
        return not self._failed and time.monotonic() - self._last >= SECONDS

    def load(self) -> dict[str, Any] | None:
        """Return the state that was written last, or None where there is none that can be used.

        States that nobody took up for ``DAYS`` are removed.
        """
        self._remove_old()
        if not self._resume:
            return None
        try:
            state = torch.load(io.BytesIO(self.path.read_bytes()), map_location="cpu", weights_only=True)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:
            warn(f"{self.path} can't be read, so the comparison begins anew: {error}")
            return None
        return state if isinstance(state, dict) else None

    def save(self, state: dict[str, Any]) -> None:
        """Write the state; where that fails, say so once and go on without."""
        self._last = time.monotonic()
        if self._failed:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as file:
                torch.save(state, file)
        except OSError as error:
            self._failed = True
            warn(f"{self.path} can't be written ({error.strerror}): the comparison goes on, but could not be taken up")

    def remove(self) -> None:
        """Forget the state of a comparison that is done, and what was left of writing it by those that were killed."""
        if self._failed:
            return
        with suppress(FileNotFoundError, NotADirectoryError):  # as when there was none to take up
            self.path.unlink()
        for left in self.path.parent.glob(f".{self.path.name}.*"):
            left.unlink(missing_ok=True)

    def _remove_old(self) -> None:
        oldest = time.time() - DAYS * 24 * 3600
        with suppress(OSError):  # what can't be looked at or removed stays
            for path in self.path.parent.iterdir():
                if path != self.path and _NAME.fullmatch(path.name) and path.stat().st_mtime < oldest:
                    path.unlink(missing_ok=True)


def is_final(error: BaseException) -> bool:
    """Return whether the same stores will fail again as they are: what they hold can't be compared.

    Damage may be that of one reading, and other processes may be there again.
    """
    return isinstance(error, ValueError) and not isinstance(error, DamagedStoreError | PeerError)


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "pyscale" / "comparisons"
