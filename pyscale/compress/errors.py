"""What can be wrong with a compressed file."""

from __future__ import annotations


class CorruptFileError(ValueError):
    """A file is not a ``.psz`` file, or is cut off, damaged, or made to deceive; the message says where."""
