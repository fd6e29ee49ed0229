"""Packed Grams that can be trusted: in float64 where the default products fail, zero where there is only rounding.

There are two halves to it, so that a GPU is not waited for at every layer: :func:`attempt` forms a Gram and what is
needed to judge it, :meth:`Attempts.trusted` judges many at once, and :func:`pack_exactly` replaces one that failed, for
which it needs the activations once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyscale.metrics.kernel_sums import noise_floor, peaks, rounding
from pyscale.metrics.validity import check_finite
from pyscale.ops import PackedGram, cuda, packed_gram, packed_grams
from pyscale.ops.dtypes import result_dtype
from pyscale.ops.gram import Kernel

# Where all samples are equally far apart, and so the centred Gram is rounding alone, the squared distance between two
# is this many times that from the shift, which the diagonal of a linear Gram on a GPU holds.
_DIAMETER = 2


class Attempt(NamedTuple):
    """The packed U-centred Gram of one minibatch of a layer, and what it must exceed to be trusted."""

    values: Tensor  # (n (n - 1) / 2,)
    constant: Tensor  # 0-d bool
    floor: Tensor  # 0-d: where no entry is larger, they may be rounding alone

    @classmethod
    def settled(cls, gram: PackedGram) -> Attempt:
        """Return a Gram that is trusted if it is finite: what is noise in it has been zeroed."""
        return cls(*gram, gram.values.new_full((), -1))  # zeros are larger

    def trusted(self) -> Tensor:
        """Return whether the Gram will do, 0-d bool, as :meth:`Attempts.trusted` says it of many."""
        return Attempts(*(t[None] for t in self)).trusted()[0]


class Attempts(NamedTuple):
    """Attempts at all layers, in rows."""

    values: Tensor  # (L, n (n - 1) / 2)
    constant: Tensor  # (L,) bool
    floor: Tensor  # (L,)

    @classmethod
    def stacked(cls, attempts: Iterable[Attempt], device: torch.device | None = None) -> Attempts:
        """Return the attempts in rows, in the widest of their types, on ``device`` or where the first of them is."""
        values, constants, floors = zip(*attempts, strict=True)
        where = values[0].device if device is None else device
        return cls(*(stacked_widest([t.to(where) for t in parts]) for parts in (values, constants, floors)))

    def trusted(self) -> Tensor:
        """Return which layers' Grams will do, (L,) bool: HSICs formed with them are finite and more than rounding."""
        peak = peaks(self.values).to(self.floor.dtype)
        ceiling = (torch.finfo(torch.float64).max / (2 * self.values.shape[1])) ** 0.5  # 2 v·v is finite below it
        trusted: Tensor = self.constant | ((peak > self.floor) & (peak < ceiling))  # neither holds of NaN
        return trusted


def attempt(x: Tensor, *, kernel: Kernel, bandwidth: float, read: cuda.LastRead | None = None) -> Attempt:
    """Return the packed U-centred Gram of one minibatch of a layer, at which nobody has looked yet.

    Args:
        x: Activations of shape (n, p), n >= 4.
        kernel: "linear" or "rbf".
        bandwidth: The RBF width as a multiple of the median distance.
        read: Marked on the current stream of a GPU once ``x`` has been read for the last time, by kernels that can.
    """
    if not cuda.serves(x):
        return Attempt(*packed_gram(x, kernel=kernel, bandwidth=bandwidth), _floor(x, kernel))
    dtype = result_dtype(x.dtype)
    noise = rounding(x, dtype) * (1 if kernel == "rbf" else _DIAMETER)
    return Attempt(*cuda.judged_gram(x, kernel, bandwidth, dtype, noise=noise, least=_least(dtype), read=read))


def attempt_exactly(x: Tensor, *, kernel: Kernel, bandwidth: float) -> Attempt:
    """Return the Gram from float64 products, and zeros where it is rounding alone even so; nobody has looked yet."""
    floor = noise_floor(x, kernel, "exact")
    values, constant = packed_gram(x, kernel=kernel, bandwidth=bandwidth, precision="exact", out_dtype=torch.float64)
    noise = peaks(values[None]) <= floor
    return Attempt.settled(PackedGram(values.masked_fill(noise, 0), constant))


def pack_exactly(
    x: Tensor, subject: str, *, kernel: Kernel, bandwidth: float, source: Tensor | None = None
) -> PackedGram:
    """Return the packed Gram of a layer for which the default products did not do; arguments as for :func:`pack`."""
    check_finite(x if source is None else source, subject)
    exact = attempt_exactly(x, kernel=kernel, bandwidth=bandwidth)
    if not bool(exact.trusted()):
        if kernel == "rbf":
            raise ValueError(f"{subject} have no finite rbf kernel: more than half of the pairs of samples are equal")
        raise ValueError(f"{subject} are too large: their fourth powers leave float64's range; scale them")
    return PackedGram(exact.values, exact.constant)


def pack(x: Tensor, subject: str, *, kernel: Kernel, bandwidth: float, source: Tensor | None = None) -> PackedGram:
    """Return the packed U-centred Gram of one minibatch of a layer.

    What the default products can't hold, or leave nothing but rounding, is formed again in float64. Where that too is
    rounding alone, as for samples equally far apart, it is zero.

    Args:
        x: Activations of shape (n, p), n >= 4.
        subject: What errors call them, in the plural.
        kernel: "linear" or "rbf".
        bandwidth: The RBF width as a multiple of the median distance.
        source: What ``x`` was made of, for errors to tell what it holds; ``x`` itself by default.

    Raises:
        ValueError: ``x`` holds NaN or infinity, or has no finite kernel.
    """
    first = attempt(x, kernel=kernel, bandwidth=bandwidth)
    if bool(first.trusted()):
        return PackedGram(first.values, first.constant)
    return pack_exactly(x, subject, kernel=kernel, bandwidth=bandwidth, source=source)


def pack_layers(xs: Sequence[Tensor], subjects: Sequence[str], *, kernel: Kernel, bandwidth: float) -> PackedGram:
    """Return :func:`pack` of several layers of the same n samples, in rows; all of them are formed before one look."""
    grams = packed_grams(xs, kernel=kernel, bandwidth=bandwidth)
    attempts = Attempts(*grams, torch.stack([_floor(x, kernel) for x in xs]))
    trusted = attempts.trusted().tolist()
    if all(trusted):
        return grams
    rows = [
        PackedGram(values, constant) if fine else pack_exactly(x, subject, kernel=kernel, bandwidth=bandwidth)
        for x, subject, values, constant, fine in zip(xs, subjects, *grams, trusted, strict=True)
    ]
    return PackedGram(stacked_widest([row.values for row in rows]), torch.stack([row.constant for row in rows]))


def stacked_widest(rows: Sequence[Tensor]) -> Tensor:
    """Return tensors in rows, in the widest of their types."""
    wide = max((t.dtype for t in rows), key=lambda dtype: dtype.itemsize)
    return torch.stack([t.to(wide) for t in rows])


def _floor(x: Tensor, kernel: Kernel) -> Tensor:
    """Return the floor of a default attempt at ``x``, 0-d: of noise, or where its type loses digits by underflow."""
    return noise_floor(x, kernel, "default").clamp_min(_least(result_dtype(x.dtype)))


def _least(dtype: torch.dtype) -> float:
    """Return below what numbers of a type lose digits when entries of a Gram are multiplied."""
    limits = torch.finfo(dtype)
    return float(limits.tiny / limits.eps)
