"""Where the non-zero weights of a layer are, as the gaps between them, with fillers where a gap does not fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyscale.compress.errors import CorruptFileError

Symbols = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

MOST_GAP_BITS = 8


def gaps_between(places: Places, length: int) -> Places:
    """(n + 1,) numbers of zeros: before each place, and after the last.

    Example:
        >>> gaps_between(np.array([1, 2, 6]), 9).tolist()
        [1, 0, 3, 2]
    """
    return np.diff(places, prepend=-1, append=length) - 1


def split_gaps(gaps: Places, bits: int) -> tuple[Symbols, npt.NDArray[np.bool_]]:
    """Write gaps in ``bits`` bits each: a filler zero goes in wherever ``2**bits`` places would be passed.

    Args:
        gaps: Of :func:`gaps_between`.
        bits: 1 to 8.

    Returns:
        (m,) entries, each the zeros since the entry before, and (m,) whether an entry is a filler. Fillers follow the
        last place too, so that m entries never span more than ``(m + 1) * 2**bits`` places.

    Example:
        >>> entries, fillers = split_gaps(np.array([1, 9, 4]), bits=2)
        >>> entries.tolist(), fillers.astype(int).tolist()
        ([1, 3, 3, 1, 3], [0, 1, 1, 0, 1])

    References:
        Han, Mao and Dally, "Deep compression", ICLR 2016 (arXiv 1510.00149), section 2 and figure 2.
    """
    extra = gaps >> bits
    ends = np.cumsum(extra + 1) - 1
    fillers = np.ones(int(ends[-1]), dtype=np.bool_)  # the place after the last is no entry
    fillers[ends[:-1]] = False
    entries = np.full(len(fillers), (1 << bits) - 1, dtype=np.uint8)
    entries[ends[:-1]] = gaps[:-1] & ((1 << bits) - 1)
    return entries, fillers


def places_of(entries: Symbols, bits: int, length: int) -> Places:
    """Undo :func:`split_gaps`: the place of every entry, fillers included.

    Raises:
        CorruptFileError: If the entries do not span ``length`` places.
    """
    places = np.cumsum(entries.astype(np.int64) + 1) - 1
    last = int(places[-1]) if len(places) else -1
    if not 0 <= length - 1 - last < 1 << bits:
        raise CorruptFileError(f"the index reaches place {last} of a tensor of {length}")
    return places
