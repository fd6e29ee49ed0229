"""Finished runs of all studies, by what decided their outcome, so that none is made twice."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

_LAST = {"weights.pt": 1, "network.psz": 1, "result.json": 2}


class RunCache:
    """A folder of finished runs.

    A run lies under the hash of its configuration. Its files are linked rather than copied where the file system can:
    every file of a run is replaced whole, never written into, so that both names stay right.

    Args:
        path: The folder; made when the first run is kept.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def key(self, config: dict[str, Any]) -> str:
        """The hash of a configuration (plain values) and of the torch version, which decides rounding."""
        text = json.dumps({"torch": torch.__version__, **config}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def fetch(self, key: str, folder: Path) -> bool:
        """Put the files of a run into a folder that lacks them.

        Returns:
            Whether there was such a run.
        """
        if not (self.path / key).is_dir():
            return False
        _link(self.path / key, folder)
        return True

    def keep(self, key: str, folder: Path) -> None:
        """Keep a finished run; where two processes finish the same, the first one stays."""
        if (self.path / key).is_dir():
            return
        self.path.mkdir(parents=True, exist_ok=True)
        unfinished = self.path / f".{key}.{uuid4().hex}"
        try:
            _link(folder, unfinished)
            unfinished.rename(self.path / key)
        except OSError:
            if not (self.path / key).is_dir():  # else another process was first
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    """The same files under another folder, an existing one replaced; those that say a run is finished come last."""
    for path in sorted(source.rglob("*"), key=lambda path: (_LAST.get(path.name, 0), path)):
        if path.is_dir() or path.name.startswith("."):
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.{uuid4().hex}")
        try:
            os.link(path, temporary)
        except OSError:  # another file system, or one without links
            shutil.copyfile(path, temporary)
        temporary.replace(place)
